//! Whether what was seen of a run is what the contract says. Every sentence that comes out is a violation.

use super::{
    axes::{Form, Local, Phase},
    cell::{Cell, Expected, Who},
    lane::{ENGINE, LAPTOP, Lane, Seen},
    primary::{CENTRAL, Way},
};
use serde_json::Value;

/// What kind of promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// Never an unauthorised substitution.
    Substitution,
    /// Never a silent truncation.
    Truncation,
    /// Always the truth about who answered.
    Truth,
    /// Secrets stay where they belong.
    Secret,
    /// Everything else that the contract says.
    Contract,
}

/// A broken promise, and how.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) promise: Promise,
    /// How.
    pub(crate) how: String,
}

/// Looks at one run.
pub(crate) fn judge(cell: &Cell<'_>, seen: &Seen, lane: &Lane<'_>) -> Vec<Violation> {
    let expected = cell.expected();
    let mut all = Findings(Vec::new());
    substitution(&mut all, cell, &expected, seen, lane);
    output(&mut all, cell, &expected, seen);
    said(&mut all, &expected, seen);
    asked(&mut all, cell, &expected, seen);
    secrets(&mut all, seen, lane);
    journal(&mut all, &expected, seen);
    all.0
}

struct Findings(Vec<Violation>);

impl Findings {
    fn unless(&mut self, holds: bool, promise: Promise, how: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { promise, how: how() });
        }
    }
}

/// Nobody local gets a byte without a yes; with one, exactly one provider gets exactly one prompt.
fn substitution(all: &mut Findings, cell: &Cell<'_>, expected: &Expected, seen: &Seen, lane: &Lane<'_>) {
    let prompts = count(&seen.local.bytes, &lane.prompt) + count(&seen.local.warm, &lane.prompt);
    if expected.who == Who::Local {
        all.unless(seen.local.chats == 1 && prompts == 1, Promise::Contract, || {
            format!("{} chats and {prompts} prompts instead of one", seen.local.chats)
        });
        return;
    }
    all.unless(seen.local.chats == 0 && prompts == 0, Promise::Substitution, || {
        format!("a local provider got {} chats, {prompts} prompts", seen.local.chats)
    });
    // An engine may be started against a permission that is taken away meanwhile, and is asked whether it is ready.
    if expected.probes < 2 {
        all.unless(seen.local.bytes.is_empty(), Promise::Substitution, || {
            format!("a local provider got {} bytes", seen.local.bytes.len())
        });
        all.unless(seen.local.starts == 0, Promise::Substitution, || "an engine was started".to_owned());
    }
    let local = [LAPTOP, ENGINE].iter().any(|words| seen.stdout.contains(words));
    all.unless(!local, Promise::Substitution, || format!("local words were written for {}", cell.name()));
}

/// The exit code and standard output.
fn output(all: &mut Findings, cell: &Cell<'_>, expected: &Expected, seen: &Seen) {
    let right = seen.exit.is_some_and(|exit| expected.exits.contains(&exit));
    let is_cut = expected.exits == [8];
    let promise = if seen.exit == Some(0) && is_cut { Promise::Truncation } else { Promise::Contract };
    all.unless(right, promise, || format!("exit {:?} instead of {:?}", seen.exit, expected.exits));
    let words = match (expected.who, cell.local) {
        (Who::Nobody | Who::Central, _) => expected.words.as_str(),
        (Who::Local, Local::Openai) => LAPTOP,
        (Who::Local, _) => ENGINE,
    };
    if cell.form == Form::Json {
        return document(all, expected, seen, words);
    }
    let end = if expected.who == Who::Nobody { "" } else { "\n" };
    let written = format!("{words}{end}");
    all.unless(seen.stdout == written, Promise::Truth, || {
        format!("stdout {:?} instead of {written:?}", seen.stdout)
    });
}

