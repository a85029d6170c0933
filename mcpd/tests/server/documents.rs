//! What several people have written, and what the server says that there is. Each document is one value, so that half
//! of one is another one.

use fakes::{Mcpd, Response};
use mcp_api::{TokenCreated, paths};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many of a kind each writer has names for. Few, so that they are replaced and removed all the time.
const NAMES: usize = 3;

/// Documents by kind and name. The tokens of one owner are one document, which counts them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Documents(BTreeMap<String, Value>);

impl Documents {
    /// All there is but what belongs to the first administrator.
    pub(crate) fn seen_by_admin(mcpd: &Mcpd) -> Self {
        let items = |path: &str| {
            let answer = mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"").expect_success(path);
            let mut list: Value = answer.json();
            serde_json::from_value::<Vec<Value>>(list["items"].take()).unwrap()
        };
        let mut all = BTreeMap::new();
        for llm in items(paths::LLMS) {
            all.insert(
                format!("llm {}", text(&llm["name"])),
                json!([llm["model"], llm["url"], llm["contextLength"]]),
            );
        }
        for rbac in items(paths::RBACS) {
            all.insert(
                format!("rbac {}", text(&rbac["name"])),
                json!([rbac["subjects"], rbac["roleBindings"]]),
            );
        }
        for subject in items(paths::SUBJECTS) {
            let members = subject.get("members").cloned().unwrap_or(json!([]));
            all.insert(format!("{} {}", text(&subject["kind"]), text(&subject["name"])), members);
        }
        for token in items(paths::TOKENS) {
            let counted =
                all.entry(format!("tokens of {}", text(&token["subject"]["name"]))).or_insert(json!([0, 0]));
            let at = usize::from(token.get("revokedAt").is_some());
            counted[at] = json!(counted[at].as_u64().unwrap() + 1);
        }
        all.retain(|key, _| !key.ends_with(" admin") && !key.ends_with(" bootstrap-admin"));
        Self(all)
    }

    /// Compares with what there should be, and names the first difference.
    pub(crate) fn must_be(&self, expected: &Self, when: &str) {
        for key in self.0.keys().chain(expected.0.keys()) {
            assert_eq!(self.0.get(key), expected.0.get(key), "{when}: {key}");
        }
    }

    fn has(&self, changes: &Changes) -> bool {
        changes.iter().all(|(key, value)| self.0.get(key) == value.as_ref())
    }

    fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }
}

impl<'a> FromIterator<&'a Documents> for Documents {
    fn from_iter<T: IntoIterator<Item = &'a Self>>(all: T) -> Self {
        Self(all.into_iter().flat_map(|documents| documents.0.clone()).collect())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What one write makes of some documents; none where it removes one.
type Changes = Vec<(String, Option<Value>)>;

/// One request.
pub(crate) struct Write {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// The id of the request, by which it is found in the trail.
    pub(crate) id: String,
}

/// Somebody who writes one thing after the other, under names of their own.
pub(crate) struct Writer {
    number: usize,
    /// Makes every version of a document unlike the others.
    version: u64,
    documents: Documents,
    /// Sent and not acknowledged.
    pending: Changes,
    /// Whose token is asked for, or which of those in `tokens` is to end.
    about: About,
    tokens: Vec<Token>,
    /// The ids of the requests that have changed something.
    changed: Vec<String>,
}

enum About {
    Nothing,
    TokenOf(String),
    End(usize),
    EndAllOf(String),
}

struct Token {
    owner: String,
    bearer: String,
    is_good: bool,
}

impl Writer {
    pub(crate) fn new(number: usize) -> Self {
        let documents = Documents::default();
        Self {
            number,
            version: 0,
            documents,
            pending: Vec::new(),
            about: About::Nothing,
            tokens: Vec::new(),
            changed: Vec::new(),
        }
    }

    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    /// The ids of the requests that must be in the trail.
    pub(crate) fn changed(&self) -> &[String] {
        &self.changed
    }

