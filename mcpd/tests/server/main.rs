//! The real server, asked over real connections. Named after the ids of the cases that they hold it to.

#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails; helpers are tests too")]

mod administration;
mod audit;
mod bounds;
mod brute;
mod cases;
mod clients;
mod command_line;
mod config;
mod contract;
mod copy;
mod cost;
mod crash;
mod database;
mod deploy;
mod documents;
mod drain;
mod escalation;
mod history;
mod identity;
mod limits;
mod logs;
mod metrics;
mod names;
mod oidc;
mod openai;
mod openapi;
mod probe;
mod proxy;
mod replicas;
mod rights;
mod routes;
mod schemathesis;
mod secrets;
mod smuggling;
mod ssrf;
mod start;
mod stolen;
mod streams;
mod timing;
mod tls;
mod uncertain;
mod upstreams;
mod vigil;
mod walks;
