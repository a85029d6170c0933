//! Whose a token is and when it ends, as the server told it the last time somebody asked it here: `auth login`,
//! `auth status` and `auth whoami` do.
//!
//! It is remembered beside the id of the token, which is public: so the events of this machine can name whoever they
//! are of while the server is away, and no command has to ask again only to be able to warn. It changes nothing that a
//! command does: the clock of this machine may be wrong, and it is the server that judges a token.

use super::{Credential, file_name};
use crate::{environment::Environment, files};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use mcp_api::{Subject, SubjectKind, Whoami};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// How long before its end a token is warned of.
pub const SOON: SignedDuration = SignedDuration::from_hours(72);
/// The largest record, in bytes.
const RECORD_MAX: u64 = 4 << 10;

/// That a token ends soon, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    at: Timestamp,
    now: Timestamp,
}

/// Where something would be said: each has its own day, so that a timer does not use up the note of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// At a terminal.
    Person,
    /// In a pipe or a file.
    Log,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    token_id: String,
    name: String,
    /// Absent in records of old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<SubjectKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_person: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_log: Option<Date>,
}

impl Ending {
    /// The end, if it is near or past.
    #[must_use]
    pub fn near(at: Timestamp, now: Timestamp) -> Option<Self> {
        (at.duration_since(now) <= SOON).then_some(Self { at, now })
    }

    /// It is past, if the clock of this machine is right.
    #[must_use]
    pub fn is_past(&self) -> bool {
        self.at <= self.now
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.strftime("%Y-%m-%d %H:%M UTC");
        if self.is_past() {
            return write!(f, "by this machine's clock your token expired on {at}");
        }
        write!(f, "your token expires {} ({at})", Left(self.at.duration_since(self.now)))
    }
}

/// What is left of a time: `in 30d`, `in 47h59m`.
#[derive(Debug, Clone, Copy)]
pub struct Left(pub SignedDuration);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_hours() {
            hours @ 48.. => write!(f, "in {}d", hours / 24),
            hours => write!(f, "in {hours}h{}m", self.0.as_mins() - hours * 60),
        }
    }
}

/// Remembers what the server has said of a token. That it cannot is no reason to fail: it is only not known then.
pub fn learn(env: &Environment, origin: &str, who: &Whoami) {
    let Some(folder) = folder(env) else { return };
    let known = read(env, origin).filter(|record| record.token_id == who.token_id);
    let expires_at = who.token_expires_at.as_deref().and_then(|at| at.parse().ok());
    let name = who.subject.name.to_string();
    let kind = Some(who.subject.kind);
    if known.is_none_or(|it| (it.expires_at, it.kind, it.name) != (expires_at, kind, name.clone())) {
        let token_id = who.token_id.clone();
        write(
            &folder,
            origin,
            &Record { token_id, name, kind, expires_at, told_person: None, told_log: None },
        );
    }
}

/// The name of whom a token belongs to.
#[must_use]
pub fn name(env: &Environment, origin: &str, token_id: Option<&str>) -> Option<String> {
    read(env, origin).filter(|record| Some(record.token_id.as_str()) == token_id).map(|record| record.name)
}

/// Whom a token belongs to.
#[must_use]
pub fn subject(env: &Environment, origin: &str, token_id: Option<&str>) -> Option<Subject> {
    let record = read(env, origin).filter(|record| Some(record.token_id.as_str()) == token_id)?;
    Some(Subject { kind: record.kind?, name: record.name.parse().ok()? })
}

/// What is to be said of this token now, at most once a day to each reader.
pub fn notice(
    env: &Environment,
    origin: &str,
    credential: &Credential,
    now: Timestamp,
    reader: Reader,
) -> Option<Ending> {
    let record = read(env, origin)?;
    if credential.token_id() != Some(&record.token_id) {
        return None;
    }
    let ending = Ending::near(record.expires_at?, now)?;
    let record = record.told(reader, now.to_zoned(TimeZone::UTC).date())?;
    write(&folder(env)?, origin, &record);
    Some(ending)
}

