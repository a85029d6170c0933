//! An engine that mcpctl starts: see [`crate::engine`].

use super::{LendError, Readiness};
use crate::{
    chat::Endpoint,
    engine::{self, Condition, InUse, Status, launch},
    environment::Environment,
    http::Local,
    providers_file::Provider,
};
use std::sync::Arc;
use url::Url;

/// Where the chat completions of an engine in use are, and how a connection to it is made and checked.
pub(super) fn endpoint(engine: &InUse) -> Result<(Endpoint, Local), LendError> {
    let record = &engine.record;
    let (host, socket) = match &record.endpoint {
        engine::Endpoint::Unix(socket) => ("localhost".to_owned(), Some(socket.clone())),
        engine::Endpoint::Tcp(port) => (format!("127.0.0.1:{port}"), None),
    };
    let url = Url::parse(&format!("http://{host}/v1/chat/completions"))?;
    let listener = record.endpoint.clone();
    let local = Local {
        name: format!("the engine of \"{}\"", record.provider),
        socket,
        check: Arc::new(move || listener.check().map_err(|error| error.to_string())),
    };
    let (bearer, model) = (engine.key.clone(), Some(record.served.clone()));
    Ok((Endpoint { url, bearer, model, request_id: None }, local))
}

/// Says how the engine is, or whether it could be started.
pub(super) fn readiness(provider: &Provider, env: &Environment) -> Readiness {
    let status = match Status::of(env, &provider.name) {
        Ok(status) => status,
        Err(error) => return Readiness::Down(error.to_string()),
    };
    match status.condition {
        Condition::Running => Readiness::Running,
        Condition::Starting => Readiness::Startable(Condition::Starting.as_str()),
        condition @ (Condition::Stopped | Condition::Stopping | Condition::Failed | Condition::Orphaned) => {
            match launch::check(provider, env, status.processes.is_empty()) {
                Ok(()) => Readiness::Startable(condition.as_str()),
                Err(unfit) => Readiness::Down(unfit.to_string()),
            }
        }
    }
}
