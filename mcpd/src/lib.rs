//! The central LLM server: who may use which model, and the way to it.
//!
//! A request comes in through `serve`, is framed (id, log line, shape of errors), finds its handler in [`routes`],
//! becomes a `Caller` by its token, and reaches an LLM only through `Caller::llm`, which loads and authorises in one
//! call. `policy` decides and does nothing else; `store` keeps an exact copy of the database in memory, so that no
//! decision waits for SQL; `proxy` sends a chat completion on and streams the answer back untouched.

mod app;
mod audit;
mod authorised;
mod bearer;
mod bodies;
mod body;
mod bootstrap;
mod caller;
mod check;
pub mod cli;
mod config;
mod config_file;
mod connections;
#[doc(hidden)]
pub mod costs;
mod database;
mod discretion;
mod etag;
mod failover_reports;
mod frame;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
pub mod hardening;
mod health;
mod http_client;
mod identity;
mod ids;
mod infer;
mod limits;
mod linger;
mod llm_rules;
mod llms;
mod log;
mod login;
mod lookups;
mod metrics;
mod oidc;
mod openai;
mod openapi;
mod place;
mod policy;
mod problem;
mod proxy;
mod rbac;
mod reach;
mod record;
mod reuse;
pub mod routes;
mod sabotage;
mod secret_file;
mod segment;
mod serve;
mod socket;
mod stop;
mod store;
mod subjects;
mod terms;
mod tls;
mod token_file;
mod tokens;
mod trace;
mod usage;
mod variables;
