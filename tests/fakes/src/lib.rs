//! What the tests of both programs share: the real server, the real engine, and doubles that inject faults.
//!
//! | real | what it is |
//! |---|---|
//! | [`Mcpd`] | the server as a child process with a database of its own |
//! | [`Postgres`] | a cluster of its own |
//! | [`Keyring`] | GNOME Keyring on a bus of its own |
//! | [`LlamaServer`] | llama.cpp's server on a tiny model with a known answer |
//! | [`Vllm`] | where vLLM and the same model for it are |
//! | [`Proxy`] | nginx and `HAProxy` in front of mcpd |
//! | [`client`] | programs of other people that talk to mcpd, such as OpenAI's SDK |
//!
//! | double | what it stands for |
//! |---|---|
//! | [`Engine`] | an OpenAI-compatible model server: an upstream of mcpd or a local provider |
//! | [`FakeEngine`] | a program that plays `vllm` or `llama-server`, for whoever starts and stops engines |
//! | [`Evild`] | any peer that misbehaves, byte by byte, with or without TLS |
//! | [`Issuer`] | an issuer of `OpenID` Connect, with keys of its own |
//! | [`WireProxy`] | the network between mcpd and its PostgreSQL |
//! | [`Link`] | the network between a program and one server: late, in crumbs, or a proxy's tunnel |
//! | [`OwnNetwork`] | a network with a name server of its own, for one run of a program |
//! | [`SlowDisk`] | the disk below a database file |
//! | [`WrongClock`] | a clock on the wall that somebody has set wrong |
//! | [`Refusing`], [`Blackhole`] | an address where nobody listens, and one where nobody answers |
//!
//! Everything listens on loopback only, ends with its value, and is waited for by signal: no test here sleeps for
//! a time and hopes. A double that fails panics, because a test that goes on after that proves nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::print_stderr,
    reason = "test support: a panic is how it reports, and stderr is where a test run is read"
)]

mod address;
mod canary;
mod clients;
mod engine;
mod evild;
pub mod fake_engine;
mod gate;
pub mod http;
mod issuer;
mod keyring;
mod link;
mod llama;
mod mcpd;
pub mod own_network;
mod postgres;
mod program;
mod proxies;
mod server;
mod slow_disk;
mod tally;
mod timing;
mod tls;
pub mod tracer;
mod vllm;
mod wait;
pub mod wire;
mod wire_proxy;
mod wrong_clock;

pub use address::{Blackhole, Refusing};
pub use canary::{Canary, process_args_and_env};
pub use clients::client;
pub use engine::{Engine, EngineBuilder, Fault};
pub use evild::{Answering, Evild, Script, Step};
pub use fake_engine::{FakeEngine, Hang, Worker, alive};
pub use gate::Gate;
pub use http::{Exchange, Request, Response};
pub use issuer::{AUDIENCE, Issuer, KeyKind, SigningKey, encoded};
pub use keyring::Keyring;
pub use link::{Link, Pace};
pub use llama::LlamaServer;
pub use mcpd::{Grant, Mcpd, McpdBuilder};
pub use own_network::OwnNetwork;
pub use postgres::Postgres;
pub use program::find as program;
pub use proxies::{Proxy, RunningProxy};
pub use rustls::ServerConfig as TlsConfig;
pub use slow_disk::SlowDisk;
pub use tally::tally;
pub use timing::{Comparison, compare};
pub use tls::{Certificate, Issued, tls_identity};
pub use vllm::Vllm;
pub use wait::{required, wait_until};
pub use wire_proxy::WireProxy;
pub use wrong_clock::WrongClock;
