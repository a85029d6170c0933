//! What `infer` can be told.

use crate::{
    chat::Limits,
    cmd::{Run, Usage, completion::Names},
    render::Format,
};
use clap::{Args, ValueEnum};
use mcp_api::LlmKey;
use std::{
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

/// Ask an LLM; a local provider stands in if the server's inference path is down and the server permits it
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own, and all combinations make sense"
)]
#[command(after_help = "Examples:\n  mcpctl infer chat-prod \"Capital of France? One word.\"\n  \
                        git diff --staged | mcpctl infer chat-prod \"Write a commit subject.\"\n  \
                        mcpctl infer chat-prod -f issue.md \"Label: bug or feature?\" -o json\n  \
                        mcpctl infer chat-prod -f issue.md \"Label it.\" --schema label.json --strict > label.out\n\n\
                        -o text is for people, json is one document, jsonl a document for each thing that happens,\n\
                        raw the text as it is: no newline added at its end, and nothing escaped on a terminal.\n\
                        Exit codes: mcpctl help exit-codes. When does a failover happen: mcpctl help failover.")]
pub(crate) struct InferArgs {
    /// The LLM, by name or id
    #[arg(add = Names::Llms)]
    pub(crate) llm: String,
    /// The question; "-" or nothing reads it from stdin. Piped input is added after it
    pub(crate) prompt: Option<String>,
    /// A system message
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Add the text of these files after the question
    #[arg(short, long, value_name = "PATH")]
    pub(crate) file: Vec<PathBuf>,
    /// A conversation to go on with: a JSON or YAML list of messages; "-" reads it from stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) messages: Option<PathBuf>,
    /// Tools that the model may ask for: a JSON or YAML list, as the chat API takes it. Calls are printed as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) tools: Option<PathBuf>,
    /// A JSON Schema that the answer has to match: text goes to stdout only if it does, else the exit code is 8
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// More fields of the request, such as `top_p=0.9`; values are JSON, else text
    #[arg(long, value_name = "K=V")]
    pub(crate) param: Vec<String>,
    /// The most tokens that the answer may have
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// How random the answer is
    #[arg(long, value_name = "T", value_parser = finite)]
    pub(crate) temperature: Option<f64>,
    /// Wait for the whole answer, which must arrive within --first-token-timeout
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Who may answer: auto fails over, central never does, local skips the server's inference (and still asks for permission)
    #[arg(long, value_enum, default_value_t = Route::Auto, value_name = "ROUTE")]
    pub(crate) route: Route,
    /// Exit 8 unless the model says that it was done (`finish_reason` is `stop`)
    #[arg(long)]
    pub(crate) strict: bool,
    /// Say on stderr who answered, with how many tokens, in which time
    #[arg(long)]
    pub(crate) usage: bool,
    /// What to do with the model's reasoning: auto shows it on stderr if that is a terminal
    #[arg(long, value_enum, default_value_t = Reasoning::Auto, value_name = "WHEN")]
    pub(crate) reasoning: Reasoning,
    /// Show the request and who would be asked; send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Limit for DNS, TCP and TLS
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub(crate) connect_timeout: Duration,
    /// Limit until the first content
    #[arg(long, default_value = "120s", value_parser = duration, value_name = "TIME")]
    pub(crate) first_token_timeout: Duration,
    /// Limit between two pieces of the answer
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) idle_timeout: Duration,
    /// Limit for everything, from when the question is complete; or none
    #[arg(long, default_value = "none", value_parser = Total::from_str, value_name = "TIME")]
    pub(crate) timeout: Total,
}

/// Who may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Route {
    /// The server; if its inference path fails, a permitted provider.
    Auto,
    /// The server only.
    Central,
    /// A provider only; a drill that still needs permission.
    Local,
}

/// What to do with reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reasoning {
    /// On stderr, if that is a terminal.
    Auto,
    /// On stderr.
    Show,
    /// Nowhere.
    Hide,
}

/// A limit for everything, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total(pub(crate) Option<Duration>);

impl FromStr for Total {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let or_none = |error: String| error.replace("leave the flag out", "none");
        duration(text).map(|limit| Self(Some(limit))).map_err(or_none)
    }
}

fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "give a number such as 0.7".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("give a number such as 0.7".into()) }
}

/// The longest limit that makes sense; much longer ones do not fit the clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// `500ms`, `5s`, `2m`, or a number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time such as 500ms, 5s or 2m".to_owned();
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => {
            text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?.try_into().map_err(|_| wrong())?
        }
    };
    if parsed.is_zero() {
        return Err("give a time of more than 0, or leave the flag out".into());
    }
    if parsed > LONGEST { Err(wrong()) } else { Ok(parsed) }
}

impl InferArgs {
    /// The LLM, checked before anything is sent.
    pub(crate) fn key(&self) -> anyhow::Result<LlmKey> {
        self.llm
            .parse()
            .map_err(|error| Usage(format!("\"{}\" is no LLM: {error}", self.llm.escape_debug())).into())
    }

    /// The format that was asked for.
    ///
    /// A variable that is meant for lists, where `jsonl` is a row a line, does not turn an answer into events; nor is
    /// there to be an error in a format that the answer has not.
    pub(crate) fn format(&self, run: &mut Run<'_>) -> anyhow::Result<Format> {
        let takes: &[Format] = match (self.dry_run, run.global.output) {
            (true, _) => &[Format::Text, Format::Json, Format::Yaml],
            (false, Some(_)) => &[Format::Text, Format::Json, Format::Jsonl, Format::Raw],
            (false, None) => &[Format::Text, Format::Json],
        };
        let format = run.format(Format::Text, takes)?;
        run.global.output = Some(format);
        Ok(format)
    }

    /// The limits, from now on.
    pub(crate) fn limits(&self) -> Limits {
        let total = self.timeout.0.map(|limit| (limit, Instant::now() + limit));
        Limits { first_content: self.first_token_timeout, idle: self.idle_timeout, total }
    }

    /// How long the head of an answer may take.
    pub(crate) fn head_limit(&self) -> Duration {
        self.timeout.0.map_or(self.first_token_timeout, |total| total.min(self.first_token_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in
            [("5s", 5000), ("500ms", 500), ("2m", 120_000), ("1.5", 1500), ("1m30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "0", "0s", "-1s", "soon", "1e19", "1e99", "NaN", "400000000s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(Total::from_str("none").unwrap().0.is_none());
    }
}
