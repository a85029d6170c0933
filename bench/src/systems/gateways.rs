//! Gateways for LLMs that other people use, each as its documentation says, with one worker and no log.

use super::{Kind, Places, System, free_address, version};
use crate::{
    load::Target,
    process::{Program, SERVER_CORE},
    stub::Model,
};
use serde_json::json;
use std::{fs, net::SocketAddr, path::Path, process::Command, time::Instant};

/// What `scripts/install-peers` installs.
const PEERS: &str = include_str!("../../peers.txt");

/// `LiteLLM` asks for it; it has no users without a database.
const KEY: &str = "sk-bench";

/// `LiteLLM`'s proxy without a database, by <https://docs.litellm.ai/docs/proxy/configs>.
pub(super) fn litellm(
    kind: Kind,
    places: &Places,
    stub: SocketAddr,
    models: &[Model],
) -> anyhow::Result<Option<System>> {
    let Some(litellm) = places.tool("peers/bin/litellm") else { return Ok(None) };
    let folder = places.folder(kind.name())?;
    let address = free_address()?;
    let list: Vec<_> = models
        .iter()
        .map(|model| {
            let upstream = json!({"model": format!("openai/{model}"), "api_base": format!("http://{stub}/v1"), "api_key": "x"});
            json!({"model_name": model.to_string(), "litellm_params": upstream})
        })
        .collect();
    let config = json!({
        "model_list": list,
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": false, "set_verbose": false, "turn_off_message_logging": true},
    });
    // JSON is YAML.
    let file = folder.join("config.yaml");
    fs::write(&file, config.to_string())?;
    let mut command = alone(&litellm, &folder);
    command
        .env("LITELLM_TELEMETRY", "False")
        .env("LITELLM_LOG", "ERROR")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    command.arg("--config").arg(&file).args([
        "--host",
        "127.0.0.1",
        "--num_workers",
        "1",
        "--telemetry",
        "False",
    ]);
    command.args(["--port", &address.port().to_string()]);
    let began = Instant::now();
    let program = Program::start(&command, SERVER_CORE, &folder.join("log"))?;
    let version = version(&litellm, "--version");
    System::running(kind, program, Target::new(address, KEY), version, began).map(Some)
}

/// Portkey's gateway, which asks nobody for a token: by <https://github.com/Portkey-AI/gateway>.
pub(super) fn portkey(kind: Kind, places: &Places, stub: SocketAddr) -> anyhow::Result<Option<System>> {
    let Some(portkey) = places.tool("peers/bin/portkey-gateway") else { return Ok(None) };
    let folder = places.folder(kind.name())?;
    let address = free_address()?;
    let mut command = alone(&portkey, &folder);
    command.env("NODE_ENV", "production").args([&format!("--port={}", address.port()), "--headless"]);
    let began = Instant::now();
    let program = Program::start(&command, SERVER_CORE, &folder.join("log"))?;
    let headers = format!("x-portkey-provider: openai\r\nx-portkey-custom-host: http://{stub}/v1\r\n");
    let target = Target { headers, ..Target::new(address, KEY) };
    let version = PEERS.lines().find(|line| line.starts_with("portkey")).unwrap_or("unknown").to_owned();
    System::running(kind, program, target, version, began).map(Some)
}

/// A command whose home is its folder.
fn alone(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).current_dir(home);
    command
}
