//! What is written on the server, and what has to be true of it at the end: whatever was acknowledged.
//!
//! Every object is written by one worker only. Of what was asked and not acknowledged nothing is claimed.

use super::{
    load::{expect_code, run},
    stage::{CHAT, Stage},
    tally::Breach,
};
use crate::{
    chance::Chance,
    child::{End, Underway, finish},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};
use tempfile::NamedTempFile;

/// The writes of one worker.
#[derive(Debug, Default)]
pub(super) struct Writer {
    number: u64,
    count: u64,
    /// Tokens by their id, and whether they are there.
    tokens: BTreeMap<String, bool>,
    /// The secrets of those that are.
    secrets: BTreeMap<String, String>,
    /// Users by name, and whether they are there.
    users: BTreeMap<String, bool>,
    /// What this worker's LLM is called, as it was acknowledged.
    called: Option<String>,
    /// What it may be called since then.
    perhaps: Vec<String>,
}

/// How a write ended.
enum Outcome {
    Acknowledged,
    /// It may have happened, or may happen.
    Unknown,
}

impl Writer {
    pub(super) fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Makes a token, or revokes one; what was revoked is tried.
    pub(super) fn token(
        &mut self,
        stage: &Stage,
        underway: &Underway,
        chance: &mut Chance,
    ) -> anyhow::Result<()> {
        let there: Vec<String> = self.secrets.keys().cloned().collect();
        if there.len() < 3 || chance.below(2) == 0 {
            return self.create_token(stage, underway, chance);
        }
        let id = &there[chance.below(there.len())];
        self.tokens.remove(id);
        let secret = self.secrets.remove(id).unwrap_or_default();
        if let Outcome::Acknowledged = write(stage, underway, chance, &["token", "revoke", id])? {
            self.tokens.insert(id.clone(), false);
            return is_refused(stage, chance, &secret);
        }
        Ok(())
    }

