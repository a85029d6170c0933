//! `providers failovers --drill`: each failover goes the whole way, with the same permission as a real one, before the
//! day on which it is needed. The server is asked for permission and never for an answer.

use super::{
    declared::Declared,
    probe::{self, Permission},
};
use crate::{
    chat::{Answer, ChatRequest, Complete, Failed, Limits, Message, Sink},
    clock::Moment,
    cmd::{
        Run, Usage,
        columns::ColumnArgs,
        delivery::Delivery,
        failover_journal,
        permission::{self, Known},
        providers::times,
        start_progress::{StartProgress, end_of_log},
    },
    config::Server,
    engine::Progress,
    exit::Exit,
    failover::{Attempt, CallFailure, Delivered, Fault, Fresh, GaveUp, NoStandIn, Permit, Verdict, Why},
    gateway::Gateway,
    journal::{self, JournalError, Underway},
    provider::{self, Lease, LendError, Patience},
    providers_file::{Provider, ProvidersFile},
    render::{Columns, Item, Listing, Row},
    yaml,
};
use mcp_api::{LlmKey, LlmName, failover_report::Outcome};
use schemars::JsonSchema;
use serde::Serialize;
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

/// A failover as it went.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct DrillItem {
    #[serde(flatten)]
    failover: Declared,
    /// What the server said to the question for permission; null if it was not asked.
    permission: Option<Permission>,
    /// How long the engine took to start, in milliseconds; null if none had to be started.
    engine_start_ms: Option<u64>,
    /// From the prompt to the first piece of the answer, in milliseconds; null if there was none.
    first_token_ms: Option<u64>,
    /// Everything, from the question for permission on, in milliseconds.
    total_ms: u64,
    /// It took over.
    ok: bool,
    /// Why it did not.
    why: Option<String>,
    /// The `x-request-id` of the question for permission, which the event and the server's trail have too.
    request_id: String,
}

impl Item for DrillItem {
    const LIST: &'static str = "FailoverDrillList";
}

const COLUMNS: Columns = Columns {
    usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "PERMISSION", "ENGINE START", "FIRST TOKEN", "TOOK OVER"],
    wide: &["TOTAL", "REQUEST ID", "WHY"],
};

/// Drills every failover, or the one of an LLM, one after the other.
pub(super) fn run(run: &mut Run<'_>, only: Option<&LlmName>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let file = run.providers()?;
    let chosen = chosen(file.as_ref(), only)?;
    let server = run.server()?;
    let token = run.credential(&server)?.token;
    if chosen.is_empty() {
        run.warn("no failover is declared, so none can take over");
    }
    let mut all_ok = !chosen.is_empty();
    let mut rows = Vec::new();
    for (llm, provider) in chosen {
        let gateway = Rc::new(Gateway::for_calls(&server, token.clone())?);
        let mut drill = Drill::new(run, gateway, &server, llm, provider);
        let went = drill.go();
        let row = drill.concluded(went);
        all_ok &= row.document.ok;
        rows.push(row);
    }
    run.show(&Listing { view, rows })?;
    Ok(if all_ok { Exit::Ok } else { Exit::No })
}

fn chosen<'a>(
    file: Option<&'a ProvidersFile>,
    only: Option<&LlmName>,
) -> Result<Vec<(&'a LlmName, &'a Provider)>, Usage> {
    let all: Vec<_> = file.into_iter().flat_map(|file| file.registry.failovers()).collect();
    let Some(only) = only else { return Ok(all) };
    let chosen: Vec<_> = all.iter().copied().filter(|(llm, _)| *llm == only).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|(llm, _)| llm.as_str()).collect();
        let near = yaml::nearest(only.as_str(), &names)
            .map_or(String::new(), |near| format!(" (did you mean \"{near}\"?)"));
        return Err(Usage(format!("no provider is declared as failover for \"{only}\"{near}")));
    }
    Ok(chosen)
}

/// Why it did not take over.
enum Failure {
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
struct Drill<'d, 'r, 'io> {
    run: &'r mut Run<'io>,
    gateway: Rc<Gateway>,
    server: &'d Server,
    llm: &'d LlmName,
    provider: &'d Provider,
    started: Instant,
    /// When the server was last asked for permission.
    asked_at: Moment,
    /// This server has sent its decision in this run: it must do so again, remembered or not.
    decision_seen: bool,
    permission: Option<(String, Permission)>,
    engine_start: Option<Duration>,
    /// The provider got the prompt.
    was_asked: bool,
    underway: Option<Underway>,
}

