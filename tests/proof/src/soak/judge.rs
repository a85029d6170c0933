//! The rules by which one run of `infer` is judged, from what it was told, what it left, and what was so meanwhile.
//! They are written from the contract and know nothing of how the program decides.

use super::{right::Right, tally::Breach};
use crate::child::{End, Finished};
use serde_json::Value;

/// What may be known before a run of `infer`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The whole answer of the server's upstream.
    pub(super) central: &'a str,
    /// The whole answer of this person's provider.
    pub(super) local: &'a str,
    pub(super) right: &'a Right,
    pub(super) route: Route,
    /// Whether `-o json` was asked for.
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Auto,
    Central,
    Local,
}

/// What is wrong with a run; nothing, if all is well.
pub(super) fn judge(run: &Finished, expected: Expected<'_>) -> Vec<(Breach, &'static str)> {
    let mut wrong = Vec::new();
    let said = match Said::of(run, expected.json) {
        Ok(said) => said,
        Err(what) => return vec![(Breach::Other, what)],
    };
    let (central, local) = (expected.central, expected.local);
    match run.end {
        End::Code(0) if said.text == central && expected.route != Route::Local => {}
        End::Code(0) if said.text == local && expected.route != Route::Central => {}
        End::Code(0) if said.text == central || said.text == local => {
            wrong.push((Breach::Unauthorised, "answered by whom it was told not to ask"));
        }
        End::Code(0) => wrong.push((Breach::Truncated, "exit 0, and the text is no whole answer")),
        End::Code(5) if expected.right.was_surely_held(run.began, run.ended) => {
            wrong.push((Breach::Other, "denied, and the right was in force all the time"));
        }
        End::Code(5..=7) if !said.text.is_empty() => {
            wrong.push((Breach::Other, "an answer on stdout, and an exit code that says there is none"));
        }
        End::Code(8) if said.text.is_empty() && !expected.json => {
            wrong.push((Breach::Other, "exit 8, and nothing on stdout"));
        }
        End::Code(5..=8) | End::Killed => {}
        End::Code(_) => wrong.push((Breach::Other, "an exit code that is not possible here")),
        End::Signal(_) => wrong.push((Breach::Other, "ended by a signal that nobody sent")),
        End::Hung => wrong.push((Breach::Other, "longer than its limit")),
    }
    if !central.starts_with(&said.text) && !local.starts_with(&said.text) {
        wrong.push((Breach::Truncated, "stdout is the beginning of no known answer"));
    }
    if said.local.is_some_and(|is_local| run.is(0) && is_local != (said.text == local)) {
        wrong.push((Breach::Other, "the document names another one than who answered"));
    }
    if !said.text.is_empty() && expected.right.was_surely_absent(run.began, run.ended) {
        wrong.push((Breach::Unauthorised, "answered, and there was no right at any moment of the run"));
    }
    if !matches!(run.end, End::Code(0) | End::Killed | End::Hung)
        && !expected.json
        && run.stderr.trim().is_empty()
    {
        wrong.push((Breach::Other, "it failed without a word"));
    }
    wrong
}

/// What a run answered.
struct Said {
    text: String,
    /// Who the document says it was.
    local: Option<bool>,
}

