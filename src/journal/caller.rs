//! Who the server says that a token belongs to, as far as somebody has asked it here: `auth login`, `auth status` and
//! `auth whoami` do. By it the events of this machine name whoever they are of, also while the server is away.

use crate::{credential, environment::Environment, files};
use mcp_api::Whoami;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The largest record, in bytes.
const RECORD_MAX: u64 = 4 << 10;

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Record {
    token_id: String,
    name: String,
}

/// Remembers what the server at `origin` has said. That it cannot is no reason to fail: a login is written down then.
pub fn learn(env: &Environment, origin: &str, who: &Whoami) {
    let record = Record { token_id: who.token_id.clone(), name: who.subject.name.to_string() };
    if read(env, origin).as_ref() == Some(&record) {
        return;
    }
    let Some(folder) = folder(env) else { return };
    if let (Ok(folder), Ok(bytes)) = (files::private_folder(&folder), serde_json::to_vec(&record)) {
        let _ = folder.write(&credential::file_name(origin), &bytes);
    }
}

/// The name of whom a token belongs to.
#[must_use]
pub fn name(env: &Environment, origin: &str, token_id: Option<&str>) -> Option<String> {
    read(env, origin).filter(|record| Some(record.token_id.as_str()) == token_id).map(|record| record.name)
}

fn read(env: &Environment, origin: &str) -> Option<Record> {
    let folder = folder(env).filter(|folder| folder.exists())?;
    let bytes =
        files::private_folder(&folder).ok()?.read(&credential::file_name(origin), RECORD_MAX).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn folder(env: &Environment) -> Option<PathBuf> {
    Some(env.state_folder()?.join("v1").join("callers"))
}
