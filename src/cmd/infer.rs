//! `infer`: the whole product. Ask the server; if its inference path fails, ask it for permission; only then ask a
//! local provider.

mod advice;
mod args;
mod events;
mod failure;
mod hints;
mod journal;
mod local;
mod outlet;
mod plan;
mod question;
mod record;
mod report;
mod schema;
mod sinks;
mod stand_in;
mod tools;

pub(crate) use args::{InferArgs, Total, duration};
pub(crate) use events::InferenceEvent;
pub(crate) use failure::FailureDetail;
pub use failure::InferFailure;
pub(crate) use plan::InferencePlan;
pub(crate) use report::Inference;

use super::{
    Run, meant,
    permission::{self, Known},
};
use crate::{
    chat::{self, Complete, Limits},
    clock::Moment,
    exit::Exit,
    failover::{Attempt, CallFailure, Fault, GaveUp, NoStandIn, Verdict, Why},
    gateway::Gateway,
    journal::Underway,
    memory,
    providers_file::Provider,
    render::Format,
};
use args::Route;
use events::Answering;
use failure::{About, Unfit};
use mcp_api::{ErrorCode, LlmKey, headers};
use outlet::Outlet;
use question::Question;
use record::{Record, Target};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// Runs the command.
pub(super) fn run(run: &mut Run<'_>, args: &InferArgs) -> anyhow::Result<Exit> {
    let llm = args.key()?;
    let format = args.format(run)?;
    let server = run.server()?;
    let question = Question::of(args, run)?;
    let providers = stand_in::usable_providers(run, args.route);
    let stand_in = stand_in::choose(providers.as_ref(), &llm, args.route, &server);
    if args.dry_run {
        return plan::show(run, format, args, &server, &llm, &question, &stand_in);
    }
    let token = run.credential(&server)?.token;
    let gateway = Rc::new(Gateway::new(&server, token, args.connect_timeout, args.head_limit())?);
    run.detail(format_args!("{server}, request id {}", gateway.request_id()));
    let origin = server.origin();
    let outlet = Outlet::new(run, format, args.reasoning, question.schema.is_some());
    outlet.tell(run, &InferenceEvent::Start { llm: llm.as_str(), request_id: gateway.request_id() })?;
    let mut ask = Ask {
        run,
        args,
        llm,
        origin,
        gateway,
        question,
        limits: args.limits(),
        records: Vec::new(),
        decision_seen: false,
        central_model: None,
        asked_at: Moment::now(),
        outlet,
        underway: None,
    };
    let answered = ask.answer(stand_in);
    ask.close_journal(&answered);
    match answered {
        Ok(served) => ask.conclude(&served),
        Err(failure) => Err(ask.failed(failure).into()),
    }
}

/// One question on its way to an answer.
struct Ask<'r, 'io> {
    run: &'r mut Run<'io>,
    args: &'r InferArgs,
    llm: LlmKey,
    origin: String,
    gateway: Rc<Gateway>,
    question: Question,
    limits: Limits,
    /// This server has sent `Mcpd-Decision` in this run: it must do so again, remembered or not.
    decision_seen: bool,
    /// The model that would have answered, if the server told.
    central_model: Option<String>,
    /// When the server was last asked for permission.
    asked_at: Moment,
    records: Vec<Record>,
    outlet: Outlet,
    /// A provider has been asked, which is in the journal.
    underway: Option<Underway>,
}

/// Who answered what.
struct Served {
    provider: Option<String>,
    model: Option<String>,
    complete: Complete,
    took: Duration,
}

impl Served {
    fn answering(&self) -> Answering<'_> {
        Answering::of(self.provider.as_deref())
    }
}

impl Ask<'_, '_> {
    fn answer(&mut self, stand_in: Result<&Provider, NoStandIn>) -> Result<Served, InferFailure> {
        let attempt = Attempt::new(stand_in);
        let failure = match self.ask_central() {
            Ok(served) => return Ok(served),
            Err(failure) => failure,
        };
        let probe = attempt.failed(failure)?;
        let verdict = self.probe(probe.cause())?;
        let permit = probe.answered(verdict)?;
        self.ask_stand_in(permit)
    }

    /// What is left of the caller's own time; an error once it is over, because then nobody is asked any more.
    fn time_left(&self) -> Result<Option<Duration>, InferFailure> {
        match self.limits.time_left() {
            Some(Err(over)) => {
                Err(GaveUp { cause: CallFailure::before_content(over), why: Why::Final }.into())
            }
            Some(Ok(left)) => Ok(Some(left)),
            None => Ok(None),
        }
    }

