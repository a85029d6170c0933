//! What an engine's log tells: how far a start has come, and why it failed, in the engine's own words.

use super::EngineKind;
use std::collections::VecDeque;

/// How many lines are kept for a message.
const LAST: usize = 20;
/// The longest line that is kept for a message, in characters.
const LINE: usize = 500;

/// The log of one start, as far as people are told of it.
#[derive(Debug)]
pub struct Story {
    kind: EngineKind,
    stage: Option<usize>,
    cause: Cause,
    traceback: Traceback,
    last: VecDeque<String>,
}

/// What is known of why it failed.
#[derive(Debug)]
enum Cause {
    /// Nothing.
    None,
    /// An error was named; the end of its chain may say it better.
    Named(String),
    /// The next error says better what the one before it means.
    Renamed(String),
    /// pydantic has something against a part of the settings: what it is stands in the next lines.
    Objection { named: String, part: String },
    /// Nothing that comes says it better.
    Known(String),
}

/// Where in a Python traceback the log is.
#[derive(Debug, PartialEq, Eq)]
enum Traceback {
    None,
    Head,
    Frames,
}

impl Story {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(kind: EngineKind) -> Self {
        Self { kind, stage: None, cause: Cause::None, traceback: Traceback::None, last: VecDeque::new() }
    }

    /// Takes a line; says whether a new stage has begun.
    pub fn take(&mut self, line: &str) -> bool {
        if line.trim().is_empty() {
            return false;
        }
        let said = Said::of(line);
        let names_an_error = said.names_an_error(self.traceback == Traceback::Frames);
        self.cause = std::mem::replace(&mut self.cause, Cause::None).after(&said, names_an_error);
        self.keep(line, &said);
        let stages = self.kind.traits().stages;
        let reached = stages.iter().rposition(|(piece, _)| line.contains(piece));
        let later = reached > self.stage;
        self.stage = self.stage.max(reached);
        later
    }

    /// Keeps a line for a message, unless it says where in the engine's own code something happened, or is a picture.
    fn keep(&mut self, line: &str, said: &Said<'_>) {
        let frame = self.traceback != Traceback::None && said.text.starts_with([' ', '\t']);
        if frame {
            if self.traceback == Traceback::Head
                && let Some(head) = self.last.back_mut()
            {
                head.push_str(" ...");
            }
            self.traceback = Traceback::Frames;
            return;
        }
        let head = said.text.ends_with("Traceback (most recent call last):");
        self.traceback = if head { Traceback::Head } else { Traceback::None };
        if said.text.trim().is_empty() || said.text.contains(['█', '▀']) {
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(shortened(line));
    }

    /// The stage that has begun.
    #[must_use]
    pub fn stage(&self) -> Option<&'static str> {
        self.stage.map(|stage| self.kind.traits().stages[stage].1)
    }

    /// Why it failed, in the engine's words: the first error of its log, for it is the root of those that follow.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match &self.cause {
            Cause::None => None,
            Cause::Named(text)
            | Cause::Renamed(text)
            | Cause::Objection { named: text, .. }
            | Cause::Known(text) => Some(text),
        }
    }

    /// The last lines, without the frames of tracebacks.
    #[must_use]
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

impl Cause {
    fn after(self, said: &Said<'_>, names_an_error: bool) -> Self {
        let text = said.text.trim();
        match self {
            Self::None if names_an_error => Self::named(text),
            // Of a chain of errors the last one was written for people: "Connection refused" comes before "We couldn't
            // connect to ... to load the files".
            Self::Named(cause) if said.renames_the_error() => Self::Renamed(cause),
            Self::Renamed(_) if names_an_error => Self::named(text),
            // Another chain follows from this one: "See root cause above".
            Self::Named(cause) if names_an_error => Self::Known(cause),
            Self::Objection { named, .. } if text.starts_with("For further information") => {
                Self::Known(named)
            }
            Self::Objection { named, part } => Self::objection(&named, &part, text),
            Self::None | Self::Named(_) | Self::Renamed(_) | Self::Known(_) => self,
        }
    }

