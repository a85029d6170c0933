//! Programs of other people, as they are, against the real server. The model behind it is real wherever that can be.

mod curl;
mod llm;
mod rust;
mod sdk;
mod vllm;

use crate::cases::{LIMIT, expired_token};
use fakes::{Mcpd, wait_until};
use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

/// What the tiny model answers to every plain question.
const WORDS: &str = "The tiny model answers with exactly these ten plain words.";

/// What came of a program.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// What it printed, if it is content with what it did.
    #[track_caller]
    fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// Runs a program to its end. What it says is little: it fits into the pipes.
fn run(command: &mut Command) -> Ran {
    finish(start(command))
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(mut child: Child) -> Ran {
    wait_until(LIMIT * 3, "the end of a program", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Reads from a program until it has said `needle`.
fn read_until(mut from: impl Read, needle: &str) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(needle.as_bytes()) {
        let read = from.read(&mut byte).unwrap();
        assert_eq!(read, 1, "no {needle:?} before the end of {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

/// Lets a program that waits for its input end.
fn let_go(child: &mut Child) {
    let mut stdin = child.stdin.take().unwrap();
    stdin.flush().unwrap();
}

/// Tokens with which nobody gets an answer of the LLM `chat`: each with the status that is to be expected.
fn refused(mcpd: &mut Mcpd) -> [(&'static str, u16, String); 3] {
    mcpd.create_user("late");
    let expired = expired_token(mcpd, "late");
    let stranger = mcpd.user_with("stranger", &[("run", "llms", Some("other"))]);
    [
        ("expired", 401, expired),
        ("no right", 403, stranger),
        ("forged", 401, format!("mcpd_{}_{}", "a".repeat(16), "0".repeat(64))),
    ]
}
