//! What a failover leaves behind: a note before the prompt goes out, a report after it, for the server to be told.

use super::{Ask, InferFailure, Served, record::Target};
use crate::{
    cmd::{delivery::Delivery, failover_journal},
    failover::CallFailure,
    journal::{Failover, JournalError, Spool},
    providers_file::Provider,
};
use mcp_api::failover_report::Outcome;
use std::{rc::Rc, time::Duration};

impl Ask<'_, '_> {
    /// Writes down that a provider is about to get the prompt. Once; a second try belongs to the same failover.
    ///
    /// A disk may take its time for it, so that the permit has to be looked at after this and not before.
    ///
    /// That it cannot is said, and is no reason to answer less: the server has permitted it.
    pub(super) fn open_journal(&mut self, cause: &CallFailure, provider: &Provider) {
        if self.underway.is_some() {
            return;
        }
        let failover = self.wanted(cause);
        let stand_in = failover_journal::stand_in(provider);
        match failover.begins(stand_in, &self.run.env) {
            Ok(underway) => self.underway = Some(underway),
            Err(error) => self.warn_unwritten(&error),
        }
    }

    /// Writes down that a permitted provider could not be asked, after it was waited for so long.
    pub(super) fn journal_not_ready(&mut self, cause: &CallFailure, provider: &Provider, waited: Duration) {
        // It was asked before, and this was the second try.
        if self.underway.is_some() {
            return;
        }
        let failover = self.wanted(cause);
        let stand_in = failover_journal::stand_in(provider);
        let written = failover.not_ready(stand_in, self.took() + waited, &self.run.env);
        self.tell_unwritten(written);
    }

    /// Writes down why no provider was asked, if the server was asked for permission or had given it.
    fn journal_unasked(&mut self, failure: &InferFailure) {
        let (gave_up, took) = (failure.gave_up(), self.took());
        let refusal = gave_up.and_then(failover_journal::refusal);
        let written = match (self.underway.take(), gave_up, refusal) {
            (Some(underway), _, refusal) => underway.withdraw(refusal, took),
            (None, Some(gave_up), Some((verdict, why))) => {
                self.wanted(&gave_up.cause).refused(verdict, why, took, &self.run.env)
            }
            (None, _, _) => Ok(()),
        };
        self.tell_unwritten(written);
    }

    /// A provider got the prompt: each that did has its record.
    fn was_asked(&self) -> bool {
        self.records.iter().any(|record| matches!(record.target, Target::Provider(_)))
    }

    fn wanted(&self, cause: &CallFailure) -> Failover {
        failover_journal::wanted(&self.run.env, &self.origin, &self.gateway, &self.llm, cause)
    }

    /// How long everything took that was tried.
    fn took(&self) -> Duration {
        self.records.iter().map(|record| record.took).sum()
    }

    /// Nobody but this machine would have heard of it.
    fn tell_unwritten(&mut self, written: Result<(), JournalError>) {
        if let Err(error) = written {
            self.run.detail(format_args!("not in failovers.jsonl: {error}"));
        }
    }

    /// Writes down how it ended, and has the server told once all is said. Reports from before are told as well, to a
    /// server that has just answered.
    pub(super) fn close_journal(&mut self, answered: &Result<Served, InferFailure>) {
        let outcome = match answered {
            Ok(_) => Outcome::Complete,
            Err(failure) if failure.was_cut() => Outcome::Incomplete,
            Err(_) => Outcome::Failed,
        };
        if let Err(failure) = answered
            && !self.was_asked()
        {
            return self.journal_unasked(failure);
        }
        let is_due = match self.underway.take().map(|underway| underway.end(outcome)) {
            None => answered.is_ok() && Spool::find(&self.run.env, &self.origin).is_some(),
            Some(Ok(0)) => true,
            Some(Ok(dropped)) => {
                self.run.warn(format_args!(
                    "reports of failovers that the server never took were dropped to make room: {dropped}"
                ));
                true
            }
            Some(Err(error)) => {
                self.warn_unwritten(&error);
                false
            }
        };
        if is_due {
            let gateway = Rc::clone(&self.gateway);
            self.run.delivery = Some(Delivery { gateway, origin: self.origin.clone() });
        }
    }

    fn warn_unwritten(&mut self, error: &JournalError) {
        self.run.warn(format_args!("the server will not hear of this failover: {error}"));
    }
}
