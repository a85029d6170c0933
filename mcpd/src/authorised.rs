//! The only way to an LLM: load and authorise in one call. No handler can hold one that it did not authorise.

use crate::{
    app::App,
    caller::Caller,
    policy::{On, Verdict, decide},
    problem::{Problem, decision_header},
    sabotage,
    store::StoredLlm,
};
use axum::{
    extract::{FromRequestParts, Path},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, request::Parts};
use mcp_api::{ApiKeyRef, Decision, LlmKey, Nonce, ProbeRequest, Resource, Verb, headers};
use std::{ops::Deref, sync::Arc};

/// What a request about one LLM says: which one, and whether it is a probe.
#[derive(Debug)]
pub(crate) struct Asked {
    key: LlmKey,
    probe: Option<ProbeRequest>,
}

impl Asked {
    /// About this one, and no probe.
    pub(crate) fn for_use(key: LlmKey) -> Self {
        Self { key, probe: None }
    }

    /// Says whether it asks for permission to run the LLM, and not for the LLM.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// What is needed to see the LLM, or to be told by a probe that one may run it.
    pub(crate) fn to_see(&self) -> &'static [Verb] {
        if self.probe.is_some() && !sabotage::PROBE_WITHOUT_RUN {
            &[Verb::View, Verb::Run]
        } else {
            &[Verb::View]
        }
    }

    /// Which one.
    pub(crate) fn key(&self) -> &LlmKey {
        &self.key
    }

    fn nonce(&self) -> Option<Nonce> {
        self.probe.as_ref().map(|probe| probe.nonce.clone())
    }
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let probe = probe(parts)?;
        // One decoded segment, for the router, for the authoriser and for the log. A text that can be no LLM's
        // name or id is no path of this server, whoever asks: nothing can exist there.
        let Path(segment) =
            Path::<String>::from_request_parts(parts, app).await.map_err(|_| Problem::NoSuchPath)?;
        let key = segment.parse().map_err(|_| Problem::NoSuchPath)?;
        Ok(Self { key, probe })
    }
}

