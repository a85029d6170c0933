//! The question of `infer`, put together from flags, files and standard input before anything is sent.

use super::{InferArgs, schema::AnswerSchema, tools};
use crate::{
    chat::{ChatRequest, Message, RESERVED},
    cmd::{Run, Usage},
    files, yaml,
};
use mcp_api::strict_json;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// The largest prompt, with all its parts, in bytes.
const PROMPT_MAX: u64 = 8 << 20;

/// What is asked, and what the answer has to be.
#[derive(Debug)]
pub(super) struct Question {
    /// What is sent.
    pub(super) request: ChatRequest,
    /// What the answer has to be.
    pub(super) schema: Option<AnswerSchema>,
}

impl Question {
    /// Puts it together. What was piped in is read last: until then nobody has waited for it in vain.
    pub(super) fn of(args: &InferArgs, run: &mut Run<'_>) -> anyhow::Result<Self> {
        let schema = args.schema.as_deref().map(AnswerSchema::load).transpose()?;
        let params = params(args, schema.as_ref())?;
        let messages = messages(args, run)?;
        Ok(Self { request: ChatRequest { messages, params, stream: !args.no_stream }, schema })
    }
}

fn messages(args: &InferArgs, run: &mut Run<'_>) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    if let Some(system) = &args.system {
        messages.push(Message::text("system", system));
    }
    if let Some(path) = &args.messages {
        let text = if reads_conversation(args) {
            run.read_input(PROMPT_MAX)?
        } else {
            text_file(path, "--messages")?
        };
        let conversation: Vec<Message> = parsed(&text, path, "--messages takes a list of messages")?;
        messages.extend(conversation);
    }
    let prompt = prompt(args, run)?;
    if !prompt.is_empty() {
        messages.push(Message::text("user", &prompt));
    }
    if messages.iter().any(|message| message.role != "system") {
        Ok(messages)
    } else {
        Err(Usage("there is no question: give a PROMPT, pipe it in, or use --messages".into()).into())
    }
}

/// Standard input is the conversation, and not a part of the question.
fn reads_conversation(args: &InferArgs) -> bool {
    args.messages.as_deref() == Some(Path::new("-"))
}

/// The question, the files and what was piped in, with a blank line between.
fn prompt(args: &InferArgs, run: &mut Run<'_>) -> anyhow::Result<String> {
    let mut parts = Vec::new();
    let from_input = args.prompt.as_deref() == Some("-");
    parts.extend(args.prompt.clone().filter(|_| !from_input));
    for path in &args.file {
        if path == Path::new("-") {
            let why = "-f - is not needed: what is piped in is added to the question anyway";
            return Err(Usage(why.into()).into());
        }
        parts.push(text_file(path, "-f")?);
    }
    if from_input && reads_conversation(args) {
        return Err(Usage("PROMPT and --messages cannot both be \"-\": there is one stdin".into()).into());
    }
    if from_input || (!run.io.input_is_terminal && !reads_conversation(args)) {
        parts.push(run.read_input(PROMPT_MAX)?);
    }
    let parts: Vec<&str> =
        parts.iter().map(|part| part.trim_end_matches('\n')).filter(|p| !p.is_empty()).collect();
    let prompt = parts.join("\n\n");
    if prompt.len() as u64 > PROMPT_MAX {
        return Err(Usage(format!("the prompt is larger than {PROMPT_MAX} bytes")).into());
    }
    Ok(prompt)
}

/// Every field of the request that a flag sets. One that two flags set is an error: nobody guesses which was meant.
fn params(args: &InferArgs, schema: Option<&AnswerSchema>) -> anyhow::Result<Map<String, Value>> {
    let mut params = Map::new();
    for param in &args.param {
        let (key, value) = param
            .split_once('=')
            .ok_or_else(|| Usage("--param takes KEY=VALUE, such as top_p=0.9".into()))?;
        if RESERVED.contains(&key) || key.is_empty() {
            return Err(Usage(format!("--param cannot set \"{key}\": mcpctl sets it")).into());
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if key == "n" && value != 1 {
            let why = "--param n: an answer of mcpctl is one; run the command once for each";
            return Err(Usage(why.into()).into());
        }
        if params.insert(key.to_owned(), value).is_some() {
            return Err(Usage(format!("--param sets \"{key}\" twice")).into());
        }
    }
    if args.max_tokens.is_some() && params.contains_key("max_completion_tokens") {
        return Err(set_twice("max_completion_tokens", "--max-tokens"));
    }
    let tools = args.tools.as_deref().map(tools::load).transpose()?;
    let of_flags = [
        ("max_tokens", "--max-tokens", args.max_tokens.map(Value::from)),
        ("temperature", "--temperature", args.temperature.map(Value::from)),
        ("tools", "--tools", tools),
        ("response_format", "--schema", schema.map(AnswerSchema::response_format)),
    ];
    for (key, flag, value) in of_flags {
        if let Some(value) = value
            && params.insert(key.into(), value).is_some()
        {
            return Err(set_twice(key, flag));
        }
    }
    Ok(params)
}

fn set_twice(key: &str, flag: &str) -> anyhow::Error {
    Usage(format!("--param {key} and {flag} exclude each other")).into()
}

fn text_file(path: &Path, flag: &str) -> anyhow::Result<String> {
    let bytes = files::read(path, PROMPT_MAX).map_err(|error| Usage(format!("{flag}: {error}")))?;
    String::from_utf8(bytes)
        .map_err(|_| Usage(format!("{flag}: {} is not UTF-8 text", path.display())).into())
}

/// Reads a file of JSON or YAML; `takes` says what was expected of it, the flag first.
///
/// YAML is a little less than JSON: it has no surrogate pairs, by which many programs write an emoji. A problem is told
/// without the text around it, which is a prompt.
pub(super) fn structured<T: DeserializeOwned>(path: &Path, takes: &str) -> anyhow::Result<T> {
    let flag = takes.split(' ').next().unwrap_or_default();
    parsed(&text_file(path, flag)?, path, takes)
}

fn parsed<T: DeserializeOwned>(text: &str, path: &Path, takes: &str) -> anyhow::Result<T> {
    let problems = match yaml::from_str(text) {
        Ok((value, _)) => return Ok(value),
        Err(problems) => problems,
    };
    let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    match strict_json::from_str(text).and_then(serde_json::from_value) {
        Ok(value) => Ok(value),
        // It is JSON, but not of the kind that was expected, or a key comes twice.
        Err(error) if error.is_data() && error.line() > 0 => {
            Err(Usage(format!("{name}: {error} ({takes})")).into())
        }
        Err(_) => {
            let told: Vec<_> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
            Err(Usage(format!("{} ({takes})", told.join("; "))).into())
        }
    }
}
