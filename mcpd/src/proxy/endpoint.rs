//! What can be asked of an upstream: under which path below its URL, and how its stream says that it is complete.

/// One of the paths of an OpenAI-compatible server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A chat completion.
    Chat,
    /// A completion of a text, as before there were chats.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// A response, with events that have types.
    Responses,
}

/// What the end of a complete stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The line `data: [DONE]`.
    Done,
    /// An event that says in its name how the response ended; `[DONE]` counts too, for servers that send nothing else.
    Named,
}

impl Endpoint {
    /// What it is called in what is measured: a word of OpenTelemetry's conventions.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// Where it is, seen from the upstream's base URL.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
        }
    }

    /// How its stream ends.
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Chat | Self::Completions | Self::Embeddings => Ending::Done,
            Self::Responses => Ending::Named,
        }
    }

    /// Says whether asking twice does no more than cost: a response may be stored, and may call tools at the upstream.
    pub(super) fn is_repeatable(self) -> bool {
        match self {
            Self::Chat | Self::Completions | Self::Embeddings => true,
            Self::Responses => false,
        }
    }

    /// Says whether a server without it can still be an LLM's upstream.
    pub(super) fn is_optional(self) -> bool {
        match self {
            Self::Chat => false,
            Self::Completions | Self::Embeddings | Self::Responses => true,
        }
    }
}