    fn named(text: &str) -> Self {
        let named = shortened(text);
        match text.split_once(" validation error") {
            Some((_, part)) if text.contains("ValidationError: ") => {
                let part = part.split_once(" for ").map_or("settings", |(_, part)| part.trim());
                Self::Objection { named, part: part.to_owned() }
            }
            Some(_) | None => Self::Named(named),
        }
    }

    /// `max_model_len` and then `Input should be ... [type=...]`, or at once `Value error, ... [type=...]`.
    fn objection(named: &str, part: &str, text: &str) -> Self {
        let words = text.split(" [type=").next().unwrap_or_default();
        let words = words.strip_prefix("Value error, ").unwrap_or(words);
        if words.contains(' ') {
            Self::Known(shortened(&format!("{part}: {words}")))
        } else {
            Self::Objection { named: named.to_owned(), part: format!("{part}: {words}") }
        }
    }
}

/// Cut where a sentence ends, if that is not too early.
fn shortened(text: &str) -> String {
    let Some((cut, _)) = text.char_indices().nth(LINE) else { return text.to_owned() };
    match text[..cut].rfind(". ") {
        Some(end) if end > cut / 2 => text[..=end].to_owned(),
        Some(_) | None => format!("{} ...", &text[..cut]),
    }
}

/// A line without what the engine puts before every line.
///
/// vLLM: `(EngineCore pid=7) ERROR 11-22 09:00:00 [core.py:100] `; llama-server: `0.00.010.468 E srv  load_model: `.
struct Said<'a> {
    level: Level,
    /// The indentation tells the frames of a traceback.
    text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The line says that it tells of an error.
    Error,
    /// The line says that it does not.
    Less,
    /// It does not say.
    Untold,
}

impl<'a> Said<'a> {
    fn of(line: &'a str) -> Self {
        let mut text = line.trim_end();
        if text.starts_with('(')
            && let Some((name, after)) = text.split_once(") ")
            && name.contains("pid=")
        {
            text = after;
        }
        for (name, level) in [
            ("ERROR", Level::Untold),
            ("CRITICAL", Level::Untold),
            ("WARNING", Level::Less),
            ("INFO", Level::Less),
            ("DEBUG", Level::Less),
        ] {
            if let Some(after) = text.strip_prefix(name)
                && after.contains(" [")
                && let Some((_, after)) = after.split_once(']')
            {
                return Self { level, text: after.strip_prefix(' ').unwrap_or(after) };
            }
        }
        Self::of_llama(text).unwrap_or(Self { level: Level::Untold, text })
    }

    /// A line of llama-server.
    fn of_llama(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (level, text) = rest.split_once(' ')?;
        let is_time = time.contains('.') && time.chars().all(|c| c.is_ascii_digit() || c == '.');
        let level = match level {
            "E" => Level::Error,
            "I" | "W" | "D" => Level::Less,
            _ => return None,
        };
        is_time.then_some(Self { level, text: text.trim() })
    }

    fn names_an_error(&self, after_frames: bool) -> bool {
        // `ValueError: ...`, `torch.OutOfMemoryError: ...`, `vllm serve: error: ...`; not `Error:` within a path or a
        // word that goes on, and not the line of the code that raises it. One without words ends a traceback.
        let text = self.text;
        let python = text.split(": ").next().is_some_and(|name| {
            ["Error", "Exception", "NotSupported"].iter().any(|end| name.ends_with(end))
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
                && (after_frames || name.len() < text.trim_end_matches(':').len())
        });
        let usage = text.contains(": error: ") || text.starts_with("error: ");
        match self.level {
            Level::Error => true,
            Level::Less => false,
            Level::Untold => python || usage,
        }
    }