impl Said {
    fn of(run: &Finished, json: bool) -> Result<Self, &'static str> {
        if !json {
            let text = run.stdout.strip_suffix('\n').unwrap_or(&run.stdout).to_owned();
            return Ok(Self { text, local: None });
        }
        if run.end == End::Killed && serde_json::from_str::<Value>(&run.stdout).is_err() {
            // It may have been writing.
            return Ok(Self { text: String::new(), local: None });
        }
        let Ok(document) = serde_json::from_str::<Value>(&run.stdout) else {
            return Err("stdout is not one document");
        };
        match (document["kind"].as_str(), run.end) {
            (Some("Inference"), End::Code(0) | End::Killed) => Ok(Self {
                text: document["content"].as_str().unwrap_or_default().to_owned(),
                local: Some(document["failover"] == true || document["route"] == "local"),
            }),
            (Some("Error"), End::Code(code)) if document["exitCode"] == code && code != 0 => {
                Ok(Self { text: String::new(), local: None })
            }
            // Whatever was printed, it may be killed while it tells the server of the failover.
            (Some("Error"), End::Killed) | (_, End::Hung | End::Signal(_)) => {
                Ok(Self { text: String::new(), local: None })
            }
            _ => Err("the document does not fit the exit code"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const CENTRAL: &str = "Central says three words.";
    const LOCAL: &str = "Local says other words.";

    fn run(end: End, stdout: &str) -> Finished {
        let began = Instant::now();
        Finished {
            args: vec!["infer".into()],
            end,
            stdout: stdout.into(),
            stderr: "why".into(),
            began,
            ended: began + Duration::from_millis(5),
        }
    }

    fn found(run: &Finished, right: &Right, route: Route, json: bool) -> Vec<Breach> {
        let expected = Expected { central: CENTRAL, local: LOCAL, right, route, json };
        judge(run, expected).into_iter().map(|(breach, _)| breach).collect()
    }

    #[test]
    fn whole_answers_and_honest_failures_pass() {
        for (end, stdout) in [
            (End::Code(0), format!("{CENTRAL}\n")),
            (End::Code(0), format!("{LOCAL}\n")),
            (End::Code(6), String::new()),
            (End::Code(8), "Central says\n".into()),
            (End::Killed, "Local sa".into()),
        ] {
            assert_eq!(
                found(&run(end, &stdout), &Right::Always, Route::Auto, false),
                [],
                "{end:?} {stdout:?}"
            );
        }
        assert_eq!(found(&run(End::Code(5), ""), &Right::Never, Route::Auto, false), []);
    }

    #[test]
    fn each_lie_is_found() {
        let text = |text: &str| format!("{text}\n");
        let always = |end, stdout: &str| found(&run(end, stdout), &Right::Always, Route::Auto, false);
        assert_eq!(always(End::Code(0), "Central says\n"), [Breach::Truncated]);
        assert_eq!(always(End::Code(0), ""), [Breach::Truncated]);
        assert_eq!(always(End::Code(8), "Central other\n"), [Breach::Truncated]);
        assert_eq!(always(End::Code(5), ""), [Breach::Other]);
        assert_eq!(always(End::Code(1), ""), [Breach::Other]);
        assert_eq!(always(End::Code(7), &text(LOCAL)), [Breach::Other]);
        assert_eq!(always(End::Signal(11), ""), [Breach::Other]);
        let spliced = format!("Central says{LOCAL}");
        assert_eq!(always(End::Killed, &spliced), [Breach::Truncated]);
        let never = |end, stdout: &str| found(&run(end, stdout), &Right::Never, Route::Auto, false);
        assert_eq!(never(End::Code(0), &text(LOCAL)), [Breach::Unauthorised]);
        assert_eq!(never(End::Killed, "Loc"), [Breach::Unauthorised]);
        let routed = |route, stdout: &str| found(&run(End::Code(0), stdout), &Right::Always, route, false);
        assert_eq!(routed(Route::Central, &text(LOCAL)), [Breach::Unauthorised]);
        assert_eq!(routed(Route::Local, &text(CENTRAL)), [Breach::Unauthorised]);
    }

    #[test]
    fn documents_are_judged_by_what_they_say_of_themselves() {
        let document = |content: &str, failover: bool| {
            serde_json::json!({"kind": "Inference", "content": content, "failover": failover, "route": "x"})
                .to_string()
        };
        let json = |end, stdout: &str| found(&run(end, stdout), &Right::Always, Route::Auto, true);
        assert_eq!(json(End::Code(0), &document(LOCAL, true)), []);
        assert_eq!(json(End::Code(0), &document(LOCAL, false)), [Breach::Other]);
        assert_eq!(json(End::Code(0), &document("Local says", true)), [Breach::Truncated, Breach::Other]);
        assert_eq!(json(End::Code(6), r#"{"kind": "Error", "exitCode": 6}"#), []);
        assert_eq!(json(End::Code(6), r#"{"kind": "Error", "exitCode": 7}"#), [Breach::Other]);
        assert_eq!(json(End::Killed, r#"{"kind": "Error", "exitCode": 7}"#), []);
        assert_eq!(json(End::Code(0), "{"), [Breach::Other]);
    }
}
