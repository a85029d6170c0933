//! Errors, for people and for programs: what happened, the whole chain of it in one line, and what to do next.

use super::{Io, Run, UNWRITABLE, paint};
use crate::{
    cmd::{
        Color, Failure, Held, InferFailure, StartFailed,
        apply::{Halted, HaltedDetail},
        infer::FailureDetail,
        meant::{self, Asked},
    },
    credential::Source,
    environment::Environment,
    exit::Exit,
    failover::{CallFailure, Fault},
    render::{self, Document, Format, escape_lines},
    yaml::Mistakes,
};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;
use std::{ffi::OsString, io};

/// What is told of a login that the server does not take.
const LOG_IN: &str = "tip: mcpctl auth login --token-stdin";

/// An error, where documents were asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorDocument<'a> {
    /// The exit code.
    exit_code: u8,
    /// Its name.
    reason: &'static str,
    /// What happened, in one line.
    message: &'a str,
    /// What else is known, and what to do next.
    details: &'a [String],
    #[serde(flatten)]
    question: Option<FailureDetail<'a>>,
    #[serde(flatten)]
    halted: Option<HaltedDetail<'a>>,
}

impl Document for ErrorDocument<'_> {
    const KIND: &'static str = "Error";
}

impl<'a> ErrorDocument<'a> {
    fn new(exit: Exit, message: &'a str, details: &'a [String]) -> Self {
        let (exit_code, reason) = (exit.code(), exit.meaning().0);
        Self { exit_code, reason, message, details, question: None, halted: None }
    }

    fn of(error: &'a anyhow::Error, exit: Exit, message: &'a str, details: &'a [String]) -> Self {
        Self {
            question: error.downcast_ref().map(InferFailure::detail),
            halted: error.downcast_ref().map(Halted::detail),
            ..Self::new(exit, message, details)
        }
    }
}

impl Run<'_> {
    /// Shows an error to people, and as a document where documents were asked for.
    pub(in crate::cmd) fn show_error(&mut self, error: &anyhow::Error) -> Exit {
        let exit = Exit::of(error);
        if exit == Exit::OutputClosed {
            return exit;
        }
        let source = self.token_from.borrow().clone();
        let message = message(error, source.as_ref());
        let mistakes = error.chain().find_map(|cause| cause.downcast_ref::<Mistakes>());
        let details = if let Some(mistakes) = mistakes {
            let in_colour = self.colours(self.io.err_is_terminal);
            let _ = writeln!(self.io.err, "{}", mistakes.rendered(self.env.home().as_deref(), in_colour));
            mistakes.advice()
        } else {
            self.tell("error", &message);
            let hints =
                hints(error).into_iter().flat_map(|line| instead(line, source.as_ref())).collect::<Vec<_>>();
            for line in &hints {
                let line = self.fitted(&format!("  {}", escape_lines(line)), "    ");
                let _ = writeln!(self.io.err, "{line}");
            }
            hints
        };
        if let Ok(format @ (Format::Json | Format::Jsonl)) =
            self.format(Format::Text, Format::value_variants())
        {
            let document = ErrorDocument::of(error, exit, &message, &details);
            let text = render::document_text(&render::envelope(&document), format);
            // Where the answer did not fit, its error will not either; the exit code still tells.
            let written = self.io.out.write_all(text.as_bytes()).and_then(|()| self.io.out.flush());
            if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return Exit::OutputClosed;
            }
        }
        exit
    }
}

/// Shows what clap has to say: help on stdout, errors on stderr, and as a document where one was asked for.
pub(in crate::cmd) fn show_usage(
    error: &clap::Error,
    args: &[OsString],
    env: &Environment,
    io: &mut Io<'_>,
) -> Exit {
    let (stream, exit) =
        if error.use_stderr() { (&mut *io.err, Exit::Usage) } else { (&mut *io.out, Exit::Ok) };
    let text = error.render();
    let in_colour = exit == Exit::Usage && paint::colours(colour_wanted(args), env, io.err_is_terminal);
    let mut shown = if in_colour { write!(stream, "{}", text.ansi()) } else { write!(stream, "{text}") };
    shown = shown.and_then(|()| stream.flush());
    if exit == Exit::Usage
        && let Some(format) = documents_wanted(args, env)
    {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let document = render::envelope(&ErrorDocument::new(exit, message, &[]));
        shown = io.out.write_all(render::document_text(&document, format).as_bytes());
    }
    match shown {
        Err(broken) if broken.kind() == io::ErrorKind::BrokenPipe => Exit::OutputClosed,
        Err(full) if exit == Exit::Ok => {
            let _ = writeln!(io.err, "error: {UNWRITABLE}: {full}");
            Exit::Internal
        }
        Err(_) | Ok(()) => exit,
    }
}

