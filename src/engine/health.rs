//! Whether an engine answers, and whether it is the one that was started.

use super::{AskError, Endpoint, Record, Reply};
use mcp_api::Secret;
use serde::Deserialize;
use std::time::Duration;

/// How long an engine that runs may take to say that it is well. A busy vLLM was seen to take 7.7 s.
pub(super) const HEALTH_LIMIT: Duration = Duration::from_secs(15);

/// Why an engine that was ready is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ill {
    /// It says so itself.
    Dead(String),
    /// It does not answer, or not as it should. That may be for a reason of the one who asks.
    Strange(String),
}

impl Ill {
    /// In words.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Dead(why) | Self::Strange(why) => why,
        }
    }
}

/// Asks an engine that was ready whether it still is.
pub(super) fn ask(record: &Record, key: Option<&Secret>, limit: Duration) -> Result<(), Ill> {
    match record.endpoint.get("/health", key, limit) {
        Ok(Reply { status: 200, .. }) => {}
        Ok(Reply { status, .. }) if status >= 500 => {
            return Err(Ill::Dead(format!("its health is {status}")));
        }
        Ok(Reply { status, .. }) => return Err(Ill::Strange(format!("its health is {status}"))),
        // Slow is not dead: two processes of vLLM can keep everybody else waiting for seconds.
        Err(AskError::TimedOut) => return Ok(()),
        Err(error) => return Err(Ill::Strange(error.to_string())),
    }
    match serves(&record.endpoint, &record.served, key, limit) {
        Ok(Some(_)) | Err(AskError::TimedOut) => Ok(()),
        Ok(None) => Err(Ill::Strange("it serves another model than it was started with".into())),
        Err(error) => Err(Ill::Strange(error.to_string())),
    }
}

/// It does not even say how it is, for longer than any that only was busy.
pub(super) fn is_mute(record: &Record, key: Option<&Secret>) -> bool {
    matches!(record.endpoint.get("/health", key, HEALTH_LIMIT), Err(AskError::TimedOut))
}

/// Gives what an engine says of itself, if it answers by the name that only its own start knows.
pub(super) fn is_ready(
    endpoint: &Endpoint,
    served: &str,
    key: Option<&Secret>,
    limit: Duration,
) -> Option<Served> {
    let health = endpoint.get("/health", key, limit);
    health.ok().filter(|reply| reply.status == 200)?;
    serves(endpoint, served, key, limit).ok()?
}

/// An engine that answers by the right name.
#[derive(Debug, Deserialize)]
pub(super) struct Served {
    /// Its name for the model.
    id: String,
    /// The size of its context in tokens, if it says so. vLLM does.
    pub(super) max_model_len: Option<u32>,
}

/// None if it answers by another name.
fn serves(
    endpoint: &Endpoint,
    served: &str,
    key: Option<&Secret>,
    limit: Duration,
) -> Result<Option<Served>, AskError> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Served>,
    }
    let reply = endpoint.get("/v1/models", key, limit)?;
    let models = serde_json::from_slice::<Models>(&reply.body).ok().filter(|_| reply.status == 200);
    Ok(models.and_then(|models| models.data.into_iter().find(|model| model.id == served)))
}
