//! Everything the server knows at one moment, in memory and never changed.

use super::{Fact, StoreError, StoredLlm, StoredToken, audit, bindings, llms, subjects, tokens};
use crate::policy::{On, Rights, compile};
use jiff::Timestamp;
use mcp_api::{
    LlmId, LlmKey, LlmName, Rbac, Resource, Role, RoleBinding, Subject, SubjectKind, SubjectName, Verb,
    identity::SubjectSpec,
};
use sqlx::AnyConnection;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// How long reading all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The state that requests are decided on. A request keeps the one it began with.
#[derive(Debug)]
pub(crate) struct Snapshot {
    epoch: i64,
    stamp: String,
    llms: BTreeMap<LlmName, Arc<StoredLlm>>,
    names: HashMap<LlmId, LlmName>,
    tokens: BTreeMap<String, StoredToken>,
    subjects: BTreeMap<Subject, SubjectSpec>,
    bindings: BTreeMap<SubjectName, Rbac>,
    rights: HashMap<Subject, Rights>,
}

/// What a subject holds that no binding mentions.
static NOTHING: std::sync::LazyLock<Rights> = std::sync::LazyLock::new(Rights::default);

impl Snapshot {
    /// Reads all of it, within the transaction of a change also what that one has written.
    pub(super) async fn load(connection: &mut AnyConnection) -> Result<Self, StoreError> {
        timeout(PATIENCE, Self::read(connection)).await.map_err(|_| StoreError::Silent)?
    }

    async fn read(connection: &mut AnyConnection) -> Result<Self, StoreError> {
        let (epoch, stamp) = sqlx::query_as("SELECT epoch, stamp FROM authz WHERE one = 1")
            .fetch_one(&mut *connection)
            .await?;
        let llms = llms::load(connection).await?;
        let subjects = subjects::load(connection).await?;
        let bindings = bindings::load(connection).await?;
        let tokens = tokens::load(connection).await?;
        Ok(Self { epoch, stamp, ..Self::of(llms, tokens, subjects, bindings) })
    }

    /// Puts together what was read, with no epoch yet.
    pub(crate) fn of(
        llms: Vec<StoredLlm>,
        tokens: BTreeMap<String, StoredToken>,
        subjects: BTreeMap<Subject, SubjectSpec>,
        bindings: BTreeMap<SubjectName, Rbac>,
    ) -> Self {
        let members =
            subjects.iter().map(|(subject, spec)| (subject.clone(), spec.members.clone())).collect();
        Self {
            epoch: 0,
            stamp: String::new(),
            names: llms.iter().map(|llm| (llm.id.clone(), llm.spec.name.clone())).collect(),
            llms: llms.into_iter().map(|llm| (llm.spec.name.clone(), Arc::new(llm))).collect(),
            tokens,
            rights: compile(&bindings, &members),
            subjects,
            bindings,
        }
    }

    /// What has changed since an earlier state, for the audit trail.
    pub(crate) fn changes_since(&self, before: &Self, at: Timestamp) -> Vec<Fact> {
        audit::changes(before, self, at)
    }

    /// Says whether this is what the database holds at this epoch.
    pub(super) fn is_of(&self, epoch: i64, stamp: &str) -> bool {
        self.epoch == epoch && self.stamp == stamp
    }

    /// How many changes of rights there have been.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Says whether the database has gone on since.
    pub(super) fn is_before(&self, epoch: i64) -> bool {
        self.epoch < epoch
    }

    /// Says whether nothing was ever written to the database.
    pub(super) fn is_blank(&self) -> bool {
        self.epoch == 0
    }

    pub(crate) fn llm(&self, key: &LlmKey) -> Option<&Arc<StoredLlm>> {
        match key {
            LlmKey::Name(name) => self.llms.get(name),
            LlmKey::Id(id) => self.llms.get(self.names.get(id)?),
        }
    }

    /// All LLMs, in the order of their names.
    pub(crate) fn llms(&self) -> impl Iterator<Item = &Arc<StoredLlm>> {
        self.llms.values()
    }

    pub(crate) fn token(&self, id: &str) -> Option<&StoredToken> {
        self.tokens.get(id)
    }

    /// All tokens, also those that are no longer valid.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &StoredToken> {
        self.tokens.values()
    }

    /// What is known of a subject. Only groups have members.
    pub(crate) fn subject(&self, subject: &Subject) -> Option<&SubjectSpec> {
        self.subjects.get(subject)
    }

    /// All subjects, in the order of their kinds and names.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &SubjectSpec> {
        self.subjects.values()
    }

    /// The groups that a subject belongs to, in the order of their names.
    pub(crate) fn groups_of(&self, subject: &Subject) -> Vec<SubjectName> {
        let groups = self.subjects.values().filter(|group| group.members.contains(subject));
        groups.map(|group| group.name.clone()).collect()
    }

    pub(crate) fn binding(&self, name: &str) -> Option<&Rbac> {
        self.bindings.get(name)
    }

    /// All role bindings, in the order of their names.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Rbac> {
        self.bindings.values()
    }

    /// What a subject may do, also one that does not exist (yet): bindings mention names.
    pub(crate) fn rights(&self, subject: &Subject) -> &Rights {
        self.rights.get(subject).unwrap_or(&NOTHING)
    }

    /// What membership in a group gives.
    pub(crate) fn granted_to<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a RoleBinding> {
        let mentioning = self.bindings.values().filter(|rbac| rbac.subjects.contains(subject));
        mentioning.flat_map(|rbac| &rbac.role_bindings)
    }

    pub(crate) fn has_users(&self) -> bool {
        self.subjects.keys().any(|subject| subject.kind == SubjectKind::User)
    }

    /// Says whether anybody can still do everything, now and with a token.
    pub(crate) fn somebody_administers(&self, now: Timestamp) -> bool {
        let everything = RoleBinding { role: Role::Admin, resource: Resource::Any, name: None };
        let mut live = self.tokens.values().filter(|token| token.is_valid(now));
        live.any(|token| self.rights(&token.subject).iter().any(|what| *what == everything))
    }

    /// Says whether an LLM is there and on, and who has `rights` may run it.
    pub(crate) fn may_run(&self, rights: &Rights, id: &LlmId) -> bool {
        let Some(llm) = self.llm(&LlmKey::Id(id.clone())) else { return false };
        llm.spec.enabled && rights.allow(Verb::Run, On::One(Resource::Llms, &llm.aliases()))
    }
}