    fn renames_the_error(&self) -> bool {
        // Python's own words between two errors of a chain.
        self.text.starts_with("During handling of the above exception, another exception occurred")
            || self.text.starts_with("The above exception was the direct cause of the following exception")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(kind: EngineKind, log: &str) -> Option<String> {
        let mut story = Story::new(kind);
        for line in log.lines() {
            story.take(line);
        }
        story.cause().map(str::to_owned)
    }

    #[test]
    fn e07_the_cause_is_the_first_error_not_the_last() {
        let memory = "(APIServer pid=7) INFO 11-22 09:00:00 [utils.py:1] non-default args: {'model': 'x'}\n\
            (EngineCore pid=9) ERROR 11-22 09:00:01 [core.py:1] Traceback (most recent call last):\n\
            (EngineCore pid=9) ERROR 11-22 09:00:01 [core.py:1] ValueError: Available memory on node 0 (9.9/13.09 GiB) on startup is less\n\
            RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}";
        assert_eq!(
            cause(EngineKind::Vllm, memory).unwrap(),
            "ValueError: Available memory on node 0 (9.9/13.09 GiB) on startup is less"
        );
        let flag = "vllm serve: error: unrecognized arguments: --disable-log-requests";
        assert_eq!(cause(EngineKind::Vllm, flag).unwrap(), flag);
        let gpu = "(EngineCore pid=9) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.71 GiB";
        assert!(
            cause(EngineKind::Vllm, gpu).unwrap().starts_with("torch.OutOfMemoryError: CUDA out of memory")
        );
        let model = "0.00.010.468 I srv    load_model: loading model\n0.00.010.470 E srv    load_model: failed to load model, '/x'\n";
        assert_eq!(
            cause(EngineKind::Llamacpp, model).unwrap(),
            "srv    load_model: failed to load model, '/x'"
        );
    }

    #[test]
    fn e07_what_pydantic_objects_to_is_told_without_its_wrapping() {
        let length = "Traceback (most recent call last):\n  File \"/v/vllm/engine/arg_utils.py\", line 1955, in create_model_config\n    return ModelConfig(\n\
            pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  \
              Value error, User-specified max_model_len (99999) is greater than the derived max_model_len \
              (max_position_embeddings=8192.0 or model_max_length=None in model's config.json). To allow overriding \
              this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. VLLM_ALLOW_LONG_MAX_MODEL_LEN must be \
              used with extreme caution. If the model uses relative position encoding (RoPE), positions exceeding \
              derived_max_model_len lead to nan. If the model uses absolute position encoding, positions exceeding \
              derived_max_model_len will cause a CUDA array out-of-bounds error. [type=value_error, \
              input_value=ArgsKwargs((), {'model': 'x'}), input_type=ArgsKwargs]\n    \
              For further information visit https://errors.pydantic.dev/2.14/v/value_error";
        let told = cause(EngineKind::Vllm, length).unwrap();
        assert!(told.starts_with("ModelConfig: User-specified max_model_len (99999) is greater"), "{told}");
        assert!(told.ends_with("lead to nan."), "{told}");
        let field = "pydantic_core._pydantic_core.ValidationError: 2 validation errors for CacheConfig\n\
            gpu_memory_utilization\n  Input should be less than or equal to 1 [type=less_than_equal, input_value=2.0, input_type=float]\n    \
            For further information visit https://errors.pydantic.dev/2.14/v/less_than_equal";
        assert_eq!(
            cause(EngineKind::Vllm, field).unwrap(),
            "CacheConfig: gpu_memory_utilization: Input should be less than or equal to 1"
        );
        let cut_off = "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig";
        assert_eq!(cause(EngineKind::Vllm, cut_off).unwrap(), cut_off);
    }

    #[test]
    fn e07_of_a_chain_of_errors_the_last_one_is_told() {
        let hub = "httpcore2.ConnectError: [Errno 111] Connection refused\n\n\
            The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  \
              File \"/v/huggingface_hub/file_download.py\", line 7, in x\n    raise LocalEntryNotFoundError(\n\
            huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub\n\n\
            The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n    \
                raise OSError(\n\
            OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.\n\
            Check your internet connection or see how to run the library in offline mode";
        assert!(cause(EngineKind::Vllm, hub).unwrap().starts_with("OSError: We couldn't connect to"));
        let json = "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 3 (char 2)\n\
            During handling of the above exception, another exception occurred:\n\
            OSError: It looks like the config file at '/m/config.json' is not a valid JSON file.\n\
            RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}";
        assert_eq!(
            cause(EngineKind::Vllm, json).unwrap(),
            "OSError: It looks like the config file at '/m/config.json' is not a valid JSON file."
        );
    }

    #[test]
    fn frames_of_tracebacks_and_pictures_are_left_out_of_a_message() {
        let mut story = Story::new(EngineKind::Vllm);
        let log = "(APIServer pid=7) INFO 11-22 13:02:07 [api_utils.py:347]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0\n\
            (APIServer pid=7) INFO 11-22 13:02:07 [api_utils.py:347] \n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] EngineCore failed to start.\n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] Traceback (most recent call last):\n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510]   File \"/v/vllm/v1/engine/core.py\", line 1482, in x\n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510]     engine_core = EngineCoreProc(*args)\n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510]                   ^^^^^^^^^^^^^^^^^^^^^\n\
            (EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] AssertionError\n\
            (EngineCore pid=9) Process EngineCore:\n\
            RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}";
        for line in log.lines() {
            story.take(line);
        }
        assert_eq!(
            story.last(),
            [
                "(EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] EngineCore failed to start.",
                "(EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] Traceback (most recent call last): ...",
                "(EngineCore pid=9) ERROR 11-22 13:00:36 [core.py:1510] AssertionError",
                "(EngineCore pid=9) Process EngineCore:",
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            ]
        );
        assert_eq!(story.cause(), Some("AssertionError"));
    }

    #[test]
    fn what_only_mentions_errors_is_no_cause() {
        for line in [
            "(APIServer pid=7) INFO 11-22 09:00:00 [utils.py:1] errors are shown as ValueError",
            "INFO 11-22 09:00:00 [launcher.py:1] Route: /v1/chat/completions, Methods: POST",
            "0.00.008.451 W srv  llama_server: security: no API key is set",
            "(APIServer pid=7) WARNING 11-22 09:00:00 [system_utils.py:255] OSError: [Errno 24] Too many open files",
            "(EngineCore pid=9) WARNING 11-22 12:57:48 [utils.py:597] Failed to create oneDNN linear, fallback to \
             torch linear. Exception: could not create a primitive descriptor for the matmul primitive.",
            "ValueError",
        ] {
            assert_eq!(cause(EngineKind::Vllm, line), None, "{line}");
        }
    }

    #[test]
    fn stages_follow_each_other_and_never_go_back() {
        let mut story = Story::new(EngineKind::Vllm);
        assert_eq!(story.stage(), None);
        assert!(story.take("(APIServer pid=1) INFO 11-22 09:00:00 [x.py:1] non-default args: {}"));
        assert!(story.take("(EngineCore pid=1) INFO 11-22 09:00:00 [x.py:1] Starting to load model x"));
        assert!(!story.take("(EngineCore pid=1) INFO 11-22 09:00:00 [x.py:1] Starting to load model x"));
        assert!(!story.take("non-default args: {}"));
        assert!(!story.take(
            "(EngineCore pid=1) WARNING 11-22 12:57:49 [vllm.py:1703] Enforce eager set, disabling torch.compile, \
             CUDAGraphs, and JIT kernel warmup."
        ));
        assert_eq!(story.stage(), Some("loading weights"));
    }

    #[test]
    fn only_the_last_lines_are_kept_and_no_endless_one() {
        let mut story = Story::new(EngineKind::Llamacpp);
        for n in 0..50 {
            story.take(&format!("line {n}"));
        }
        story.take(&"x".repeat(100_000));
        assert_eq!(story.last().len(), LAST);
        assert_eq!(story.last()[0], "line 31");
        assert_eq!(story.last()[LAST - 1].len(), LINE + " ...".len());
    }
}
