//! What is done for every request, and for every change of rights, as pieces of work at any size: `mcp-guard` counts
//! their instructions. Nothing of the server uses this.

use crate::{
    bearer::Bearer,
    policy::{On, Verdict, compile, decide},
    store::{Snapshot, StoredLlm, StoredToken},
};
use anyhow::Context;
use jiff::Timestamp;
use mcp_api::{
    FailoverPolicy, Labels, Limits, LlmId, LlmKey, LlmSpec, Rbac, Resource, Role, RoleBinding, Subject,
    SubjectKind, SubjectName, Timeouts, Verb, identity::SubjectSpec,
};
use std::collections::BTreeMap;

pub use crate::proxy::costs::{prompt, stream, stream_token_by_token};

/// Something that can be done over and over; gives a number, so that nobody leaves it out.
pub type Work = Box<dyn FnMut() -> usize>;

/// One verdict on each of three LLMs: the first and the last that a binding names, and one that none does.
pub fn decide_among(bindings: usize) -> anyhow::Result<Work> {
    let rights = compile(&bindings_on_llms(bindings)?, &ana_in_ops()?);
    let names = [llm_name(0), llm_name(bindings - 1), llm_name(bindings)];
    let ana = subject(SubjectKind::User, "ana")?;
    Ok(Box::new(move || {
        let Some(rights) = rights.get(&ana) else { return 0 };
        let allows = |name: &&String| {
            let on = On::One(Resource::Llms, &[name, "c0123456789abcdefghijklmn"]);
            matches!(decide(rights, Verb::Run, on), Verdict::Allowed { .. })
        };
        names.iter().filter(allows).count()
    }))
}

/// Finds one token among so many, by its text.
pub fn log_in_among(tokens: usize) -> anyhow::Result<Work> {
    let bearer = Bearer::generate().context("no random numbers")?;
    let shown = bearer.reveal();
    let mut stored = tokens_of(tokens)?;
    stored.insert(bearer.id().to_owned(), token(bearer.id(), &bearer)?);
    let snapshot = Snapshot::of(Vec::new(), stored, BTreeMap::new(), BTreeMap::new());
    Ok(Box::new(move || {
        let Some(bearer) = Bearer::parse(shown.expose()) else { return 0 };
        let found = snapshot.token(bearer.id());
        usize::from(bearer.is_of(found.map(|token| &token.hash)))
    }))
}

/// Reads the rights out of so many bindings, half of them by way of a group: a part of every change.
pub fn compile_all(bindings: usize) -> anyhow::Result<Work> {
    let bindings = bindings_on_llms(bindings)?;
    let members = ana_in_ops()?;
    Ok(Box::new(move || compile(&bindings, &members).len()))
}

/// Says which of so many LLMs a caller may see who has a binding for each: what a list of them takes.
pub fn list_llms(llms: usize) -> anyhow::Result<Work> {
    let snapshot = snapshot(llms, llms)?;
    let ana = subject(SubjectKind::User, "ana")?;
    Ok(Box::new(move || {
        let rights = snapshot.rights(&ana);
        let seen =
            snapshot.llms().filter(|llm| rights.allow(Verb::Run, On::One(Resource::Llms, &llm.aliases())));
        seen.count()
    }))
}

/// Finds an LLM among so many, by its name and by its id.
pub fn find_llm(llms: usize) -> anyhow::Result<Work> {
    let snapshot = snapshot(llms, 1)?;
    let name = LlmKey::Name(llm_name(llms / 2).parse()?);
    let id = LlmKey::Id(llm_id(llms / 2)?);
    Ok(Box::new(move || [&name, &id].into_iter().filter(|key| snapshot.llm(key).is_some()).count()))
}

/// Compares two states that differ in one binding of so many: what a change writes into the audit trail.
pub fn compare(bindings: usize) -> anyhow::Result<Work> {
    let (before, after) = (snapshot(10, bindings)?, snapshot(10, bindings + 1)?);
    Ok(Box::new(move || after.changes_since(&before, Timestamp::UNIX_EPOCH).len()))
}

/// Every second binding is one of ana's own, the others are of her group.
fn bindings_on_llms(count: usize) -> anyhow::Result<BTreeMap<SubjectName, Rbac>> {
    let holders = [subject(SubjectKind::User, "ana")?, subject(SubjectKind::Group, "ops")?];
    let one = |number: usize| -> anyhow::Result<(SubjectName, Rbac)> {
        let name: SubjectName = format!("binding-{number:06}").parse()?;
        let what =
            RoleBinding { role: Role::Run, resource: Resource::Llms, name: Some(llm_name(number).parse()?) };
        let subjects = vec![holders[number % 2].clone()];
        Ok((name.clone(), Rbac { name, labels: Labels::default(), subjects, role_bindings: vec![what] }))
    };
    (0..count).map(one).collect()
}

fn ana_in_ops() -> anyhow::Result<BTreeMap<Subject, Vec<Subject>>> {
    Ok(BTreeMap::from([(subject(SubjectKind::Group, "ops")?, vec![subject(SubjectKind::User, "ana")?])]))
}

fn snapshot(llms: usize, bindings: usize) -> anyhow::Result<Snapshot> {
    let ops = SubjectSpec {
        kind: SubjectKind::Group,
        name: "ops".parse()?,
        members: vec![subject(SubjectKind::User, "ana")?],
        labels: Labels::default(),
    };
    let subjects = BTreeMap::from([(subject(SubjectKind::Group, "ops")?, ops)]);
    let llms = (0..llms).map(llm).collect::<anyhow::Result<_>>()?;
    Ok(Snapshot::of(llms, BTreeMap::new(), subjects, bindings_on_llms(bindings)?))
}

fn llm(number: usize) -> anyhow::Result<StoredLlm> {
    let spec = LlmSpec {
        name: llm_name(number).parse()?,
        labels: Labels::default(),
        display_name: None,
        kind: "openai".to_owned(),
        url: "http://127.0.0.1:8000/v1".to_owned(),
        urls: Vec::new(),
        model: "model".to_owned(),
        api_key_ref: None,
        enabled: true,
        failover: FailoverPolicy::Allowed,
        context_length: None,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
    };
    let at = Timestamp::UNIX_EPOCH;
    Ok(StoredLlm { id: llm_id(number)?, spec, created_at: at, updated_at: at })
}

fn llm_name(number: usize) -> String {
    format!("llm-{number}")
}

fn llm_id(number: usize) -> anyhow::Result<LlmId> {
    Ok(format!("c{number:024}").parse()?)
}

fn subject(kind: SubjectKind, name: &str) -> anyhow::Result<Subject> {
    Ok(Subject { kind, name: name.parse()? })
}

fn tokens_of(count: usize) -> anyhow::Result<BTreeMap<String, StoredToken>> {
    let bearer = Bearer::generate().context("no random numbers")?;
    let one = |number: usize| {
        let id = format!("{number:016}");
        Ok((id.clone(), token(&id, &bearer)?))
    };
    (0..count).map(one).collect()
}

fn token(id: &str, bearer: &Bearer) -> anyhow::Result<StoredToken> {
    Ok(StoredToken {
        id: id.to_owned(),
        hash: bearer.hash(),
        subject: subject(SubjectKind::User, "ana")?,
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
    })
}
