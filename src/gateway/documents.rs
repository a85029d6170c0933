//! What administrators describe: read, made, changed and removed at the server, one thing a call.

use super::{CALL_LIMIT, Gateway};
use crate::{
    documents::Key,
    failover::{CallFailure, Fault},
};
use mcp_api::{
    Document, Kind, Llm, LlmId, LlmList, LlmSpec, Rbac, headers,
    identity::{Answer, Items, SubjectSpec},
    paths,
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH},
};
use serde::Deserialize;

/// Something as the server has it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What an administrator would say to have it so.
    pub document: Document,
    /// Of an LLM: its id.
    pub id: Option<LlmId>,
    /// Its version, for a change that is meant for this one only. Lists have none.
    pub version: Option<String>,
}

/// What is to become of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is made.
    Real,
    /// The server checks it and writes nothing.
    DryRun,
}

/// What the server says of a change. Other fields are what was described.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    warnings: Vec<String>,
}

impl From<Llm> for Stored {
    fn from(llm: Llm) -> Self {
        let id = Some(llm.id.clone());
        Self { document: Document::Llm(LlmSpec::from(llm)), id, version: None }
    }
}

impl From<Document> for Stored {
    fn from(document: Document) -> Self {
        Self { document, id: None, version: None }
    }
}

impl Gateway {
    /// One thing; none if there is no such one, which only callers hear who may view all of its kind.
    pub fn find(&self, key: &Key) -> Result<Option<Stored>, CallFailure> {
        match self.look_up(key) {
            Ok(stored) => Ok(Some(stored)),
            Err(CallFailure { fault: Fault::Status { status: 404, .. }, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// One thing; that there is none is a failure.
    pub fn look_up(&self, key: &Key) -> Result<Stored, CallFailure> {
        let response = self.answer(self.request(Method::GET, &key.path()), CALL_LIMIT)?;
        let version = header(response.headers(), ETAG.as_str());
        let stored = match key {
            Key::Llm(_) => Stored::from(Self::read::<Llm>(response, CALL_LIMIT)?),
            Key::Rbac(_) => {
                Stored::from(Document::Rbac(Self::read::<Answer<Rbac>>(response, CALL_LIMIT)?.content))
            }
            Key::Subject(..) => {
                Stored::from(Document::from(Self::read::<Answer<SubjectSpec>>(response, CALL_LIMIT)?.content))
            }
        };
        Ok(Stored { version, ..stored })
    }

    /// Everything of some kinds that the caller may view, in the order of [`Kind::ALL`] and of their names.
    pub fn all(&self, kinds: &[Kind]) -> Result<Vec<Stored>, CallFailure> {
        let mut found: Vec<Stored> = Vec::new();
        if kinds.iter().any(|kind| kind.subject().is_some()) {
            let subjects = self.get::<Items<Answer<SubjectSpec>>>(paths::SUBJECTS)?.items;
            let documents = subjects.into_iter().map(|answer| Document::from(answer.content));
            found.extend(documents.filter(|document| kinds.contains(&document.kind())).map(Stored::from));
        }
        if kinds.contains(&Kind::Llm) {
            found.extend(self.get::<LlmList>(paths::LLMS)?.items.into_iter().map(Stored::from));
        }
        if kinds.contains(&Kind::Rbac) {
            let bindings = self.get::<Items<Answer<Rbac>>>(paths::RBACS)?.items;
            found.extend(bindings.into_iter().map(|answer| Stored::from(Document::Rbac(answer.content))));
        }
        found.sort_by(|a, b| {
            let order = |stored: &Stored| (stored.document.kind(), stored.document.name().to_owned());
            order(a).cmp(&order(b))
        });
        Ok(found)
    }

    /// Makes something, and gives what the server warns of.
    pub fn create(&self, document: &Document, purpose: Purpose) -> Result<Vec<String>, CallFailure> {
        let all = match document.kind() {
            Kind::Llm => paths::LLMS,
            Kind::Rbac => paths::RBACS,
            Kind::User | Kind::ServiceAccount | Kind::Group => paths::SUBJECTS,
        };
        self.change(Method::POST, all, Some(document), None, purpose)
    }

    /// Changes something that is still of this version.
    pub fn replace(
        &self,
        document: &Document,
        version: Option<&str>,
        purpose: Purpose,
    ) -> Result<Vec<String>, CallFailure> {
        self.change(Method::PUT, &Key::of(document).path(), Some(document), version, purpose)
    }

    /// Removes something, if a version is given only one of this version.
    pub fn remove(&self, key: &Key, version: Option<&str>, purpose: Purpose) -> Result<(), CallFailure> {
        self.change(Method::DELETE, &key.path(), None, version, purpose).map(drop)
    }

    fn change(
        &self,
        method: Method,
        path: &str,
        document: Option<&Document>,
        version: Option<&str>,
        purpose: Purpose,
    ) -> Result<Vec<String>, CallFailure> {
        let mut url = self.url(path);
        if purpose == Purpose::DryRun {
            url.set_query(Some("dryRun=server"));
        }
        let mut request = self.request_to(method, url);
        if let Some(version) = version {
            request = request.header(IF_MATCH, version);
        }
        if let Some(document) = document {
            let body = body(document)
                .map_err(|error| CallFailure::before_content(Fault::Unparsable(error.to_string())))?;
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = self.answer(request, CALL_LIMIT)?;
        let was_dry = header(response.headers(), headers::DRY_RUN).is_some();
        if purpose == Purpose::DryRun && !was_dry {
            let doubt = "it does not say that this was a dry run, so it may have been done; look at it";
            return Err(CallFailure::before_content(Fault::Unparsable(doubt.into())));
        }
        Self::read::<Said>(response, CALL_LIMIT).map(|said| said.warnings)
    }
}

fn body(document: &Document) -> serde_json::Result<Vec<u8>> {
    match document {
        Document::Llm(spec) => serde_json::to_vec(spec),
        Document::Rbac(rbac) => serde_json::to_vec(rbac),
        Document::User(_) | Document::ServiceAccount(_) | Document::Group(_) => {
            serde_json::to_vec(&document.subject())
        }
    }
}

fn header(head: &HeaderMap, name: &str) -> Option<String> {
    Some(head.get(name)?.to_str().ok()?.to_owned())
}

/// Says whether a change failed because somebody else was faster.
#[must_use]
pub fn was_overtaken(failure: &CallFailure) -> bool {
    matches!(failure.fault, Fault::Status { status: 409 | 412, .. })
}
