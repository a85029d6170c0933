//! One drill on its way: the steps of `infer --route local`, each of which consumes the one before.

use super::super::probe::{self, Permission};
use crate::{
    chat::{Answer, ChatRequest, Complete, Failed, Limits, Message, Sink},
    clock::Moment,
    cmd::{
        Run,
        permission::{self, Known},
        start_progress::StartProgress,
    },
    config::Server,
    engine::Progress,
    failover::{Attempt, CallFailure, Fault, Fresh, GaveUp, NoStandIn, Permit, Verdict},
    gateway::Gateway,
    journal::Underway,
    provider::{self, Lease, LendError, Patience},
    providers_file::Provider,
};
use mcp_api::{LlmKey, LlmName};
use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

/// All that is asked.
const PROMPT: &str = "This is a drill. Answer with the one word: ready";
/// The most tokens that the answer may have.
const ANSWER_MAX: u32 = 32;
/// As for `infer`.
const CONNECT: Duration = Duration::from_secs(5);
const FIRST_TOKEN: Duration = Duration::from_mins(2);
const IDLE: Duration = Duration::from_mins(1);

/// Why it did not take over.
pub(super) enum Failure {
    /// It was not permitted, or is none.
    GaveUp(GaveUp),
    /// The provider could not be asked.
    NotReady(LendError),
    /// The provider did not answer.
    Call(CallFailure),
    /// It answered with nothing.
    Empty,
}

impl From<GaveUp> for Failure {
    fn from(gave_up: GaveUp) -> Self {
        Self::GaveUp(gave_up)
    }
}

/// One failover on its way.
pub(super) struct Drill<'d, 'r, 'io> {
    pub(super) run: &'r mut Run<'io>,
    pub(super) gateway: Rc<Gateway>,
    pub(super) server: &'d Server,
    pub(super) llm: &'d LlmName,
    pub(super) provider: &'d Provider,
    pub(super) started: Instant,
    /// When the server was last asked for permission.
    asked_at: Moment,
    pub(super) permission: Option<(String, Permission)>,
    pub(super) engine_start: Option<Duration>,
    /// The provider got the prompt.
    pub(super) was_asked: bool,
    pub(super) underway: Option<Underway>,
}

impl<'d, 'r, 'io> Drill<'d, 'r, 'io> {
    /// Nobody was asked yet.
    pub(super) fn new(
        run: &'r mut Run<'io>,
        gateway: Rc<Gateway>,
        server: &'d Server,
        llm: &'d LlmName,
        provider: &'d Provider,
    ) -> Self {
        Self {
            run,
            gateway,
            server,
            llm,
            provider,
            started: Instant::now(),
            asked_at: Moment::now(),
            permission: None,
            engine_start: None,
            was_asked: false,
            underway: None,
        }
    }

    /// As a failover goes whose server was not asked for an answer. Gives the time to the first piece of it.
    pub(super) fn go(&mut self) -> Result<Duration, Failure> {
        let went = self.take_over();
        self.close_journal(&went);
        went
    }

    fn take_over(&mut self) -> Result<Duration, Failure> {
        let stand_in = if provider::is_at(self.provider, &self.server.url) {
            Err(NoStandIn::IsCentral(self.provider.name.clone()))
        } else {
            Ok(self.provider)
        };
        let probe = Attempt::new(stand_in).failed(CallFailure::before_content(Fault::NotAsked))?;
        let verdict = self.probe();
        let permit = probe.answered(verdict)?;
        let complete = self.ask(permit)?;
        match complete.answer.delivered {
            0 => Err(Failure::Empty),
            _ => Ok(complete.first_content.unwrap_or_default()),
        }
    }

    fn probe(&mut self) -> Verdict {
        self.asked_at = Moment::now();
        let key = LlmKey::Name(self.llm.clone());
        let probed = permission::ask(self.run, &self.gateway, &self.server.origin(), &key, Known::default());
        self.permission = Some((probe::shown(&probed.verdict).0, Permission::of(&probed.verdict)));
        probed.verdict
    }

    /// The provider, and once more if its engine hangs or has died: a failover does the same.
    fn ask(&mut self, mut permit: Permit<&Provider>) -> Result<Complete, Failure> {
        let mut may_restart = true;
        loop {
            let lease = self.lend(&permit)?;
            self.open_journal(permit.cause());
            // A disk that is slow takes its time.
            let fresh = self.renewed(permit)?;
            self.was_asked = true;
            let waiting = self.run.waiting_for(&format!("waiting for \"{}\"", self.provider.name));
            let answered = lease.complete(&fresh, &question(), &limits(), &mut Nowhere);
            drop(waiting);
            let failed = match answered {
                Ok(complete) => return Ok(complete),
                Err(failed) => failed,
            };
            let restarts = may_restart && lease.give_up(&failed, &self.run.env);
            let Failed { fault, delivered, .. } = failed;
            let failure = CallFailure { fault, delivered, llm_id: None, needs: None };
            if !restarts {
                return Err(Failure::Call(failure));
            }
            let told = failure.told_of("it");
            self.run.note(format_args!("{}: {told}; trying it once more", self.provider.name));
            may_restart = false;
            permit = fresh.into_permit();
        }
    }

    fn lend(&mut self, permit: &Permit<&Provider>) -> Result<Lease, Failure> {
        let patience = Patience { connect: CONNECT, head: FIRST_TOKEN, deadline: None };
        let env = self.run.env.clone();
        let mut started = None;
        let mut progress = StartProgress::new(self.run, &self.provider.name);
        let lent = provider::lend(permit, &env, patience, &mut |stage| {
            if let Progress::Ready(took) = stage {
                started = Some(took);
            }
            progress.tell(stage);
        });
        progress.end();
        self.engine_start = self.engine_start.or(started);
        lent.map_err(Failure::NotReady)
    }

    /// The permit, asked for again if it has aged while an engine was starting.
    fn renewed<'a>(&mut self, mut permit: Permit<&'a Provider>) -> Result<Fresh<&'a Provider>, GaveUp> {
        loop {
            match permit.fresh(self.asked_at.elapsed()) {
                Ok(fresh) => return Ok(fresh),
                Err(probe) => {
                    let verdict = self.probe();
                    permit = probe.answered(verdict)?;
                }
            }
        }
    }
}

fn question() -> ChatRequest {
    let mut request =
        ChatRequest { messages: vec![Message::text("user", PROMPT)], stream: true, ..ChatRequest::default() };
    request.params.insert("max_tokens".into(), ANSWER_MAX.into());
    request
}

fn limits() -> Limits {
    Limits { first_content: FIRST_TOKEN, idle: IDLE, total: None }
}

/// What was said is nobody's business.
struct Nowhere;

impl Sink for Nowhere {
    fn content(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn reasoning(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Answer) -> io::Result<()> {
        Ok(())
    }
}