/// The one document of `-o json`.
fn document(all: &mut Findings, expected: &Expected, seen: &Seen, words: &str) {
    let Ok(document) = serde_json::from_str::<Value>(&seen.stdout) else {
        return all.unless(false, Promise::Contract, || format!("stdout is no document: {:?}", seen.stdout));
    };
    let is = |key: &str, value: Value| document[key] == value;
    let right = match expected.who {
        Who::Nobody => is("kind", "Error".into()) && is("exitCode", seen.exit.into()),
        Who::Central => {
            is("kind", "Inference".into()) && is("failover", false.into()) && is("route", "central".into())
        }
        Who::Local => {
            is("kind", "Inference".into()) && is("failover", true.into()) && is("route", "local".into())
        }
    };
    all.unless(right, Promise::Truth, || format!("the document says something else: {document}"));
    if expected.who != Who::Nobody {
        all.unless(is("content", words.into()), Promise::Truth, || format!("another content: {document}"));
    }
}

/// Standard error: a failover is always told, and so is why there was none.
fn said(all: &mut Findings, expected: &Expected, seen: &Seen) {
    let told = seen.stderr.contains("failover: answering from");
    all.unless(told == (expected.who == Who::Local), Promise::Truth, || {
        format!("a failover is {}told: {:?}", if told { "" } else { "not " }, seen.stderr)
    });
    all.unless(seen.stderr.contains(expected.says), Promise::Contract, || {
        format!("stderr does not say {:?}: {:?}", expected.says, seen.stderr)
    });
    if expected.who == Who::Nobody {
        let first =
            seen.stderr.lines().any(|line| line.starts_with("error: ") || line.starts_with("mcpctl: "));
        all.unless(first, Promise::Contract, || format!("no error is told: {:?}", seen.stderr));
    }
    all.unless(!seen.stderr.contains("panicked"), Promise::Contract, || {
        format!("a panic: {:?}", seen.stderr)
    });
}

/// How often the server was asked, and that nobody else was.
fn asked(all: &mut Findings, cell: &Cell<'_>, expected: &Expected, seen: &Seen) {
    all.unless(seen.elsewhere == 0, Promise::Secret, || "another origin was asked".to_owned());
    let reads = matches!(cell.probe.phase, Phase::Nowhere | Phase::Head)
        && !matches!(cell.primary.way, Way::Refused | Way::Swallowed);
    if expected.probes == 0 || reads {
        all.unless(seen.probes == expected.probes, Promise::Contract, || {
            format!("{} probes instead of {}", seen.probes, expected.probes)
        });
    }
}

/// The bearer goes to the server only, and no secret is printed.
fn secrets(all: &mut Findings, seen: &Seen, lane: &Lane<'_>) {
    for token in &lane.tokens {
        let secret = token.rsplit('_').next().unwrap_or(token);
        let places: [(&str, &[u8]); 4] = [
            ("stdout", seen.stdout.as_bytes()),
            ("stderr", seen.stderr.as_bytes()),
            ("what a local provider got", &seen.local.bytes),
            ("what an engine got", &seen.local.warm),
        ];
        for (place, bytes) in places {
            all.unless(count(bytes, secret) == 0, Promise::Secret, || format!("a token in {place}"));
        }
    }
    let echoed = seen.stdout.contains(&lane.prompt) || seen.stderr.contains(&lane.prompt);
    all.unless(!echoed, Promise::Secret, || "the prompt is printed".to_owned());
}

/// Every question for permission leaves one line, and nothing else does.
fn journal(all: &mut Findings, expected: &Expected, seen: &Seen) {
    let wanted = usize::from(expected.probes > 0);
    all.unless(seen.journal.len() == wanted, Promise::Truth, || {
        format!("{} lines in the journal instead of {wanted}", seen.journal.len())
    });
    let Some(event) = seen.journal.first() else { return };
    let (verdict, outcome) =
        (event["verdict"].as_str().unwrap_or("?"), event["outcome"].as_str().unwrap_or("?"));
    let right = match (expected.who, seen.exit) {
        (Who::Local, _) => (verdict, outcome) == ("allowed", "ok"),
        (_, Some(5)) => (verdict, outcome) == ("denied", "refused"),
        (_, Some(6)) => (verdict, outcome) == ("unknown", "refused"),
        _ => false,
    };
    all.unless(right, Promise::Truth, || format!("the journal says {verdict}, {outcome}"));
    let text = event.to_string();
    let words = [CENTRAL, LAPTOP, ENGINE].iter().any(|words| text.contains(words));
    all.unless(!words, Promise::Secret, || "words of an answer stand in the journal".to_owned());
}

fn count(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}