impl<'d, 'r, 'io> Drill<'d, 'r, 'io> {
    fn new(
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
            decision_seen: false,
            permission: None,
            engine_start: None,
            was_asked: false,
            underway: None,
        }
    }

    /// As a failover goes whose server was not asked for an answer. Gives the time to the first piece of it.
    fn go(&mut self) -> Result<Duration, Failure> {
        let stand_in = if provider::is_at(self.provider, &self.server.url) {
            Err(NoStandIn::IsCentral(self.provider.name.clone()))
        } else {
            Ok(self.provider)
        };
        let probe = Attempt::new(stand_in).failed(CallFailure::before_content(Fault::NotAsked))?;
        let verdict = self.probe();
        let permit = probe.answered(verdict)?;
        let answered = self.ask(permit).and_then(|complete| match complete.answer.delivered {
            0 => Err(Failure::Empty),
            _ => Ok(complete.first_content.unwrap_or_default()),
        });
        self.close_journal(&answered);
        answered
    }

    fn probe(&mut self) -> Verdict {
        let known = Known { decision_seen: self.decision_seen, ..Known::default() };
        self.asked_at = Moment::now();
        let key = LlmKey::Name(self.llm.clone());
        let probed = permission::ask(self.run, &self.gateway, &self.server.origin(), &key, known);
        self.decision_seen |= probed.decision_sent;
        self.permission = Some((probe::shown(&probed.verdict), Permission::of(&probed.verdict)));
        probed.verdict
    }

    /// The provider, and once more if its engine hangs or has died: a failover does the same.
    fn ask(&mut self, mut permit: Permit<&Provider>) -> Result<Complete, Failure> {
        let mut may_restart = true;
        loop {
            let lease = self.lend(&permit)?;
            let fresh = self.renewed(permit)?;
            self.open_journal(fresh.permit().cause());
            let failed = match lease.complete(&fresh, &question(), &limits(), &mut Nowhere) {
                Ok(complete) => return Ok(complete),
                Err(failed) => failed,
            };
            let restarts = may_restart && lease.give_up(&failed, &self.run.env);
            let Failed { fault, delivered, .. } = failed;
            let failure = CallFailure { fault, delivered, llm_id: None };
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

    /// Once: a second try belongs to the same failover.
    fn open_journal(&mut self, cause: &CallFailure) {
        if !std::mem::replace(&mut self.was_asked, true) {
            let begun = self.wanted(cause).begins(failover_journal::stand_in(self.provider), &self.run.env);
            match begun {
                Ok(underway) => self.underway = Some(underway),
                Err(error) => self.warn_unwritten(&error),
            }
        }
    }

    fn close_journal(&mut self, answered: &Result<Duration, Failure>) {
        let outcome = match answered {
            Ok(_) => Outcome::Complete,
            Err(Failure::Call(CallFailure { delivered: Delivered::Content(_), .. })) => Outcome::Incomplete,
            Err(_) => Outcome::Failed,
        };
        match self.underway.take().map(|underway| underway.end(outcome)) {
            Some(Ok(_)) => {
                let (gateway, origin) = (Rc::clone(&self.gateway), self.server.origin());
                self.run.delivery = Some(Delivery { gateway, origin });
            }
            Some(Err(error)) => self.warn_unwritten(&error),
            None => {}
        }
    }

    /// What did not come to a prompt is written down as well.
    fn journal_without_prompt(&mut self, failure: &Failure) {
        if self.was_asked {
            return;
        }
        let cause = CallFailure::before_content(Fault::NotAsked);
        let (wanted, took) = (self.wanted(&cause), self.started.elapsed());
        let written = match failure {
            Failure::GaveUp(gave_up) => match failover_journal::refusal(gave_up) {
                Some((verdict, why)) => wanted.refused(verdict, why, took, &self.run.env),
                None => Ok(()),
            },
            Failure::NotReady(_) => {
                wanted.not_ready(failover_journal::stand_in(self.provider), took, &self.run.env)
            }
            Failure::Call(_) | Failure::Empty => Ok(()),
        };
        if let Err(error) = written {
            self.run.detail(format_args!("not in failovers.jsonl: {error}"));
        }
    }

    fn wanted(&self, cause: &CallFailure) -> journal::Failover {
        let key = LlmKey::Name(self.llm.clone());
        failover_journal::wanted(&self.run.env, &self.server.origin(), &self.gateway, &key, cause)
    }

    fn warn_unwritten(&mut self, error: &JournalError) {
        self.run.warn(format_args!("the server will not hear of this drill: {error}"));
    }

    /// What is shown of it.
    fn concluded(mut self, went: Result<Duration, Failure>) -> Row<DrillItem> {
        let total = self.started.elapsed();
        let (first_token, why) = match went {
            Ok(first_token) => (Some(first_token), None),
            Err(failure) => {
                self.journal_without_prompt(&failure);
                (None, Some(self.tell(&failure)))
            }
        };
        let (shown, permission) =
            self.permission.map_or((String::new(), None), |(shown, it)| (shown, Some(it)));
        let document = DrillItem {
            failover: Declared::of(self.llm, self.provider),
            permission,
            engine_start_ms: self.engine_start.map(millis),
            first_token_ms: first_token.map(millis),
            total_ms: millis(total),
            ok: why.is_none(),
            why,
            request_id: self.gateway.request_id().to_owned(),
        };
        let took = |time: Option<Duration>| time.map_or(String::new(), times::took_precisely);
        let mut cells = document.failover.cells();
        cells.extend([
            shown,
            took(self.engine_start),
            took(first_token),
            if document.ok { "yes" } else { "no" }.into(),
            took(Some(total)),
            document.request_id.clone(),
            document.why.clone().unwrap_or_default(),
        ]);
        Row { name: self.llm.to_string(), cells, document }
    }

    /// Tells people why; gives the reason in a line.
    fn tell(&mut self, failure: &Failure) -> String {
        let name = &self.provider.name;
        let why = match failure {
            Failure::GaveUp(gave_up) => refusal(&gave_up.why),
            Failure::NotReady(error) => format!("provider \"{name}\" cannot be asked: {error}"),
            Failure::Call(failure) => failure.told_of(&format!("provider \"{name}\"")).to_string(),
            Failure::Empty => format!("provider \"{name}\" gave an empty answer"),
        };
        self.run.warn(format_args!("{}: {why}", self.llm));
        if let Failure::NotReady(LendError::Engine(error)) = failure {
            for line in end_of_log(error, name) {
                self.run.warn(line);
            }
        }
        why
    }
}

fn refusal(why: &Why) -> String {
    match why {
        Why::Denied(denial) => format!("not permitted: {denial}"),
        Why::Unverified(doubt) => format!("permission cannot be confirmed: {doubt}"),
        Why::NoStandIn(none) => none.to_string(),
        Why::Final => "the server was not asked".into(),
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
