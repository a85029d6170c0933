//! Every path of the server, in one place: the templates that it routes and the builders that clients call.

use crate::{LlmKey, SubjectKind, SubjectName};

/// All LLMs the caller may view; `POST` creates one.
pub const LLMS: &str = "/api/v1/llms";
/// One LLM by id or by name.
pub const LLM: &str = "/api/v1/llms/{llm}";
/// A chat completion of one LLM.
pub const INFER: &str = "/api/v1/llms/{llm}/infer";
/// Role bindings.
pub const RBACS: &str = "/api/v1/rbac";
/// One role binding by name.
pub const RBAC: &str = "/api/v1/rbac/{name}";
/// Users, groups and service accounts.
pub const SUBJECTS: &str = "/api/v1/users";
/// One user, group or service account.
pub const SUBJECT: &str = "/api/v1/users/{kind}/{name}";
/// Tokens.
pub const TOKENS: &str = "/api/v1/tokens";
/// One token by its public id.
pub const TOKEN: &str = "/api/v1/tokens/{id}";
/// Who the caller is.
pub const WHOAMI: &str = "/api/v1/whoami";
/// May the caller do something?
pub const CAN_I: &str = "/api/v1/can-i";
/// The audit trail.
pub const AUDIT: &str = "/api/v1/audit";
/// Where the audit trail ends.
pub const AUDIT_HEAD: &str = "/api/v1/audit/head";
/// What local providers answered in the server's place.
pub const FAILOVER_REPORTS: &str = "/api/v1/failover-reports";
/// A chat completion of the LLM that the body names, for `OpenAI`'s clients.
pub const OPENAI_CHAT: &str = "/v1/chat/completions";
/// A completion of a text.
pub const OPENAI_COMPLETIONS: &str = "/v1/completions";
/// Vectors of texts.
pub const OPENAI_EMBEDDINGS: &str = "/v1/embeddings";
/// A response, by the newer one of `OpenAI`'s two protocols.
pub const OPENAI_RESPONSES: &str = "/v1/responses";
/// The LLMs that the caller may view, for `OpenAI`'s clients.
pub const OPENAI_MODELS: &str = "/v1/models";
/// One of them, by id or by name.
pub const OPENAI_MODEL: &str = "/v1/models/{llm}";
/// The process answers.
pub const HEALTHZ: &str = "/healthz";
/// The process can do its work.
pub const READYZ: &str = "/readyz";
/// Which version runs.
pub const VERSION: &str = "/version";

/// This API, described by itself.
pub const OPENAPI: &str = "/openapi.json";
/// What is measured, in Prometheus' text format.
pub const METRICS: &str = "/metrics";

/// The path of one LLM.
#[must_use]
pub fn llm(key: &LlmKey) -> String {
    format!("{LLMS}/{key}")
}

/// The path of the chat completion of one LLM.
#[must_use]
pub fn infer(key: &LlmKey) -> String {
    format!("{LLMS}/{key}/infer")
}

/// The path of one role binding.
#[must_use]
pub fn rbac(name: &SubjectName) -> String {
    format!("{RBACS}/{name}")
}

/// The path of one subject. `@` and `+` may stand in a path as they are (RFC 3986, section 3.3).
#[must_use]
pub fn subject(kind: SubjectKind, name: &SubjectName) -> String {
    format!("{SUBJECTS}/{}/{name}", kind.path_segment())
}

/// The path of one token; `id` is the public part of it.
#[must_use]
pub fn token(id: &str) -> String {
    format!("{TOKENS}/{id}")
}
