//! What a drill writes down: the same as the failover that it rehearses.

use super::way::{Drill, Failure};
use crate::{
    cmd::{delivery::Delivery, failover_journal},
    failover::{CallFailure, Delivered, Fault},
    journal::{Failover, JournalError},
};
use mcp_api::{LlmKey, failover_report::Outcome};
use std::{mem, rc::Rc, time::Duration};

impl Drill<'_, '_, '_> {
    /// Once: a second try belongs to the same failover.
    pub(super) fn open_journal(&mut self, cause: &CallFailure) {
        if !mem::replace(&mut self.was_asked, true) {
            let begun = self.wanted(cause).begins(failover_journal::stand_in(self.provider), &self.run.env);
            match begun {
                Ok(underway) => self.underway = Some(underway),
                Err(error) => self.warn_unwritten(&error),
            }
        }
    }

    pub(super) fn close_journal(&mut self, answered: &Result<Duration, Failure>) {
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
    pub(super) fn journal_without_prompt(&mut self, failure: &Failure) {
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

    fn wanted(&self, cause: &CallFailure) -> Failover {
        let key = LlmKey::Name(self.llm.clone());
        failover_journal::wanted(&self.run.env, &self.server.origin(), &self.gateway, &key, cause)
    }

    fn warn_unwritten(&mut self, error: &JournalError) {
        self.run.warn(format_args!("the server will not hear of this drill: {error}"));
    }
}