    fn ask_central(&mut self) -> Result<Served, CallFailure> {
        if self.args.route == Route::Local {
            return Err(CallFailure::before_content(Fault::NotAsked));
        }
        let started = Instant::now();
        let waiting = self.run.waiting_for("waiting for central");
        let (gateway, llm, request, limits) =
            (&self.gateway, &self.llm, &self.question.request, &self.limits);
        let answered = self.outlet.receive(self.run, Answering::of(None), (waiting, String::new()), |sink| {
            gateway.infer(llm, request, limits, sink)
        });
        let took = started.elapsed();
        let head = match &answered {
            Ok(complete) => Some(&complete.head),
            Err((_, head)) => head.as_ref(),
        };
        if head.is_some_and(|head| head.contains_key(headers::DECISION)) {
            self.decision_seen = true;
            self.run.deciding.insert(self.origin.clone());
            if let Err(error) = memory::decision_seen(&self.run.env, &self.origin) {
                self.run.detail(format_args!("{}: {error}", permission::CANNOT_REMEMBER));
            }
        }
        match answered {
            Ok(complete) => {
                self.record(Record::ok(Target::Central, took))?;
                Ok(Served { provider: None, model: complete.answer.model.clone(), complete, took })
            }
            Err((failure, _)) => {
                self.record(Record::failed(Target::Central, &failure, took))?;
                Err(failure)
            }
        }
    }

    fn probe(&mut self, cause: &CallFailure) -> Result<Verdict, InferFailure> {
        let known = Known {
            id: cause.llm_id.clone(),
            decision_seen: self.decision_seen,
            time_left: self.time_left()?,
        };
        self.asked_at = Moment::now();
        let probed = permission::ask(self.run, &self.gateway, &self.origin, &self.llm, known);
        self.record(Record::probed(&probed)).map_err(given_up)?;
        self.central_model = probed.model.or(self.central_model.take());
        // A question that our own limit cut short was not answered; that is no word about permission.
        self.time_left()?;
        Ok(probed.verdict)
    }

    /// What is said after a complete answer.
    fn conclude(self, served: &Served) -> anyhow::Result<Exit> {
        let answer = &served.complete.answer;
        let reason = answer.finish_reason.clone().unwrap_or_default();
        // A model that calls a tool has not come to its answer yet.
        let is_call = self.outlet.content().is_empty() && !answer.tool_calls.is_empty();
        let has_shape = self.question.schema.is_some() && !is_call;
        if (self.args.strict || has_shape) && reason != "stop" {
            let flag = if self.args.strict { "--strict" } else { "--schema" };
            return Err(self.failed(Unfit::NotStopped { reason, flag }.into()).into());
        }
        if let Some(warning) = report::warning(answer, &reason, self.args.max_tokens) {
            self.run.warn(warning);
        }
        if let Some(schema) = &self.question.schema
            && has_shape
            && let Err(mismatch) =
                schema.check(self.outlet.content(), &answer.tool_calls, self.limits.time_left())
        {
            return Err(self.failed(Unfit::Mismatch(mismatch).into()).into());
        }
        let request_id = self.gateway.request_id();
        if self.outlet.is_document() {
            let document = Inference::new(&self.llm, served, &self.outlet, &self.records, request_id);
            self.run.show_document(&document, Format::Json)?;
        }
        self.outlet.release(self.run, answer)?;
        self.outlet.tell(self.run, &InferenceEvent::End(report::end(&self.llm, served, request_id)))?;
        if self.args.usage {
            self.run.tell_usage(report::usage(&self.llm, served));
        }
        Ok(Exit::Ok)
    }

    /// Notes what was tried. An error is one of our own output.
    fn record(&mut self, record: Record) -> Result<(), CallFailure> {
        let told = self.outlet.tell(self.run, &InferenceEvent::Attempt(&record));
        self.records.push(record);
        told.map_err(|error| CallFailure::before_content(chat::output_fault(&error)))
    }

    /// The failure with everything that is told about it.
    fn failed(self, failure: InferFailure) -> InferFailure {
        let refusal = failure.refusal();
        let content = self.outlet.content();
        let about = About {
            partial: (self.outlet.is_document() && !content.is_empty()).then(|| content.to_owned()),
            withheld: self.outlet.withholds(),
            user: (refusal == Some(ErrorCode::Forbidden)).then(|| advice::user(&self.gateway)).flatten(),
            meant: (refusal == Some(ErrorCode::NotFound))
                .then(|| meant::llm(&self.gateway, &self.llm))
                .flatten(),
            request_id: self.gateway.request_id().to_owned(),
            llm: Some(self.llm),
            records: self.records,
        };
        failure.about(about)
    }
}

/// Nothing more is tried: nobody reads what would be said.
fn given_up(cause: CallFailure) -> InferFailure {
    GaveUp { cause, why: Why::Final }.into()
}
