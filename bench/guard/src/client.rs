//! What mcpctl does, as pieces of work.

#![expect(clippy::unnecessary_wraps, reason = "all cases are prepared in the same way, and most can fail")]

use mcp_api::{Decision, LlmId, LlmKey, LlmName, Nonce, Verb};
use mcpctl::{
    failover::{Asked, Attempt, CallFailure, Delivered, Fault, ProbeReply, RemoteError, Verdict},
    providers_file::ProvidersFile,
    registry::Named,
    render::{Columns, Format, Item, Listing, Row, View},
    sse::Events,
};
use mcpd::costs::Work;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;

/// Checks a name and an id.
pub(crate) fn names(_: usize) -> anyhow::Result<Work> {
    Ok(Box::new(|| {
        let name = "chat-prod.2026".parse::<LlmName>();
        let id = "c0123456789abcdefghijklmn".parse::<LlmId>();
        usize::from(name.is_ok()) + usize::from(id.is_ok())
    }))
}

/// Reads so many events of a stream.
pub(crate) fn sse(events: usize) -> anyhow::Result<Work> {
    let event = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
                 \"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
    let stream = event.repeat(events);
    Ok(Box::new(move || {
        let mut events = Events::new(stream.as_bytes());
        let (mut count, mut length) = (0, 0);
        while let Ok(Some(event)) = events.next_event() {
            count += 1;
            length += event.data.len();
        }
        count + length
    }))
}

/// Reads a provider file of so many entries.
pub(crate) fn provider_file(entries: usize) -> anyhow::Result<Work> {
    let (folder, path) = written(entries)?;
    Ok(Box::new(move || {
        let _ = &folder;
        ProvidersFile::load(&path, None).map_or(0, |file| file.registry.providers().count())
    }))
}

/// Finds who stands in for an LLM.
pub(crate) fn stand_in(entries: usize) -> anyhow::Result<Work> {
    let (_folder, path) = written(entries)?;
    let file = ProvidersFile::load(&path, None)?;
    let llm: LlmName = format!("l{}", entries / 2).parse()?;
    Ok(Box::new(move || file.registry.stand_in_for(&llm).map_or(0, |provider| provider.name().len())))
}

fn written(entries: usize) -> anyhow::Result<(tempfile::TempDir, std::path::PathBuf)> {
    let mut text = String::from("providers:\n");
    for number in 0..entries {
        writeln!(
            text,
            "- {{name: l{number}, type: openai, url: 'http://[::1]:1234/v1', model: qwen, failoverFor: l{number}}}"
        )?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("providers.yaml");
    std::fs::write(&path, text)?;
    Ok((folder, path))
}

/// From a primary that has failed and the server's word to the permit.
pub(crate) fn failover(_: usize) -> anyhow::Result<Work> {
    let (llm, id): (LlmName, LlmId) = ("chat-prod".parse()?, "c0123456789abcdefghijklmn".parse()?);
    let nonce: Nonce = "0123456789abcdef0123456789abcdef".parse()?;
    let allow = Decision::Allow {
        llm: llm.clone(),
        id: id.clone(),
        verbs: vec![Verb::Run],
        nonce: Some(nonce.clone()),
    };
    let reply = ProbeReply { status: 200, decision: vec![allow.to_string()], ..ProbeReply::default() };
    let asked = Asked { llm: LlmKey::Name(llm), nonce, id: Some(id.clone()), decision_required: true };
    Ok(Box::new(move || {
        let fault = Fault::Status { status: 503, error: RemoteError::default() };
        let cause =
            CallFailure { fault, delivered: Delivered::Nothing, llm_id: Some(id.clone()), needs: None };
        let Ok(probe) = Attempt::new(Ok("local")).failed(cause) else { return 0 };
        let permit = probe.answered(Verdict::judge(&asked, &reply));
        permit.map_or(0, |permit| permit.stand_in().len())
    }))
}

/// Shows so many rows as a table.
pub(crate) fn table(rows: usize) -> anyhow::Result<Work> {
    shown(rows, Format::Table)
}

/// Shows so many rows as one document.
pub(crate) fn documents(rows: usize) -> anyhow::Result<Work> {
    shown(rows, Format::Json)
}

/// One row, as `llm list` has it.
#[derive(Debug, Serialize, JsonSchema)]
struct Model {
    name: String,
    model: String,
}

impl Item for Model {
    const LIST: &'static str = "ModelList";
}

const COLUMNS: Columns =
    Columns { usual: &["NAME", "MODEL", "VERBS", "FAILOVER", "LOCAL PROVIDER"], wide: &[] };

fn shown(rows: usize, format: Format) -> anyhow::Result<Work> {
    let row = |number: usize| {
        let (name, model) = (format!("llm-{number}"), "gpt-5-mini".to_owned());
        let cells = [name.as_str(), &model, "view,run", "allowed", ""].map(String::from).to_vec();
        Row { name: name.clone(), cells, document: Model { name, model } }
    };
    let view = View::new(format, COLUMNS);
    let listing = Listing { view, rows: (0..rows).map(row).collect() };
    Ok(Box::new(move || listing.text().len()))
}
