//! The local provider's turn: its engine started if need be, the permission renewed if that took long, and the truth
//! about who answers told before the first word.

use super::{
    Ask, InferFailure, Served,
    events::Answering,
    given_up,
    record::{Record, Target},
    report,
};
use crate::{
    cmd::start_progress::StartProgress,
    failover::{CallFailure, Fresh, Permit},
    http,
    provider::{self, Lease, Patience},
    providers_file::{Kind, Provider},
};
use std::time::{Duration, Instant};

impl Ask<'_, '_> {
    /// Has the permitted provider answer. Nothing but a permit leads here, and nothing but a fresh one to the prompt.
    pub(super) fn ask_stand_in(&mut self, mut permit: Permit<&Provider>) -> Result<Served, InferFailure> {
        let provider = *permit.stand_in();
        let started = Instant::now();
        self.tell_permitted(permit.cause());
        let mut may_restart = true;
        loop {
            let lease = self.lend(&permit, started)?;
            permit = self.renewed(permit)?.into_permit();
            if may_restart {
                self.tell_prompt(provider);
            }
            self.open_journal(permit.cause(), provider);
            // A terminal that is held and a disk that is slow take their own time: nothing may stand between this and
            // the prompt.
            let fresh = self.renewed(permit)?;
            let waiting = self.run.waiting_for(&format!("waiting for \"{}\"", provider.name));
            let prelude = (waiting, self.failover_note(provider));
            let (request, limits) = (&self.question.request, &self.limits);
            let answered =
                self.outlet.receive(self.run, Answering::of(Some(&provider.name)), prelude, |sink| {
                    lease.complete(&fresh, request, limits, sink)
                });
            let (took, target) = (started.elapsed(), Target::Provider(provider.name.clone()));
            let failed = match answered {
                Ok(complete) => {
                    self.record(Record::ok(target, took)).map_err(given_up)?;
                    let (name, model) = (provider.name.clone(), provider.model.clone());
                    return Ok(Served { provider: Some(name), model: Some(model), complete, took });
                }
                Err(failed) => failed,
            };
            let restarts = may_restart && lease.give_up(&failed, &self.run.env);
            let failure =
                CallFailure { fault: failed.fault, delivered: failed.delivered, llm_id: None, needs: None };
            self.record(Record::failed(target, &failure, took)).map_err(given_up)?;
            if !restarts {
                let cause = fresh.permit().cause().clone();
                return Err(InferFailure::stand_in(cause, &provider.name, failure));
            }
            self.run.note(format_args!("{}: {}; trying it once more", provider.name, failure.told_of("it")));
            may_restart = false;
            permit = fresh.into_permit();
        }
    }

    /// The endpoint of the provider; its engine may have to be started first.
    fn lend(&mut self, permit: &Permit<&Provider>, started: Instant) -> Result<Lease, InferFailure> {
        let left = self.time_left()?;
        let patience = Patience {
            connect: self.args.connect_timeout,
            head: self.args.first_token_timeout.min(left.unwrap_or(Duration::MAX)),
            deadline: left.map(|left| Instant::now() + left),
        };
        let provider = *permit.stand_in();
        let env = self.run.env.clone();
        let mut progress = StartProgress::new(self.run, &provider.name);
        let lent = provider::lend(permit, &env, patience, &mut |stage| progress.tell(stage));
        progress.end();
        lent.map_err(|error| {
            self.journal_not_ready(permit.cause(), provider, started.elapsed());
            if let Err(over) = self.time_left() {
                self.run.note(format_args!(
                    "{name} was still starting and is given up if nobody else waits for it; to have it ready: \
                     mcpctl providers start {name} --wait=false",
                    name = provider.name
                ));
                return over;
            }
            let record = Record::not_lent(Target::Provider(provider.name.clone()), started.elapsed());
            if let Err(closed) = self.record(record) {
                return given_up(closed);
            }
            InferFailure::not_lent(permit.cause().clone(), &provider.name, &error)
        })
    }

    /// The permit, asked for again if it has aged while an engine was starting.
    fn renewed<'a>(&mut self, mut permit: Permit<&'a Provider>) -> Result<Fresh<&'a Provider>, InferFailure> {
        loop {
            match permit.fresh(self.asked_at.elapsed()) {
                Ok(fresh) => return Ok(fresh),
                Err(probe) => {
                    let verdict = self.probe(probe.cause())?;
                    permit = probe.answered(verdict)?;
                    let again = self
                        .records
                        .last()
                        .and_then(|record| report::told(record, permit.cause(), &self.llm));
                    if let Some(line) = again {
                        self.run.note(format_args!("{line}, again"));
                    }
                }
            }
        }
    }

    /// Why somebody else may answer, before anything is done about it.
    fn tell_permitted(&mut self, cause: &CallFailure) {
        for record in &self.records {
            if let Some(line) = report::told(record, cause, &self.llm) {
                self.run.note(line);
            }
        }
    }

    /// The truth about who answers, to be told before the first word of the answer, and only if there is one.
    fn failover_note(&self, provider: &Provider) -> String {
        let central =
            self.central_model.as_ref().map_or(String::new(), |model| format!(" (central: {model})"));
        self.run.note_line(format_args!(
            "failover: answering from local provider \"{}\", model {}{central}",
            provider.name, provider.model
        ))
    }

    /// What becomes of the prompt, before it goes out.
    fn tell_prompt(&mut self, provider: &Provider) {
        self.run
            .detail(format_args!("asking local provider \"{}\", model {}", provider.name, provider.model));
        let left_out: Vec<_> = self.question.request.kept_from_local().collect();
        if !left_out.is_empty() {
            self.run.note(format_args!("the provider does not get: {}", left_out.join(", ")));
        }
        if let Kind::OpenAi(spec) = &provider.kind
            && !http::is_loopback(&spec.url)
        {
            self.run.note(format_args!("the prompt leaves this machine, to {}", http::target(&spec.url)));
        }
    }
}