    fn create_token(
        &mut self,
        stage: &Stage,
        underway: &Underway,
        chance: &mut Chance,
    ) -> anyhow::Result<()> {
        let args = ["token", "create", "--user", "ana", "--expires", "12h"];
        let run = run(stage, Some(underway), &stage.admin, chance.below(2), &args)?;
        let token = run.stdout.trim();
        let id = token.strip_prefix("mcpd_").and_then(|rest| rest.split('_').next());
        if !token.is_empty() {
            stage.watch(format!("token {}", id.unwrap_or("?")), token);
        }
        expect_code(stage, "admin", &run, &[0, 7]);
        match (run.end, id) {
            (End::Code(0), Some(id)) => {
                stage.tally.acknowledged();
                self.tokens.insert(id.to_owned(), true);
                self.secrets.insert(id.to_owned(), token.to_owned());
            }
            (End::Code(0), None) => {
                stage.tally.violation(Breach::Other, &format!("no token: {}", run.told()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a user or removes one, or changes an LLM of this worker's own.
    pub(super) fn document(
        &mut self,
        stage: &Stage,
        underway: &Underway,
        chance: &mut Chance,
    ) -> anyhow::Result<()> {
        self.count += 1;
        let there: Vec<String> = self.users.iter().filter(|it| *it.1).map(|it| it.0.clone()).collect();
        match chance.below(3) {
            0 if there.len() > 2 => {
                let name = &there[chance.below(there.len())];
                self.users.remove(name);
                let args = ["delete", "user", name];
                if let Outcome::Acknowledged = write(stage, underway, chance, &args)? {
                    self.users.insert(name.clone(), false);
                }
            }
            1 => {
                let shown = format!("revision {}", self.count);
                let document = json!({
                    "kind": "Llm", "name": self.llm(), "displayName": shown, "type": "openai",
                    "url": "http://127.0.0.1:9/v1", "model": "tiny",
                });
                self.perhaps.push(shown.clone());
                if let Outcome::Acknowledged = self.apply(stage, underway, chance, &document)? {
                    self.called = Some(shown);
                    self.perhaps.clear();
                }
            }
            _ => {
                let name = format!("soak-{}-{}", self.number, self.count);
                let document = json!({"kind": "User", "name": name});
                if let Outcome::Acknowledged = self.apply(stage, underway, chance, &document)? {
                    self.users.insert(name, true);
                }
            }
        }
        Ok(())
    }

    fn llm(&self) -> String {
        format!("of-worker-{}", self.number)
    }

    fn apply(
        &self,
        stage: &Stage,
        underway: &Underway,
        chance: &mut Chance,
        document: &Value,
    ) -> anyhow::Result<Outcome> {
        let file = stage.admin.home().join(format!("document-{}.json", self.number));
        fs::write(&file, document.to_string())?;
        write(stage, underway, chance, &["apply", "-f", &file.to_string_lossy()])
    }

    /// Compares what was acknowledged with what the server has.
    pub(super) fn compare(&self, stage: &Stage, has: &Has) {
        let lost = |what: String| stage.tally.violation(Breach::LostWrite, &what);
        for (id, there) in &self.tokens {
            if has.tokens.contains(id) != *there {
                lost(format!("token {id}: acknowledged as there: {there}, and it is not so"));
            }
        }
        for (name, there) in &self.users {
            if has.users.contains(name) != *there {
                lost(format!("user {name}: acknowledged as there: {there}, and it is not so"));
            }
        }
        let name = has.display_names.get(&self.llm());
        if name != self.called.as_ref() && name.is_none_or(|name| !self.perhaps.contains(name)) {
            let (llm, called, perhaps) = (self.llm(), &self.called, &self.perhaps);
            lost(format!("{llm} is called {name:?}, and not {called:?} or one of {perhaps:?}"));
        }
    }
}

/// Writes as the administrator, at any of the servers.
fn write(stage: &Stage, underway: &Underway, chance: &mut Chance, args: &[&str]) -> anyhow::Result<Outcome> {
    let run = run(stage, Some(underway), &stage.admin, chance.below(2), args)?;
    expect_code(stage, "admin", &run, &[0, 7]);
    if !run.is(0) {
        return Ok(Outcome::Unknown);
    }
    stage.tally.acknowledged();
    Ok(Outcome::Acknowledged)
}

/// What the server has.
#[derive(Debug, Default)]
pub(super) struct Has {
    tokens: BTreeSet<String>,
    users: BTreeSet<String>,
    display_names: BTreeMap<String, String>,
}

impl Has {
    /// Asks for all of it.
    pub(super) fn ask(stage: &Stage) -> anyhow::Result<Self> {
        let items = |args: &[&str]| -> anyhow::Result<Vec<Value>> {
            let run = run(stage, None, &stage.admin, 0, args)?;
            anyhow::ensure!(run.is(0), "{}", run.told());
            let document: Value = serde_json::from_str(&run.stdout)?;
            Ok(document["items"].as_array().cloned().unwrap_or_default())
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tokens = items(&["token", "list", "-o", "json"])?;
        let users = items(&["get", "user", "-o", "json"])?;
        let llms = items(&["llm", "list", "-o", "json"])?;
        Ok(Self {
            tokens: tokens
                .iter()
                .filter(|it| it["revokedAt"].is_null())
                .filter_map(|it| text(&it["id"]))
                .collect(),
            users: users.iter().filter_map(|it| text(&it["name"])).collect(),
            display_names: llms
                .iter()
                .filter_map(|it| Some((text(&it["name"])?, text(&it["displayName"])?)))
                .collect(),
        })
    }
}

/// A token whose revocation was acknowledged opens nothing any more, on any server.
fn is_refused(stage: &Stage, chance: &mut Chance, token: &str) -> anyhow::Result<()> {
    let file = NamedTempFile::new()?;
    fs::write(file.path(), token)?;
    fs::set_permissions(file.path(), Permissions::from_mode(0o600))?;
    let url = &stage.servers[chance.below(stage.servers.len())].url;
    let mut command = stage.admin.command(["infer", CHAT, "hello", "--server", url]);
    command.env("MCPCTL_TOKEN_FILE", file.path());
    let run = finish(command, super::load::LIMIT, None)?;
    stage.tally.ended("infer (revoked)", &format!("{:?}", run.end));
    stage.tally.judged();
    if run.is(0) || !run.stdout.is_empty() {
        stage.tally.violation(Breach::Unauthorised, &format!("with a revoked token: {}", run.told()));
    }
    Ok(())
}
