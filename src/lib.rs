//! x
pub mod failover;
pub mod chat;
pub mod http;
pub mod sse;
pub mod files; pub mod yaml; pub mod registry; pub mod providers_file;
#[cfg(test)] mod captures;