impl Record {
    /// The record after it was told on this day; none if it was told on this day already.
    fn told(mut self, reader: Reader, today: Date) -> Option<Self> {
        let told = match reader {
            Reader::Person => &mut self.told_person,
            Reader::Log => &mut self.told_log,
        };
        if told.replace(today) == Some(today) { None } else { Some(self) }
    }
}

fn folder(env: &Environment) -> Option<PathBuf> {
    Some(env.state_folder()?.join("v1").join("tokens"))
}

fn read(env: &Environment, origin: &str) -> Option<Record> {
    let folder = folder(env).filter(|folder| folder.exists())?;
    let bytes = files::private_folder(&folder).ok()?.read(&file_name(origin), RECORD_MAX).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn write(folder: &std::path::Path, origin: &str, record: &Record) {
    if let (Ok(folder), Ok(text)) = (files::private_folder(folder), serde_json::to_vec(record)) {
        let _ = folder.write(&file_name(origin), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Source;
    use mcp_api::Secret;
    use serde_json::json;

    const ORIGIN: &str = "https://a.example";

    fn credential(id: &str) -> Credential {
        Credential { token: Secret::new(format!("mcpd_{id}_secret")), source: Source::Environment }
    }

    fn whoami(id: &str, expires: Option<&str>) -> Whoami {
        let subject = json!({ "kind": "User", "name": "dana" });
        let who = json!({ "subject": subject, "groups": [], "tokenId": id, "tokenExpiresAt": expires });
        serde_json::from_value(who).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_told_three_days_before_once_a_day_to_each_reader() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_STATE_HOME", folder.path().to_str().unwrap())]);
        learn(&env, ORIGIN, &whoami("a", Some("2026-12-10T12:00:00Z")));
        let told = |id: &str, now: &str, reader| notice(&env, ORIGIN, &credential(id), at(now), reader);
        assert_eq!(told("a", "2026-12-07T11:59:59Z", Reader::Log), None);
        let text = told("a", "2026-12-07T12:00:00Z", Reader::Log).unwrap().to_string();
        assert_eq!(text, "your token expires in 3d (2026-12-10 12:00 UTC)");
        assert_eq!(told("a", "2026-12-07T23:59:59Z", Reader::Log), None);
        assert!(told("a", "2026-12-07T23:59:59Z", Reader::Person).is_some());
        assert_eq!(told("b", "2026-12-08T12:00:00Z", Reader::Log), None, "another token");
        assert!(told("a", "2026-12-08T00:00:00Z", Reader::Log).is_some());
        // Asked again, the server says the same: nobody is told once more.
        learn(&env, ORIGIN, &whoami("a", Some("2026-12-10T12:00:00Z")));
        assert_eq!(told("a", "2026-12-08T00:00:01Z", Reader::Log), None);
        let past = told("a", "2026-12-10T12:00:00Z", Reader::Log).unwrap();
        assert_eq!(past.to_string(), "by this machine's clock your token expired on 2026-12-10 12:00 UTC");
        learn(&env, ORIGIN, &whoami("a", None));
        assert_eq!(told("a", "2026-12-11T00:00:00Z", Reader::Log), None);
        assert_eq!(name(&env, ORIGIN, Some("a")).as_deref(), Some("dana"));
        assert_eq!((name(&env, ORIGIN, Some("b")), name(&env, "https://b.example", Some("a"))), (None, None));
    }

    #[test]
    fn what_cannot_be_read_or_remembered_is_no_error() {
        let env = Environment::default();
        learn(&env, ORIGIN, &whoami("a", Some("2026-12-10T12:00:00Z")));
        assert_eq!(notice(&env, ORIGIN, &credential("a"), at("2026-12-10T12:00:00Z"), Reader::Log), None);
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_STATE_HOME", folder.path().to_str().unwrap())]);
        let records = folder.path().join("mcpctl/v1/tokens");
        files::private_folder(&records).unwrap().write(&file_name(ORIGIN), b"{").unwrap();
        assert_eq!(notice(&env, ORIGIN, &credential("a"), at("2026-12-10T12:00:00Z"), Reader::Log), None);
    }
}
