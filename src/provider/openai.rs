//! An OpenAI-compatible endpoint that already runs: Ollama, LM Studio, llama.cpp, vLLM.

use super::{LendError, Readiness};
use crate::{
    chat::Endpoint,
    credential,
    environment::Environment,
    failover::CallFailure,
    http::{self, Options},
    providers_file::{ApiKey, OpenAi},
    sabotage,
};
use mcp_api::Secret;
use std::time::Duration;
use url::Url;

/// How long a provider that runs may take to say so.
const READY_LIMIT: Duration = Duration::from_secs(3);

/// Where its chat completions are.
pub(super) fn endpoint(spec: &OpenAi, model: &str, env: &Environment) -> Result<Endpoint, LendError> {
    Ok(Endpoint {
        url: below(&spec.url, "chat/completions"),
        bearer: key(spec, env)?,
        model: Some(model.to_owned()),
        request_id: None,
    })
}

/// Asks for its list of models.
pub(super) fn readiness(spec: &OpenAi, model: &str, env: &Environment) -> Readiness {
    match models(spec, env) {
        // Some servers list a file name or nothing at all, and still answer: the list is a hint, not a proof.
        Ok(200) => Readiness::Running,
        Ok(status) => {
            Readiness::Down(format!("{} answered {status} when asked for {model}", http::target(&spec.url)))
        }
        Err(why) => Readiness::Down(why),
    }
}

fn models(spec: &OpenAi, env: &Environment) -> Result<u16, String> {
    let options = Options { connect: READY_LIMIT, head: READY_LIMIT, extra_roots: None, local: None };
    let client = http::client(&spec.url, &options).map_err(|error| error.to_string())?;
    let mut request = client.get(below(&spec.url, "models"));
    if let Some(key) = key(spec, env).map_err(|error| error.to_string())? {
        request = request.bearer_auth(key.expose());
    }
    let answer = request.send().map_err(|error| {
        CallFailure::before_content(http::fault(&error, &spec.url, &options)).told_of("it").to_string()
    })?;
    Ok(answer.status().as_u16())
}

fn key(spec: &OpenAi, env: &Environment) -> Result<Option<Secret>, LendError> {
    match &spec.api_key {
        None if sabotage::BEARER_TO_LOCAL => {
            Ok(env.var("MCPCTL_TOKEN_FILE").and_then(|path| credential::read_file(path.as_ref()).ok()))
        }
        None => Ok(None),
        Some(ApiKey::Env(name)) => {
            let value = env.var(name).ok_or_else(|| LendError::NoKey(name.clone()))?;
            credential::parse(value, name).map(Some).map_err(|error| LendError::KeyFile(error.to_string()))
        }
        Some(ApiKey::File(path)) => {
            credential::read_file(path).map(Some).map_err(|error| LendError::KeyFile(error.to_string()))
        }
    }
}

/// A path below a base URL, whether or not the base ends with a slash.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_below_the_base() {
        for base in ["http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"] {
            let url = below(&base.parse().unwrap(), "chat/completions");
            assert_eq!(url.as_str(), "http://127.0.0.1:1/v1/chat/completions");
        }
        assert_eq!(
            below(&"http://127.0.0.1:1".parse().unwrap(), "models").as_str(),
            "http://127.0.0.1:1/models"
        );
    }
}
