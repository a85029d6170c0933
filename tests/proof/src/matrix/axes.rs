//! The axes of the matrix and what stands on each of them.

use std::fmt;

/// How far an exchange has come when it is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// Nothing is: the exchange goes well.
    Nowhere,
    /// The connection.
    Connect,
    /// The handshake of TLS.
    Tls,
    /// The head of the answer.
    Head,
    /// After the head, before the first content.
    BeforeContent,
    /// After some of the content.
    MidContent,
    /// After all of the content.
    End,
}

/// What disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Nothing does.
    Nothing,
    /// Nobody listens.
    Refuse,
    /// A TCP reset.
    Reset,
    /// Silence.
    Hang,
    /// Bytes, but so slowly that they never get to the end.
    Drip,
    /// Bytes that are no answer of the protocol.
    Garbage,
    /// Another status than the good one, or an error within an answer.
    Status,
    /// A redirect to where the question would be answered well.
    Redirect,
    /// A web page.
    Html,
    /// The connection ends without the rest.
    Cut,
    /// An answer that is well formed and false: replayed, forged, of another LLM.
    Forged,
}

/// What the caller may do, and what becomes of it meanwhile. All but one are made in the real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rights {
    /// May run the LLM.
    Allowed,
    /// May look at it only.
    ViewOnly,
    /// Could run it until before the question.
    RevokedBefore,
    /// Can run it until the moment at which permission is asked for.
    RevokedBetween,
    /// Can run it until the engine is being started, which then takes longer than a permission is worth.
    RevokedDuringStart,
    /// Shows a token whose time is over.
    TokenExpired,
    /// The LLM is switched off.
    LlmDisabled,
    /// The administrator forbids failovers of this LLM.
    FailoverForbidden,
}

/// Who could stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Local {
    /// No provider file.
    Nobody,
    /// A server that runs already.
    Openai,
    /// An engine that has to be started.
    ManagedCold,
    /// An engine that runs.
    ManagedWarm,
    /// Two providers that claim the LLM.
    TwoClaims,
    /// A provider file that cannot be read.
    BrokenFile,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Form {
    /// Text, as it arrives.
    Text,
    /// One document.
    Json,
}

impl Phase {
    /// All of them but the one where nothing happens.
    pub(crate) const ALL: [Self; 6] =
        [Self::Connect, Self::Tls, Self::Head, Self::BeforeContent, Self::MidContent, Self::End];
}

impl Kind {
    /// All of them but the one that does nothing.
    pub(crate) const ALL: [Self; 10] = [
        Self::Refuse,
        Self::Reset,
        Self::Hang,
        Self::Drip,
        Self::Garbage,
        Self::Status,
        Self::Redirect,
        Self::Html,
        Self::Cut,
        Self::Forged,
    ];
}

impl Rights {
    /// All but the one for which an engine has to be waited for.
    pub(crate) const SOON: [Self; 7] = [
        Self::Allowed,
        Self::ViewOnly,
        Self::RevokedBefore,
        Self::RevokedBetween,
        Self::TokenExpired,
        Self::LlmDisabled,
        Self::FailoverForbidden,
    ];

    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Allowed,
        Self::ViewOnly,
        Self::RevokedBefore,
        Self::RevokedBetween,
        Self::RevokedDuringStart,
        Self::TokenExpired,
        Self::LlmDisabled,
        Self::FailoverForbidden,
    ];
}

impl Local {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Nobody, Self::Openai, Self::ManagedCold, Self::ManagedWarm, Self::TwoClaims, Self::BrokenFile];

    /// Somebody could be asked at all.
    pub(crate) fn can_answer(self) -> bool {
        matches!(self, Self::Openai | Self::ManagedCold | Self::ManagedWarm)
    }
}

impl Form {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Text, Self::Json];
}

/// Writes the word by which a cell is named.
macro_rules! words {
    ($type:ty: $($variant:ident => $word:literal),+ $(,)?) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

words!(Phase: Nowhere => "none", Connect => "connect", Tls => "tls", Head => "head",
    BeforeContent => "before-content", MidContent => "mid-content", End => "end");
words!(Kind: Nothing => "none", Refuse => "refuse", Reset => "reset", Hang => "hang", Drip => "drip",
    Garbage => "garbage", Status => "status", Redirect => "redirect", Html => "html", Cut => "cut", Forged => "forged");
words!(Rights: Allowed => "allowed", ViewOnly => "view-only", RevokedBefore => "revoked-before",
    RevokedBetween => "revoked-between", RevokedDuringStart => "revoked-during-start",
    TokenExpired => "token-expired", LlmDisabled => "llm-disabled", FailoverForbidden => "failover-forbidden");
words!(Local: Nobody => "nobody", Openai => "openai", ManagedCold => "managed-cold", ManagedWarm => "managed-warm",
    TwoClaims => "two-claims", BrokenFile => "broken-file");
words!(Form: Text => "text", Json => "json");