    fn id(&self) -> String {
        format!("writer-{}-{}", self.number, self.version)
    }

    /// Chooses the next write. `below` makes random numbers.
    pub(crate) fn next(&mut self, below: &mut dyn FnMut(usize) -> usize) -> Write {
        self.version += 1;
        self.about = About::Nothing;
        let name = format!("w{}-{}", self.number, below(NAMES));
        let (write, changes) = match below(10) {
            0..3 => self.llm(&name, below(3) == 0),
            3..5 => self.rbac(&name, below(4) == 0),
            5..6 => self.group(&name, below(4) == 0),
            6..8 if self.documents.0.contains_key(&format!("User {name}")) => self.token(&name, below(3) > 0),
            _ => self.user(&name),
        };
        self.pending = changes;
        Write { id: self.id(), ..write }
    }

    fn llm(&self, name: &str, away: bool) -> (Write, Changes) {
        let key = format!("llm {name}");
        let there = self.documents.0.contains_key(&key);
        let (model, url, length) = (format!("m{}", self.version), "http://127.0.0.1:9/v1", self.version);
        let body =
            json!({"name": name, "type": "openai", "url": url, "model": model, "contextLength": length});
        let own = format!("{}/{name}", paths::LLMS);
        put_or_remove(there, away, (paths::LLMS, own), body, (key, json!([model, url, length])))
    }

    /// Many rows, all of one version.
    fn rbac(&self, name: &str, away: bool) -> (Write, Changes) {
        let key = format!("rbac {name}");
        let there = self.documents.0.contains_key(&key);
        let subjects: Vec<_> = (0..4)
            .map(|n| json!({"kind": "User", "name": format!("{name}-v{}-{n}", self.version)}))
            .collect();
        let grants: Vec<_> = (0..6)
            .map(|n| json!({"role": "run", "resource": "llms", "name": format!("{name}-v{}-{n}", self.version)}))
            .collect();
        let body = json!({"name": name, "subjects": subjects, "roleBindings": grants});
        let own = format!("{}/{name}", paths::RBACS);
        put_or_remove(there, away, (paths::RBACS, own), body, (key, json!([subjects, grants])))
    }

    fn group(&self, name: &str, away: bool) -> (Write, Changes) {
        let key = format!("Group {name}");
        let there = self.documents.0.contains_key(&key);
        let users = self.documents.0.keys().filter_map(|key| key.strip_prefix("User "));
        // In the order in which the server shows them.
        let members: Vec<_> = users
            .enumerate()
            .filter(|(n, _)| !(self.version >> n).is_multiple_of(2))
            .map(|(_, name)| json!({"kind": "User", "name": name}))
            .collect();
        let body = json!({"kind": "Group", "name": name, "members": members});
        let own = format!("{}/group/{name}", paths::SUBJECTS);
        put_or_remove(there, away, (paths::SUBJECTS, own), body, (key, json!(members)))
    }

    /// Makes a user, or removes one with its tokens and its memberships.
    fn user(&mut self, name: &str) -> (Write, Changes) {
        let key = format!("User {name}");
        let body = json!({"kind": "User", "name": name});
        if !self.documents.0.contains_key(&key) {
            let write =
                Write { method: "POST", path: paths::SUBJECTS.into(), body: Some(body), id: String::new() };
            return (write, vec![(key, Some(json!([])))]);
        }
        let mut changes = vec![(key, None), (format!("tokens of {name}"), None)];
        for (group, members) in self.documents.0.iter().filter(|(key, _)| key.starts_with("Group ")) {
            let left = members.as_array().unwrap().iter().filter(|member| member["name"] != name);
            changes.push((group.clone(), Some(left.cloned().collect())));
        }
        self.about = About::EndAllOf(name.to_owned());
        (
            Write {
                method: "DELETE",
                path: format!("{}/user/{name}", paths::SUBJECTS),
                body: None,
                id: String::new(),
            },
            changes,
        )
    }

