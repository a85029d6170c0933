//! Local providers: they lend an endpoint, to whoever holds a permit, and do no inference themselves.

mod managed;
mod openai;

use crate::{
    chat::{self, ChatRequest, Complete, Endpoint, Failed, Limits, Sink},
    engine::{self, Complaint, EngineError, InUse, Progress},
    environment::Environment,
    failover::{Delivered, Fault, Fresh, Permit},
    http::{self, BuildError, Options},
    providers_file::{Kind, Provider},
};
use reqwest::blocking::Client;
use std::time::{Duration, Instant};
use url::Url;

/// An endpoint of a provider, for one call.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    options: Options,
    endpoint: Endpoint,
    /// A managed engine is not stopped before this goes.
    engine: Option<InUse>,
}

/// Why a provider lends nothing.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// Its engine cannot be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its endpoint has no URL.
    #[error("its endpoint: {0}")]
    Url(#[from] url::ParseError),
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
    /// It is started when it is needed; carries how its engine is now.
    Startable(&'static str),
    /// It does not; carries why.
    Down(String),
}

/// How long to wait for a provider.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub head: Duration,
    /// When the caller's own time is over.
    pub deadline: Option<Instant>,
}

/// Borrows the endpoint of the permitted provider. There is no other way to one.
///
/// A managed engine is started if none runs, which may take minutes; `tell` hears how far that is.
pub fn lend(
    permit: &Permit<&Provider>,
    env: &Environment,
    patience: Patience,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Lease, LendError> {
    let provider = *permit.stand_in();
    let Patience { connect, head, deadline } = patience;
    match &provider.kind {
        Kind::OpenAi(spec) => {
            let options = Options { connect, head, extra_roots: None, local: None };
            let endpoint = openai::endpoint(spec, &provider.model, env)?;
            Ok(Lease { client: http::client(&endpoint.url, &options)?, options, endpoint, engine: None })
        }
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => {
            let engine = engine::acquire(provider, env, deadline, tell)?;
            let (endpoint, local) = managed::endpoint(&engine)?;
            let options = Options { connect, head, extra_roots: None, local: Some(local) };
            let client = http::client(&endpoint.url, &options)?;
            Ok(Lease { client, options, endpoint, engine: Some(engine) })
        }
    }
}

/// Asks a provider whether it could answer, without a prompt and without a permit.
#[must_use]
pub fn readiness(provider: &Provider, env: &Environment) -> Readiness {
    match &provider.kind {
        Kind::OpenAi(spec) => openai::readiness(spec, &provider.model, env),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => managed::readiness(provider, env),
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
    /// Has the provider answer, against a permit that is still young. It gets fields of the chat API only, its own name
    /// for the model, and no header of the call that failed.
    pub fn complete(
        &self,
        _permit: &Fresh<&Provider>,
        request: &ChatRequest,
        limits: &Limits,
        sink: &mut dyn Sink,
    ) -> Result<Complete, Failed> {
        let request = match &self.engine {
            Some(engine) => request.for_local().limited(engine.record.context),
            None => request.for_local(),
        };
        chat::complete(&self.client, &self.options, &self.endpoint, limits, &request, sink)
    }

    /// Lets go of an engine that hangs or has died, and has it ended; says whether another try makes sense.
    ///
    /// Not where others use it at this moment: then it is busy and not hung.
    pub fn give_up(self, failed: &Failed, env: &Environment) -> bool {
        let complaint = match &failed.fault {
            Fault::NoContent(_) => Complaint::Silent,
            Fault::Unreachable { .. } => Complaint::Unreached,
            Fault::Cut(_) => Complaint::Failed,
            Fault::Status { status, .. } if *status >= 500 => Complaint::Failed,
            Fault::ErrorEvent { code, .. } if code.is_none_or(|code| code >= 500) => Complaint::Failed,
            _ => return false,
        };
        match self.engine {
            Some(engine) if failed.delivered == Delivered::Nothing => engine::give_up(engine, env, complaint),
            Some(_) | None => false,
        }
    }
}
