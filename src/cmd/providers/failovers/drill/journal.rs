//! What a drill writes down: the same as the failover that it rehearses.

use super::way::{Drill, Failure};
use crate::{
    cmd::{delivery::Delivery, failover_journal},
    failover::{CallFailure, Delivered, Fault},
    journal::{Failover, JournalError},
};
use mcp_api::{LlmKey, failover_report::Outcome};
use std::{rc::Rc, time::Duration};

impl Drill<'_, '_, '_> {
    /// Once: a second try belongs to the same failover.
    pub(super) fn open_journal(&mut self, cause: &CallFailure) {
        if self.underway.is_some() || self.was_asked {
            return;
        }
        match self.wanted(cause).begins(failover_journal::stand_in(self.provider), &self.run.env) {
            Ok(underway) => self.underway = Some(underway),
            Err(error) => self.warn_unwritten(&error),
        }
    }

    pub(super) fn close_journal(&mut self, went: &Result<Duration, Failure>) {
        let outcome = match went {
            Err(failure) if !self.was_asked => return self.journal_unasked(failure),
            Ok(_) => Outcome::Complete,
            Err(Failure::Call(CallFailure {
                delivered: Delivered::Reasoning(_) | Delivered::Content(_),
                ..
            })) => Outcome::Incomplete,
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
    fn journal_unasked(&mut self, failure: &Failure) {
        let refusal = match failure {
            Failure::GaveUp(gave_up) => failover_journal::refusal(gave_up),
            Failure::NotReady(_) | Failure::Call(_) | Failure::Empty => None,
        };
        let wanted = self.wanted(&CallFailure::before_content(Fault::NotAsked));
        let (took, env) = (self.started.elapsed(), &self.run.env);
        let written = match (self.underway.take(), refusal, failure) {
            (Some(underway), refusal, _) => underway.withdraw(refusal, took),
            (None, Some((verdict, why)), _) => wanted.refused(verdict, why, took, env),
            (None, None, Failure::NotReady(_)) => {
                wanted.not_ready(failover_journal::stand_in(self.provider), took, env)
            }
            (None, None, Failure::GaveUp(_) | Failure::Call(_) | Failure::Empty) => Ok(()),
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