/// The same search for `--color`.
fn colour_wanted(args: &[OsString]) -> Color {
    let words: Vec<&str> = args.iter().filter_map(|word| word.to_str()).collect();
    let after = words.windows(2).rev().find(|pair| pair[0] == "--color").map(|pair| pair[1]);
    let asked = after.or_else(|| words.iter().rev().find_map(|word| word.strip_prefix("--color=")));
    asked.and_then(|word| Color::from_str(word, true).ok()).unwrap_or(Color::Auto)
}

/// What clap could not read is searched for the one flag that matters now.
fn documents_wanted(args: &[OsString], env: &Environment) -> Option<Format> {
    let mut words = args.iter().filter_map(|word| word.to_str());
    let mut asked = env.var("MCPCTL_OUTPUT");
    while let Some(word) = words.next() {
        if word == "-o" || word == "--output" {
            asked = words.next();
        } else if let Some(value) = ["--output=", "-o=", "-o"].iter().find_map(|flag| word.strip_prefix(flag))
        {
            asked = Some(value);
        }
    }
    let format = Format::from_str(asked?, true).ok();
    format.filter(|format| matches!(format, Format::Json | Format::Jsonl))
}

/// The whole chain in one line, without saying anything twice.
fn message(error: &anyhow::Error, source: Option<&Source>) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let is_absence = |Failure(failure): &Failure| meant::is_absent(failure);
        if !line.is_empty() && cause.downcast_ref().is_some_and(is_absence) {
            return line + " does not exist on the server, or you may not see it";
        }
        let text = match (cause.downcast_ref(), source) {
            (Some(Failure(CallFailure { fault: Fault::Status { status: 401, .. }, .. })), Some(source)) => {
                source.rejected()
            }
            _ => cause.to_string(),
        };
        if !line.contains(&text) {
            line += if line.is_empty() { "" } else { ": " };
            line += &text;
        }
    }
    line
}

/// What to do about a token that the server does not take depends on where that token came from.
fn instead(line: String, source: Option<&Source>) -> Vec<String> {
    match source.filter(|_| line == LOG_IN) {
        Some(source) => vec![format!("rejected: {}", source.of_token()), source.remedy()],
        None => vec![line],
    }
}

/// What to do next.
fn hints(error: &anyhow::Error) -> Vec<String> {
    if let Some(failure) = error.downcast_ref::<InferFailure>() {
        return failure.hints();
    }
    if error.is::<Held>() {
        return Held::hints();
    }
    if let Some(failed) = error.downcast_ref::<StartFailed>() {
        return failed.hints();
    }
    if let Some(halted) = error.downcast_ref::<Halted>() {
        let mut hints = halted.hints();
        hints.extend(next(halted.failure()));
        return hints;
    }
    let meant = error.downcast_ref::<Asked>().and_then(|asked| asked.meant.as_ref());
    let meant = meant.map(|meant| format!("did you mean {meant}?"));
    meant.into_iter().chain(error.downcast_ref().and_then(next)).collect()
}

/// What to do about a call of the server that failed.
fn next(Failure(failure): &Failure) -> Option<String> {
    let tip = match &failure.fault {
        Fault::Status { status: 401, .. } => LOG_IN,
        // What somebody may not give away, the message names; whether they may make such things is another question.
        Fault::Status { status: 403, error }
            if error.message.as_ref().is_some_and(|message| message.contains("you lack: ")) =>
        {
            return None;
        }
        Fault::Status { status: 403, .. } => {
            let needs = failure.needs.as_ref();
            return Some(needs.map_or("tip: mcpctl auth whoami".into(), |right| {
                format!("tip: mcpctl auth can-i {right}")
            }));
        }
        Fault::Status { status: 404, .. } => "tip: mcpctl get all -o name",
        Fault::Status { status: 412, .. } => {
            "somebody else changed it meanwhile, and that was not overwritten: run the command again"
        }
        Fault::Status { status: 429, error } => {
            let seconds = error.retry_after?;
            return Some(format!("try again in {seconds} s"));
        }
        Fault::Status { status: 500.., .. }
        | Fault::Unreachable { .. }
        | Fault::Tls(_)
        | Fault::NoContent(_)
        | Fault::Unparsable(_) => "tip: mcpctl doctor",
        Fault::Status { .. }
        | Fault::NotAsked
        | Fault::ErrorEvent { .. }
        | Fault::Cut(_)
        | Fault::Idle(_)
        | Fault::Deadline(_)
        | Fault::OutputClosed
        | Fault::Output(_) => return None,
    };
    Some(tip.to_owned())
}
