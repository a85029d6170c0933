//! Local providers: they lend an endpoint, to whoever holds a permit, and do no inference themselves.

mod openai;

use crate::{
    chat::{self, ChatRequest, Complete, Endpoint, Failed, Limits, Sink},
    environment::Environment,
    failover::Permit,
    http::{self, BuildError, Options},
    providers_file::{Kind, Provider},
};
use reqwest::blocking::Client;
use std::time::Duration;
use url::Url;

/// An endpoint of a provider, for one call.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    options: Options,
    endpoint: Endpoint,
}

/// Why a provider lends nothing.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// This version cannot start the engine.
    #[error(
        "engines of type {0} are not yet startable by this version; run the engine yourself and declare it as type openai"
    )]
    NotYetStartable(&'static str),
    /// The variable with its key is absent.
    #[error("its key is not there: set {0}")]
    NoKey(String),
    /// The file with its key cannot be used.
    #[error("its key: {0}")]
    KeyFile(String),
    /// HTTP cannot be set up.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Whether a provider could answer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It answers.
    Running,
    /// It does not; carries why.
    Down(String),
}

/// Borrows the endpoint of the permitted provider. There is no other way to one.
pub fn lend(
    permit: &Permit<&Provider>,
    env: &Environment,
    connect: Duration,
    head: Duration,
) -> Result<Lease, LendError> {
    let provider = *permit.stand_in();
    match &provider.kind {
        Kind::OpenAi(spec) => {
            let options = Options { connect, head, extra_roots: None };
            let endpoint = openai::endpoint(spec, &provider.model, env)?;
            Ok(Lease { client: http::client(&endpoint.url, &options)?, options, endpoint })
        }
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => {
            Err(LendError::NotYetStartable(provider.kind.as_str()))
        }
    }
}

/// Asks a provider whether it could answer, without a prompt and without a permit.
#[must_use]
pub fn readiness(provider: &Provider, env: &Environment) -> Readiness {
    match &provider.kind {
        Kind::OpenAi(spec) => openai::readiness(spec, &provider.model, env),
        kind @ (Kind::VllmManaged(_) | Kind::LlamacppManaged(_)) => {
            Readiness::Down(LendError::NotYetStartable(kind.as_str()).to_string())
        }
    }
}

/// Says whether a provider is the server at `server`: asking it would ask who has just failed.
#[must_use]
pub fn is_at(provider: &Provider, server: &Url) -> bool {
    match &provider.kind {
        Kind::OpenAi(spec) => http::is_same_server(&spec.url, server),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => false,
    }
}

impl Lease {
    /// Has the provider answer. It gets fields of the chat API only, its own name for the model, and no header of
    /// the call that failed.
    pub fn complete(
        &self,
        request: &ChatRequest,
        limits: &Limits,
        sink: &mut dyn Sink,
    ) -> Result<Complete, Failed> {
        chat::complete(&self.client, &self.options, &self.endpoint, limits, &request.for_local(), sink)
    }
}