    /// Makes a token of a user, or revokes the last one that is good.
    fn token(&mut self, name: &str, revoke: bool) -> (Write, Changes) {
        let key = format!("tokens of {name}");
        let counted = self.documents.0.get(&key).cloned().unwrap_or(json!([0, 0]));
        let (good, revoked) = (counted[0].as_u64().unwrap(), counted[1].as_u64().unwrap());
        let last = self.tokens.iter().rposition(|token| token.owner == name && token.is_good);
        if let Some(at) = last.filter(|_| revoke) {
            self.about = About::End(at);
            let id = self.tokens[at].bearer.split('_').nth(1).unwrap();
            let write = Write { method: "DELETE", path: paths::token(id), body: None, id: String::new() };
            return (write, vec![(key, Some(json!([good - 1, revoked + 1])))]);
        }
        self.about = About::TokenOf(name.to_owned());
        let body = json!({"subject": {"kind": "User", "name": name}});
        let write = Write { method: "POST", path: paths::TOKENS.into(), body: Some(body), id: String::new() };
        (write, vec![(key, Some(json!([good + 1, revoked])))])
    }

    /// The last write was acknowledged: from now on it must be there.
    pub(crate) fn acknowledged(&mut self, answer: &Response) {
        let made = matches!(self.about, About::TokenOf(_)).then(|| answer.json::<TokenCreated>().token);
        self.happened(made);
    }

    fn happened(&mut self, made: Option<String>) {
        // What is so already is not written again, and has no entry.
        if !self.documents.has(&self.pending) {
            self.changed.push(self.id());
        }
        self.documents.apply(std::mem::take(&mut self.pending));
        match (std::mem::replace(&mut self.about, About::Nothing), made) {
            (About::TokenOf(owner), Some(token)) => {
                self.tokens.push(Token { owner, bearer: token, is_good: true });
            }
            (About::End(at), _) => self.tokens[at].is_good = false,
            (About::EndAllOf(owner), _) => {
                self.tokens
                    .iter_mut()
                    .filter(|token| token.owner == owner)
                    .for_each(|token| token.is_good = false);
            }
            (About::Nothing | About::TokenOf(_), _) => {}
        }
    }

    /// After a crash: says whether the write that nobody acknowledged was done, if there was one. Half of it is an error.
    pub(crate) fn settle(&mut self, there: &Documents) -> Result<Option<bool>, String> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let before: Changes =
            self.pending.iter().map(|(key, _)| (key.clone(), self.documents.0.get(key).cloned())).collect();
        let done = there.has(&self.pending);
        if !done && !there.has(&before) {
            return Err(format!("half of {:?} is there", self.pending));
        }
        if done {
            self.happened(None);
        }
        self.pending.clear();
        Ok(Some(done))
    }

    /// Tries the last tokens: those that are good let in, the others do not.
    pub(crate) fn try_tokens(&self, mcpd: &Mcpd, when: &str) {
        for Token { owner, bearer, is_good } in self.tokens.iter().rev().take(4) {
            let status = mcpd.request("GET", paths::WHOAMI, Some(bearer), &[], b"").status;
            assert_eq!(status, if *is_good { 200 } else { 401 }, "{when}: a token of {owner}");
        }
    }
}

/// Creates what is not there; else replaces it, or takes it away.
fn put_or_remove(
    there: bool,
    away: bool,
    (all, own): (&str, String),
    body: Value,
    (key, value): (String, Value),
) -> (Write, Changes) {
    match (there, away) {
        (false, _) => (
            Write { method: "POST", path: all.to_owned(), body: Some(body), id: String::new() },
            vec![(key, Some(value))],
        ),
        (true, false) => (
            Write { method: "PUT", path: own, body: Some(body), id: String::new() },
            vec![(key, Some(value))],
        ),
        (true, true) => {
            (Write { method: "DELETE", path: own, body: None, id: String::new() }, vec![(key, None)])
        }
    }
}
