//! `mcpctl`: ask language models through the central server mcpd, and a local provider only if the server permits it.
//!
//! The flow of the one command that matters, [`cmd`]'s `infer`:
//!
//! 1. [`config`] and [`credential`] say which server, and by which token.
//! 2. [`providers_file`] and [`registry`] say who could stand in.
//! 3. [`gateway`] asks the server for the answer, through [`chat`], which decides whether an answer is complete.
//! 4. If that fails, [`failover`] decides whether it is worth asking for permission; [`gateway`] asks;
//!    [`failover`] judges what came back.
//! 5. Only against the permit that comes of it does [`provider`] lend an endpoint, for which [`engine`] may have to
//!    start a process, and [`chat`] asks that one.
//!
//! [`exit`] turns how it ended into a number. Everything else serves one of these.

pub mod chat;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod credential;
pub mod documents;
pub mod engine;
pub mod environment;
pub mod exit;
pub mod failover;
pub mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod hardening;
pub mod http;
pub mod journal;
pub mod limit;
pub mod memory;
pub mod program;
pub mod provider;
pub mod providers_file;
pub mod registry;
pub mod render;
mod sabotage;
pub mod schemas;
pub mod sse;
pub mod yaml;

#[cfg(test)]
mod captures;
