//! Names of the headers that only these two programs speak. All lower case, as HTTP libraries want them.

/// Asked by the client: "I want to know whether I may run this"; see [`crate::ProbeRequest`].
pub const PROBE: &str = "mcpd-probe";
/// Said by the server about one LLM; see [`crate::Decision`].
pub const DECISION: &str = "mcpd-decision";
/// Whether a local provider may stand in for the LLM; see [`crate::FailoverPolicy`].
pub const FAILOVER: &str = "mcpd-failover";
/// Said by the server about one LLM to who may view it: the upstream's name for the model. Nothing is decided by it.
pub const MODEL: &str = "mcpd-model";
/// Who caused an error; see [`crate::Origin`].
pub const ERROR_ORIGIN: &str = "mcpd-error-origin";
/// The error's code; see [`crate::ErrorCode`].
pub const ERROR_CODE: &str = "mcpd-error-code";
/// One id per request, chosen by the client or else by the server.
pub const REQUEST_ID: &str = "x-request-id";
/// Said by the server when nothing was written because the request asked for a rehearsal (`?dryRun=server`).
pub const DRY_RUN: &str = "mcpd-dry-run";
