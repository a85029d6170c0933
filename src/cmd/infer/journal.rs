//! What a failover leaves behind: a note before the prompt goes out, a report after it, for the server to be told.

use super::{Ask, InferFailure, Served};
use crate::{
    cmd::delivery::Delivery,
    failover::{CallFailure, Fault},
    journal::{Failover, JournalError, Spool},
    providers_file::Provider,
};
use mcp_api::failover_report::Outcome;
use std::rc::Rc;

impl Ask<'_, '_> {
    /// Writes down that a provider is about to get the prompt. Once; a second try belongs to the same failover.
    ///
    /// That it cannot is said, and is no reason to answer less: the server has permitted it.
    pub(super) fn open_journal(&mut self, cause: &CallFailure, provider: &Provider) {
        if self.underway.is_some() {
            return;
        }
        let failover = Failover {
            llm: self.llm.to_string(),
            llm_id: cause.llm_id.as_ref().map(ToString::to_string),
            reason: reason(&cause.fault),
            provider: provider.name.clone(),
            provider_type: provider.kind.as_str().to_owned(),
            model: shown_model(&provider.model).to_owned(),
            request_id: self.gateway.request_id().to_owned(),
            token_id: self.gateway.token_id().map(str::to_owned),
        };
        match failover.begins(&self.run.env, &self.origin) {
            Ok(underway) => self.underway = Some(underway),
            Err(error) => self.warn_unwritten(&error),
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

/// One word: what the server did instead of answering.
fn reason(fault: &Fault) -> String {
    match fault {
        Fault::NotAsked => "drill".to_owned(),
        Fault::Status { status, .. } => format!("http_{status}"),
        other => other.word().to_owned(),
    }
}

/// The model without the folders of this machine, which are nobody's business.
fn shown_model(model: &str) -> &str {
    if model.starts_with(['/', '~']) { model.rsplit('/').next().unwrap_or_default() } else { model }
}
