//! What a failed question means, and what to do next: the lines below the error.

use super::failure::{About, InferFailure, Reason, StandInFailure, Unfit, is_cut};
use crate::failover::{CallFailure, Delivered, Denial, Doubt, Fault, GaveUp, NoStandIn, Why};
use mcp_api::{ErrorCode, LlmKey};

impl InferFailure {
    /// What it means and what to do next, a line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let about = &self.about;
        match &self.reason {
            Reason::GaveUp(GaveUp { cause, why }) => about.after(cause, why),
            Reason::StandIn { how: StandInFailure::Call(failure), .. } if is_cut(failure) => {
                vec![about.of_a_cut_answer(failure)]
            }
            Reason::StandIn { provider, how, .. } => {
                let mut hints = vec![format!("failover: provider \"{provider}\" failed: {how}")];
                if let StandInFailure::NotLent { lines, .. } = how {
                    hints.extend(lines.iter().cloned());
                }
                hints
            }
            Reason::Unfit(Unfit::NotStopped { flag, .. }) => {
                vec![format!("{flag} takes finish_reason \"stop\" only")]
            }
            Reason::Unfit(Unfit::Mismatch(mismatch)) => {
                let mut hints = mismatch.more().to_vec();
                hints.push(about.of_an_unfit_answer());
                hints
            }
        }
    }
}

impl About {
    fn llm(&self) -> &str {
        self.llm.as_ref().map_or("NAME", LlmKey::as_str)
    }

    fn of_a_cut_answer(&self, failure: &CallFailure) -> String {
        let what = match (&self.partial, self.withheld) {
            _ if matches!(failure.delivered, Delivered::Reasoning(_)) => "nothing of the answer was written",
            (Some(_), _) => "partialContent is incomplete",
            (None, true) => "nothing of it was written",
            (None, false) => "what was written is incomplete",
        };
        format!("{what}; a failover never continues another model's answer: run the command again")
    }

    fn of_an_unfit_answer(&self) -> String {
        let what = match (&self.partial, self.withheld) {
            (Some(_), _) => "do not use it, it is only there to be looked at",
            (None, true) => "it was not written (-o json shows it)",
            (None, false) => "do not use what was written",
        };
        format!("{what}; run the command again")
    }

    /// The server failed, and nothing took over.
    fn after(&self, cause: &CallFailure, why: &Why) -> Vec<String> {
        let llm = self.llm();
        match why {
            Why::Final => self.after_the_end(cause),
            // The error itself says it.
            Why::NoStandIn(NoStandIn::RouteCentral) => look(cause).into_iter().collect(),
            Why::NoStandIn(none) => [format!("no failover: {none}")].into_iter().chain(look(cause)).collect(),
            Why::Denied(denial @ Denial::FailoverForbidden) => {
                vec![format!("failover refused: {denial}"), "no local provider was contacted".into()]
            }
            Why::Denied(denial) => vec![
                format!("failover refused: {denial}"),
                "no local provider was contacted".into(),
                format!("tip: mcpctl auth can-i run llm/{llm}"),
            ],
            Why::Unverified(doubt) => vec![
                format!(
                    "failover refused: cannot confirm that you may use \"{llm}\" (probe: {})",
                    shortened(doubt, cause)
                ),
                "tip: mcpctl doctor        why: mcpctl help failover".into(),
            ],
        }
    }

    /// What the server did leaves no room for a stand-in.
    fn after_the_end(&self, cause: &CallFailure) -> Vec<String> {
        if is_cut(cause) {
            return vec![self.of_a_cut_answer(cause)];
        }
        let hints: &[&str] = match &cause.fault {
            Fault::Status { status: 401, .. } => &[
                "no local provider was contacted: without a valid login nothing stands in",
                "tip: mcpctl auth login --token-stdin",
            ],
            Fault::Status { status: 403, error }
                if error.code.as_deref() == Some(ErrorCode::LlmDisabled.as_str()) =>
            {
                &["no local provider was contacted: an LLM that is switched off has no stand-in"]
            }
            Fault::Status { status: 403, .. } => return self.of_a_denial(),
            Fault::Status { status: 404, error } if error.origin.is_none() => &[
                "no failover: whoever answered does not speak as mcpd does; check the server's URL",
                "tip: mcpctl doctor",
            ],
            Fault::Status { status: 404, .. } => return self.of_an_unknown_llm(),
            Fault::Status { status: 402 | 429, .. } => {
                &["no failover: a limit that the server sets is no outage of its inference path"]
            }
            Fault::Status { status: 300..=399, .. } => {
                &["no failover: a redirect is never followed; check the server's URL"]
            }
            Fault::Status { status: 400..=499, .. } | Fault::ErrorEvent { .. } => {
                &["no failover: the request itself is wrong, and would be wrong everywhere"]
            }
            Fault::Tls(_) => &[
                "no failover: somebody else may be answering in the server's place",
                "check the server's certificate, the caFile of the context, and the clock of this machine",
            ],
            Fault::Deadline(_) => &["no failover: your own limit is over"],
            Fault::Status { .. } | Fault::Unparsable(_) => {
                &["no failover: this does not look like the server; check its URL"]
            }
            Fault::NotAsked
            | Fault::Unreachable { .. }
            | Fault::NoContent(_)
            | Fault::Cut(_)
            | Fault::Idle(_)
            | Fault::OutputClosed
            | Fault::Output(_) => &[],
        };
        hints.iter().map(ToString::to_string).collect()
    }

    fn of_a_denial(&self) -> Vec<String> {
        let llm = self.llm();
        let user = self.user.as_ref().map_or(String::new(), |user| format!("user: {user}      "));
        vec![
            format!("{user}needs: run on llms/{llm}"),
            "no local provider was contacted: a denial is final".into(),
            format!("tip: mcpctl auth can-i run llm/{llm}"),
        ]
    }

    fn of_an_unknown_llm(&self) -> Vec<String> {
        let mut hints = vec!["no failover: the server knows no such LLM".to_owned()];
        hints.extend(self.meant.as_ref().map(|meant| format!("did you mean \"{meant}\"?")));
        hints.push("tip: mcpctl llm list".into());
        hints
    }
}

/// What to look at where the server cannot be reached.
fn look(cause: &CallFailure) -> Option<String> {
    matches!(cause.fault, Fault::Unreachable { .. }).then(|| "tip: mcpctl doctor".to_owned())
}

/// Why the probe proves nothing, without the address that the error has just named.
fn shortened(doubt: &Doubt, cause: &CallFailure) -> String {
    let doubt = doubt.to_string();
    match &cause.fault {
        Fault::Unreachable { target, .. } => {
            let known = format!("cannot reach {target}: ");
            doubt.strip_prefix(&known).map_or(doubt.clone(), str::to_owned)
        }
        _ => doubt,
    }
}
