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
    cause: Option<String>,
    /// The cause goes on in the next line.
    unfinished: bool,
    last: VecDeque<String>,
}

impl Story {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(kind: EngineKind) -> Self {
        Self { kind, stage: None, cause: None, unfinished: false, last: VecDeque::new() }
    }

    /// Takes a line; says whether a new stage has begun.
    pub fn take(&mut self, line: &str) -> bool {
        if line.trim().is_empty() {
            return false;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.chars().take(LINE).collect());
        let bare = bare(line);
        if self.unfinished {
            self.unfinished = false;
            if let Some(cause) = &mut self.cause {
                cause.push(' ');
                cause.extend(bare.chars().take(LINE));
            }
        } else if self.cause.is_none() && names_an_error(line, bare) {
            // What pydantic has against a setting stands in the line below the number of its objections.
            self.unfinished = bare.contains("validation error");
            self.cause = Some(bare.chars().take(LINE).collect());
        }
        let stages = self.kind.traits().stages;
        let reached = stages.iter().rposition(|(piece, _)| line.contains(piece));
        let later = reached > self.stage;
        self.stage = self.stage.max(reached);
        later
    }

    /// The stage that has begun.
    #[must_use]
    pub fn stage(&self) -> Option<&'static str> {
        self.stage.map(|stage| self.kind.traits().stages[stage].1)
    }

    /// The first line that names an error.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The last lines.
    #[must_use]
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// A line without what the engine puts before every line.
///
/// vLLM: `(EngineCore pid=7) ERROR 11-22 09:00:00 [core.py:100] `; llama-server: `0.00.010.468 E srv  load_model: `.
fn bare(line: &str) -> &str {
    let mut rest = line.trim();
    if rest.starts_with('(')
        && let Some((name, after)) = rest.split_once(") ")
        && name.contains("pid=")
    {
        rest = after.trim_start();
    }
    for level in ["ERROR", "WARNING", "INFO", "CRITICAL", "DEBUG"] {
        if let Some(after) = rest.strip_prefix(level)
            && let Some((_, after)) = after.split_once("] ")
            && rest.contains(" [")
        {
            return after.trim();
        }
    }
    if let Some((level, after)) = of_llama(rest) {
        let _ = level;
        return after;
    }
    rest
}

/// The level and the text of a line of llama-server.
fn of_llama(line: &str) -> Option<(char, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (level, text) = rest.split_once(' ')?;
    let is_time = time.contains('.') && time.chars().all(|c| c.is_ascii_digit() || c == '.');
    let level = level.chars().next().filter(|c| level.len() == 1 && "IWED".contains(*c))?;
    is_time.then_some((level, text.trim()))
}

fn names_an_error(line: &str, bare: &str) -> bool {
    // `ValueError: ...`, `torch.OutOfMemoryError: ...`, `vllm serve: error: ...`; not `Error:` within a path or a word
    // that goes on.
    let python = bare.split(": ").next().is_some_and(|name| {
        (name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("NotSupported"))
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
            && name.len() < bare.trim_end_matches(':').len()
    });
    let usage = bare.contains(": error: ") || bare.starts_with("error: ");
    let llama = of_llama(line.trim()).is_some_and(|(level, _)| level == 'E');
    python || usage || llama
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(kind: EngineKind, log: &str) -> Option<String> {
        let mut story = Story::new(kind);
        log.lines().for_each(|line| drop(story.take(line)));
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
        let length = "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, User-specified max_model_len (99999) is greater\n    For further information visit";
        assert_eq!(
            cause(EngineKind::Vllm, length).unwrap(),
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig Value error, \
             User-specified max_model_len (99999) is greater"
        );
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
    fn what_only_mentions_errors_is_no_cause() {
        for line in [
            "(APIServer pid=7) INFO 11-22 09:00:00 [utils.py:1] errors are shown as ValueError",
            "INFO 11-22 09:00:00 [launcher.py:1] Route: /v1/chat/completions, Methods: POST",
            "0.00.008.451 W srv  llama_server: security: no API key is set",
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
        assert_eq!(story.stage(), Some("loading weights"));
    }

    #[test]
    fn only_the_last_lines_are_kept_and_no_endless_one() {
        let mut story = Story::new(EngineKind::Llamacpp);
        (0..50).for_each(|n| drop(story.take(&format!("line {n}"))));
        story.take(&"x".repeat(100_000));
        assert_eq!(story.last().len(), LAST);
        assert_eq!(story.last()[0], "line 31");
        assert_eq!(story.last()[LAST - 1].len(), LINE);
    }
}
