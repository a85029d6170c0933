//! What an error looks like on the wire, on every route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares an enum of stable words with a list of all of them.
macro_rules! stable_words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word; none for a word that this version does not know.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

stable_words!(
    /// Who caused an error: `Mcpd-Error-Origin`.
    Origin {
        /// mcpd itself.
        Gateway = "gateway",
        /// The server behind mcpd.
        Upstream = "upstream",
        /// A rule about who may do what.
        Policy = "policy",
        /// A limit of this caller.
        Quota = "quota",
    }
);

stable_words!(
    /// What went wrong: `Mcpd-Error-Code` and `error.code`.
    ErrorCode {
        /// No token, or one that is not valid (any more). 401.
        Unauthenticated = "unauthenticated",
        /// The caller lacks the right. 403, the same whether or not the thing exists.
        Forbidden = "forbidden",
        /// The LLM is switched off. 403.
        LlmDisabled = "llm_disabled",
        /// No such thing, said only to callers who may see all of its kind. 404.
        NotFound = "not_found",
        /// The route does not take this method. 405.
        MethodNotAllowed = "method_not_allowed",
        /// It exists already. 409.
        Conflict = "conflict",
        /// It is not as the caller believes: its `ETag` is none of those in `If-Match`. 412.
        PreconditionFailed = "precondition_failed",
        /// The request is not what the route takes. 400 or 422.
        Invalid = "invalid",
        /// The body is over the limit. 413.
        TooLarge = "too_large",
        /// Too many requests. 429, origin `quota` or `upstream`.
        RateLimited = "rate_limited",
        /// The upstream rejects the server's own key. 502.
        UpstreamAuth = "upstream_auth",
        /// The upstream cannot be reached. 502, or 503 if it said so itself.
        UpstreamUnavailable = "upstream_unavailable",
        /// The upstream took too long. 504.
        UpstreamTimeout = "upstream_timeout",
        /// The upstream has no such endpoint: it takes chats and no embeddings, for example. 501.
        UpstreamUnsupported = "upstream_unsupported",
        /// The upstream answered with an error or with nonsense.
        UpstreamError = "upstream_error",
        /// The upstream rejects the request itself. 400, 413 or 422.
        UpstreamRejected = "upstream_rejected",
        /// The issuer of a token cannot be asked for its keys. 503.
        IssuerUnavailable = "issuer_unavailable",
        /// The database cannot be asked. 503.
        DatabaseUnavailable = "database_unavailable",
        /// The database went away while a change was being committed; nobody knows whether it was made. 503.
        OutcomeUnknown = "outcome_unknown",
        /// The server is stopping. 503.
        ShuttingDown = "shutting_down",
        /// The right to run was withdrawn while the answer was streaming.
        Revoked = "revoked",
        /// A bug. 500.
        Internal = "internal",
    }
);

/// The body of every error: the shape that `OpenAI` clients parse, with two fields more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The inside of [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// A sentence for people.
    pub message: String,
    /// `OpenAI`'s class of error, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// See [`ErrorCode`].
    pub code: ErrorCode,
    /// See [`Origin`].
    pub origin: Origin,
    /// The id of the request, also in `x-request-id`.
    pub request_id: String,
}
