//! `docs/sessions.md`, played as it stands: every `$` line by a real shell with the real programs, and what it prints
//! compared with the page.
//!
//! A comment in a session is a stage direction. What differs from run to run is made equal on both sides before they
//! are compared: see [`settled`].

use crate::sessions_stage::World;
use regex::Regex;
use std::{
    fmt::Write as _,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// One thing that happens in a session.
enum Step {
    /// `$ # what happens to the world`.
    Direction(String),
    /// `$ command`, and what the page says comes of it.
    Command { line: String, told: Told },
}

/// What a command prints, and how it ends.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Told {
    /// As a page shows it: errors first, because nobody sees in a file which came first.
    fn page(&self) -> String {
        let mut page: String = self.err.lines().map(|line| format!("2| {line}\n")).collect();
        page += &self.out;
        if self.code != 0 {
            writeln!(page, "[{}]", self.code).unwrap();
        }
        page
    }
}

const PAGE: &str = "docs/sessions.md";

fn path(in_repository: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(in_repository)
}

fn repository(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}

/// The blocks of `console` in a text, one after the other.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// The steps of a session.
fn steps(block: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in block.lines() {
        if let Some(direction) = line.strip_prefix("$ # ") {
            steps.push(Step::Direction(direction.to_owned()));
        } else if let Some(line) = line.strip_prefix("$ ") {
            steps.push(Step::Command { line: line.to_owned(), told: Told::default() });
        } else if let Some(Step::Command { told, .. }) = steps.last_mut() {
            let code = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse);
            match (code, line.strip_prefix("2|")) {
                (Some(Ok(code)), _) => told.code = code,
                (_, Some(err)) => told.err += &format!("{}\n", err.strip_prefix(' ').unwrap_or(err)),
                (_, None) => told.out += &format!("{line}\n"),
            }
        } else if !line.is_empty() {
            panic!("what says this? {line}");
        }
    }
    steps
}

/// A text without what differs from run to run: times, sizes of processes, ids. Columns that are wider for it are not
/// told apart.
fn settled(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<when>"),
            (r"\b\d+(\.\d+)? (ms|s)\b", "<time>"),
            (r#""(durationMs|duration_ms)": \d+"#, r#""$1": <time>"#),
            (r#""requestId": "[^"]+""#, r#""requestId": "<id>""#),
            (r"\b(\d+h)?(\d+m)?\d+s\b|\bin \d+m\b", "<time>"),
            (r"(running|ready) (.*) \d{2,} ", "$1 $2 <pid> "),
            (r",\d+,r-", ",<time>,r-"),
            (r"\br-[0-9a-f]{4,}\b", "<id>"),
            (r"(?m)^2\| note: [\w-]+: (loading|opening|compiling|capturing|waiting).*\n", ""),
            (r"(\S) {2,}", "$1  "),
            (r"(?m) +$", ""),
        ]
        .map(|(pattern, to)| (Regex::new(pattern).unwrap(), to))
        .into()
    });
    RULES.iter().fold(text.to_owned(), |text, (pattern, to)| pattern.replace_all(&text, *to).into_owned())
}

/// The part of the page that is the one block of this session.
fn place(page: &str, number: usize) -> Range<usize> {
    let heading = page.find(&format!("\n## {number}. ")).expect("the page has it");
    let end = page[heading + 1..].find("\n## ").map_or(page.len(), |at| heading + 1 + at);
    let fence = "```console\n";
    assert_eq!(page[heading..end].matches(fence).count(), 1, "one block a session");
    let start = heading + page[heading..end].find(fence).unwrap() + fence.len();
    start..start + page[start..].find("```").expect("the block ends")
}

/// Plays the session of this number and compares. With `SESSIONS=overwrite` the page is made to say what was seen:
/// `SESSIONS=overwrite cargo test --test cli sessions:: -- --test-threads=1`, and then read the difference.
fn play(number: usize) {
    let page = repository(PAGE);
    let place = place(&page, number);
    let steps = steps(&page[place.clone()]);
    assert!(steps.iter().any(|step| matches!(step, Step::Command { .. })), "nothing is done in it");
    let Some(mut world) = World::before(number) else { return fakes::required("llama-server") };
    let (mut expected, mut seen) = (String::new(), String::new());
    for step in steps {
        match step {
            Step::Direction(direction) => {
                let line = format!("$ # {direction}\n");
                expected += &line;
                seen += &line;
                world.direct(&direction);
            }
            Step::Command { line, told } => {
                expected += &format!("$ {line}\n{}", told.page());
                seen += &format!("$ {line}\n{}", world.types(&line).page());
            }
        }
    }
    if settled(&seen) != settled(&expected)
        && std::env::var_os("SESSIONS").is_some_and(|it| it == "overwrite")
    {
        fs::write(path(PAGE), [&page[..place.start], &seen, &page[place.end..]].concat()).unwrap();
        return;
    }
    snapbox::assert_data_eq!(settled(&seen), snapbox::Data::text(settled(&expected)).raw());
}

#[test]
fn session_01_first_contact() {
    play(1);
}

#[test]
fn session_02_a_normal_answer() {
    play(2);
}

#[test]
fn session_03_a_failover_on_a_terminal() {
    play(3);
}

#[test]
fn session_04_a_failover_for_a_program() {
    play(4);
}

#[test]
fn session_05_denied() {
    play(5);
}

#[test]
fn session_06_the_server_cannot_be_asked() {
    play(6);
}

#[test]
fn session_07_an_answer_is_cut() {
    play(7);
}

#[test]
fn session_08_audit() {
    play(8);
}

#[test]
fn session_09_the_life_of_an_engine() {
    play(9);
}

#[test]
fn session_10_a_typo() {
    play(10);
}

/// The front page shows what the sessions show, and nothing else.
#[test]
fn the_readme_shows_the_same() {
    let sessions = repository(PAGE);
    let readme = repository("README.md");
    let shown = blocks(&readme);
    assert!(!shown.is_empty());
    for block in shown {
        let is_told = |command: &&str| !command.trim_start_matches("$ ").starts_with("# ");
        for command in block.split("\n$ ").filter(is_told) {
            assert!(sessions.contains(command.trim_end()), "not in {PAGE}:\n{command}");
        }
    }
}

#[test]
fn only_what_differs_from_run_to_run_is_made_equal() {
    let line =
        |ms: u32, pid: u32, id: &str| format!("in {ms} ms\nqwen-box  running  qwen3-8b   {pid}  12s  {id}\n");
    assert_eq!(settled(&line(4, 77, "r-51aa")), settled(&line(4012, 41822, "r-0123456789abcdef")));
    for (one, other) in
        [("[5]", "[6]"), ("403", "404"), ("14 tokens in", "15 tokens in"), ("denied", "allowed")]
    {
        assert_ne!(settled(one), settled(other));
    }
}