fn probe(parts: &Parts) -> Result<Option<ProbeRequest>, Problem> {
    let malformed = || Problem::Malformed("The header `Mcpd-Probe` is malformed.".into());
    let mut values = parts.headers.get_all(headers::PROBE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    text.parse().map(Some).map_err(|_| malformed())
}

/// An LLM that the caller may do with what was asked.
#[derive(Debug)]
pub(crate) struct Authorised {
    llm: Arc<StoredLlm>,
    verbs: Vec<Verb>,
    nonce: Option<Nonce>,
}

impl Caller {
    /// Loads the LLM and lets the caller pass if it holds all of `verbs` on it.
    ///
    /// Without them the answer is the same whether or not the LLM exists; only who may view all LLMs is told that
    /// there is none. By id or by name makes no difference.
    pub(crate) fn llm(&self, verbs: &[Verb], asked: &Asked) -> Result<Authorised, Problem> {
        let nonce = asked.nonce();
        self.record().asks_for(&asked.key);
        let Some(llm) = self.snapshot().llm(&asked.key) else {
            return Err(self.lacks_llm(nonce));
        };
        let aliases = llm.aliases();
        let on = On::One(Resource::Llms, &aliases);
        for verb in verbs {
            match decide(self.rights(), *verb, on) {
                Verdict::Allowed { binding } => self.record().decided(Some(binding)),
                Verdict::Denied => {
                    self.record().decided(None);
                    return Err(Problem::LlmForbidden(nonce));
                }
            }
        }
        if verbs.contains(&Verb::Run) && !llm.spec.enabled && !sabotage::RUN_DISABLED {
            return Err(Problem::LlmDisabled(nonce));
        }
        let verbs = self.verbs_on(llm);
        Ok(Authorised { llm: Arc::clone(llm), verbs, nonce })
    }

    /// What is said about an LLM that there is not, or that there cannot be.
    pub(crate) fn lacks_llm(&self, nonce: Option<Nonce>) -> Problem {
        let sees_all = self.rights().allow(Verb::View, On::All(Resource::Llms));
        if sees_all || sabotage::EXISTENCE_ORACLE {
            Problem::NotFound("LLM")
        } else {
            Problem::LlmForbidden(nonce)
        }
    }

    /// Lets the caller pass if there is an LLM that it may run, or if it could run any that there were.
    ///
    /// Whoever fails here could run nothing whatever they name, so that there is no need to hear it.
    pub(crate) fn must_run_some_llm(&self) -> Result<(), Problem> {
        // By what it holds, not by all LLMs that there are: this is asked for each request.
        let is_there = |name: &str| name.parse().is_ok_and(|key| self.snapshot().llm(&key).is_some());
        let may_be_heard = self.rights().allow(Verb::Run, On::All(Resource::Llms))
            || self.rights().names(Verb::Run, Resource::Llms).any(is_there);
        if may_be_heard { Ok(()) } else { Err(Problem::LlmForbidden(None)) }
    }

    /// The LLMs that the caller may view, in the order of their names.
    pub(crate) fn llms(&self) -> impl Iterator<Item = Authorised> {
        let viewable = |llm: &&Arc<StoredLlm>| {
            let on = On::One(Resource::Llms, &llm.aliases());
            self.rights().allow(Verb::View, on) || sabotage::LIST_EVERYTHING
        };
        let all = self.snapshot().llms().filter(viewable);
        all.map(|llm| Authorised { llm: Arc::clone(llm), verbs: self.verbs_on(llm), nonce: None })
    }

    /// Lets the caller pass if it may have an LLM use this key. One in the environment is a secret of its name.
    pub(crate) fn must_hold_key(&self, key: Option<&ApiKeyRef>) -> Result<(), Problem> {
        let Some(key) = key else { return Ok(()) };
        let (on, which) = match key {
            ApiKeyRef::Env(variable) => {
                (On::One(Resource::Secrets, &[variable]), format!("secrets {variable}"))
            }
            ApiKeyRef::File(_) => {
                (On::All(Resource::Secrets), "secrets (all of them, for a file)".to_owned())
            }
        };
        if self.rights().allow(Verb::Run, on) { Ok(()) } else { Err(Problem::Secret(which)) }
    }

    /// Everything that the caller may do with an LLM.
    pub(crate) fn verbs_on(&self, llm: &StoredLlm) -> Vec<Verb> {
        self.rights().verbs(On::One(Resource::Llms, &llm.aliases()))
    }
}

impl Authorised {
    /// The LLM without what its caller may do with it.
    pub(crate) fn stored(&self) -> Arc<StoredLlm> {
        Arc::clone(&self.llm)
    }

    /// The same LLM after its caller has changed it. Rights go by name and id, and those stay.
    pub(crate) fn rewritten(self, llm: StoredLlm) -> Self {
        Self { llm: Arc::new(llm), ..self }
    }

    /// The LLM as its caller sees it.
    pub(crate) fn shown(&self) -> mcp_api::Llm {
        self.llm.shown_with(self.verbs.clone())
    }

    /// Puts on an answer, also on an error, what was decided about this LLM.
    pub(crate) fn stamp(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        let decision = decision_header(&Decision::Allow {
            llm: self.llm.spec.name.clone(),
            id: self.llm.id.clone(),
            verbs: self.verbs.clone(),
            nonce: self.nonce.clone(),
        });
        let failover = match self.llm.spec.failover {
            mcp_api::FailoverPolicy::Allowed => "allowed",
            mcp_api::FailoverPolicy::Forbidden => "forbidden",
        };
        let failover = (HeaderName::from_static(headers::FAILOVER), HeaderValue::from_static(failover));
        response.headers_mut().extend([decision, failover]);
        response
    }
}

impl Deref for Authorised {
    type Target = StoredLlm;
    fn deref(&self) -> &StoredLlm {
        &self.llm
    }
}
