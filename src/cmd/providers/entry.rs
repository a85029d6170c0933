//! An entry of the provider file, as commands show it.

use crate::{
    http,
    providers_file::{ApiKey, Kind, Managed, Provider},
};
use serde_json::{Value, json};

/// Prompts leave this machine.
pub(super) fn is_remote(provider: &Provider) -> bool {
    match &provider.kind {
        Kind::OpenAi(spec) => !http::is_loopback(&spec.url),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => false,
    }
}

/// Where it is reached, as declared.
pub(super) fn endpoint(provider: &Provider) -> String {
    match &provider.kind {
        Kind::OpenAi(spec) if is_remote(provider) => {
            format!("{} (remote: prompts leave this machine)", spec.url)
        }
        Kind::OpenAi(spec) => spec.url.to_string(),
        Kind::VllmManaged(spec) => managed_endpoint(&spec.managed),
        Kind::LlamacppManaged(spec) => managed_endpoint(&spec.managed),
    }
}

fn managed_endpoint(managed: &Managed) -> String {
    match managed.port {
        None => "unix socket".into(),
        Some(0) => "a free port of 127.0.0.1".into(),
        Some(port) => format!("127.0.0.1:{port}"),
    }
}

/// A provider as a document. Values of its environment are left out: they may be secrets.
pub(super) fn document(provider: &Provider) -> Value {
    let mut document = json!({
        "name": provider.name,
        "type": provider.kind.as_str(),
        "model": provider.model,
        "failoverFor": provider.failover_for,
        "line": provider.line,
    });
    let managed = |managed: &Managed| {
        json!({
            "idleTimeoutMinutes": managed.idle_timeout_minutes,
            "startTimeoutSeconds": managed.start_timeout_seconds,
            "endpoint": managed_endpoint(managed),
            "env": managed.env.keys().collect::<Vec<_>>(),
            "extraArgs": managed.extra_args.len(),
        })
    };
    let more = match &provider.kind {
        Kind::OpenAi(spec) => json!({
            "url": spec.url.as_str(),
            "remote": is_remote(provider),
            "apiKey": spec.api_key.as_ref().map(|key| match key {
                ApiKey::Env(name) => json!({ "env": name }),
                ApiKey::File(path) => json!({ "file": path }),
            }),
        }),
        Kind::VllmManaged(spec) => {
            let mut more = managed(&spec.managed);
            more["venvPath"] = json!(spec.venv);
            more["gpuMemoryUtilization"] = json!(spec.gpu_memory_utilization);
            more["maxModelLen"] = json!(spec.max_model_len);
            more
        }
        Kind::LlamacppManaged(spec) => {
            let mut more = managed(&spec.managed);
            more["binaryPath"] = json!(spec.binary);
            more["contextSize"] = json!(spec.context_size);
            more
        }
    };
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}
