//! What `mcpctl` and `mcpd` say to each other: names, wire types, headers and paths.
//!
//! Nothing here does I/O, knows a clock or decides anything. Both programs read the golden exchanges in
//! `contract/`, so a change of this crate that only one side follows fails a test.

pub mod audit;
pub mod decision;
pub mod document;
pub mod failover_report;
pub mod headers;
mod hex;
pub mod identity;
pub mod labels;
pub mod llm;
pub mod llm_bounds;
pub mod llm_patch;
pub mod name;
pub mod openai;
pub mod paths;
pub mod problem;
pub mod rbac;
pub mod secret;
pub mod strict_json;

pub use audit::{AuditEntry, AuditEvent, AuditHead, AuditPage, AuditSubject, AuditVerdict};
pub use decision::{Decision, FailoverPolicy, Nonce, ProbeRequest};
pub use document::{Document, Kind};
pub use failover_report::{FailoverReceipt, FailoverReport, FailoverReports};
pub use hex::hex;
pub use identity::{CanI, CanIAnswer, NewToken, TokenCreated, TokenInfo, Whoami};
pub use labels::{Labels, Selector};
pub use llm::{ApiKeyRef, Llm, LlmList, LlmSpec};
pub use llm_bounds::{Limits, Timeouts, TokenLimits};
pub use llm_patch::{LimitsPatch, LlmPatch, Patched, TimeoutsPatch, TokenLimitsPatch};
pub use name::{LlmId, LlmKey, LlmName, NameError, SubjectName};
pub use problem::{ErrorBody, ErrorCode, ErrorDetail, Origin};
pub use rbac::{Rbac, Resource, Role, RoleBinding, Subject, SubjectKind, Verb};
pub use secret::Secret;
