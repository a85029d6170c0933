//! The topics of `help`. A text here has one line for each paragraph and each item; the terminal decides where they
//! break.

use crate::{environment::VARIABLES, exit::Exit};
use std::fmt::Write as _;

/// All topics.
pub(super) const NAMES: &[&str] =
    &["exit-codes", "environment", "failover", "credentials", "output", "providers", "scripts"];

/// No line is longer, however wide the terminal is.
const WIDTH_MAX: u16 = 100;

/// The text of a topic.
pub(super) fn text(topic: &str) -> Option<String> {
    match topic {
        "exit-codes" => Some(exit_codes()),
        "environment" => Some(environment()),
        "failover" => Some(FAILOVER.into()),
        "credentials" => Some(CREDENTIALS.into()),
        "output" => Some(OUTPUT.into()),
        "providers" => Some(PROVIDERS.into()),
        "scripts" => Some(SCRIPTS.into()),
        _ => None,
    }
}

/// A text for a terminal of this width. The second line of an item begins below the first word of its text.
pub(super) fn wrapped(text: &str, width: Option<u16>) -> String {
    let width = width.unwrap_or(WIDTH_MAX).min(WIDTH_MAX);
    let wrap = |line: &str| {
        let hanging = " ".repeat(hanging(line).min(usize::from(width) / 2));
        textwrap::fill(
            line,
            textwrap::Options::new(width.into())
                .subsequent_indent(&hanging)
                .word_splitter(textwrap::WordSplitter::NoHyphenation),
        ) + "\n"
    };
    text.lines().map(wrap).collect()
}

/// Where the text of an item begins: after `1. `, or after the last gap.
fn hanging(line: &str) -> usize {
    let indent = line.len() - line.trim_start().len();
    let item = &line[indent..];
    let gap = item.rfind("  ").map(|at| at + 2);
    match (item.split_once(". "), gap) {
        (Some((number, _)), _) if number.parse::<u8>().is_ok() => indent + number.len() + 2,
        (_, Some(gap)) if indent > 0 => indent + gap,
        _ => indent,
    }
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes are chosen by what the caller should do next:\n\n");
    for (code, name, meaning) in Exit::table() {
        let _ = writeln!(text, "{code:>4}  {name:<12} {meaning}");
    }
    text
}

fn environment() -> String {
    let mut text =
        String::from("Environment variables; a flag wins over a variable, a variable over the config:\n\n");
    for (name, meaning) in VARIABLES {
        let _ = writeln!(text, "  {name:<25}  {meaning}");
    }
    text
}

const FAILOVER: &str = "\
When does a local provider answer instead of the server?

1. `mcpctl infer LLM` asks the server. Only if its inference path fails before the first piece of an answer (no connection, 5xx, the upstream's own 429, silence) goes it on. A 401, 403, 404, any other 4xx, a limit of yours, a wrong certificate, a redirect, or an answer that broke off in the middle ends it right there.
2. The provider file must say `failoverFor: LLM`. See: mcpctl providers failovers
3. The server is asked again, with your token: may this caller still run this LLM (HEAD /api/v1/llms/LLM)? Only a clear yes counts. No, no answer in 3 seconds, or anything odd: the error of step 1 is reported, and the provider gets not one byte.
4. The provider answers, a note on stderr says so, and -o json says \"failover\": true. The engine of a managed provider is started for this if none runs; if that takes longer than a permission is good for, step 3 is done again. It serves all commands of this user and stops idleTimeoutMinutes after the last request.

Try it without an outage: mcpctl providers failovers --drill. See whether it would go now: mcpctl providers failovers --probe.
To save the wait, start an engine before: mcpctl providers start NAME. How it is: mcpctl providers status.
The gate is cooperative: whoever owns a machine can always call their own model by hand.
";

const CREDENTIALS: &str = "\
A token says who you are to one server. The first of these that is there is taken:

1. the file named by --token-file
2. MCPCTL_TOKEN, or the file named by MCPCTL_TOKEN_FILE
3. the tokenCommand of the context: a program and its arguments, run without a shell
4. what `mcpctl auth login --token-stdin` stored for this server

A variable that is set and empty, a command that fails, a file that others may read: each ends the command, because the next in the list may be somebody else.
A stored token goes to the server that it was stored for (scheme, host and port) and to no other. A local provider never sees it. A token is never a flag: process lists and shell histories would show it.

  mcpctl auth login --token-stdin < token.txt
  mcpctl auth status
  mcpctl auth can-i run llm/chat-prod
";

const OUTPUT: &str = "\
stdout is the answer and nothing else, stderr is for people. -o says how the answer is shown; the help of each command says which of these it has:

  table, wide  columns for people; they fit the terminal, and a row that would need broken words becomes a block of lines. --columns A,B chooses them, --no-headers leaves the titles out
  json, yaml   one document with apiVersion and kind. Its schema is in schemas/KIND.json; fields are only ever added
  jsonl        one document a line, written while it arrives
  name         names only, one a line
  csv          for spreadsheets; what would be a formula there begins with a quote
  text, raw    the answer of a model; raw adds and escapes nothing

A failure is a document too with -o json and jsonl: kind Error, with exitCode. MCPCTL_OUTPUT is the default of -o, where a command has that format.
A terminal gets nothing that it would obey: control characters are replaced. A pipe gets the bytes as they are. Tables in a pipe and with TERM=dumb have one line for each row.
Colours: --color always|never, else NO_COLOR (no colours), else CLICOLOR_FORCE (also in a pipe), else on a terminal only.
";

const PROVIDERS: &str = "\
The provider file declares local models and the LLMs for which they stand in: --providers FILE, else MCPCTL_PROVIDERS, else providers.yaml in the folder of mcpctl's config.

  providers:
    - name: laptop
      type: openai                     # an endpoint that already runs; vllm-managed and llamacpp-managed are started
      failoverFor: chat-prod
      url: http://127.0.0.1:1234/v1
      model: qwen3-8b

  mcpctl providers validate            would it do, and if not, which line is to be changed?
  mcpctl providers failovers --probe   is each failover permitted and ready now?
  mcpctl providers failovers --drill   have each of them really answer
  mcpctl providers status              how the engines are

A file that others may write is refused, because it names programs to run. A broken one costs the failover, never the server's answer. When a provider answers: mcpctl help failover.
";

const SCRIPTS: &str = "\
Exit codes say what to do next (mcpctl help exit-codes): 3 is a no and not a failure, 6 and 7 are worth another try, 5 is not.

  mcpctl infer chat-prod \"Label it\" -f issue.md -o json --strict > out.json
  mcpctl llm list -o name | while read -r llm; do mcpctl llm head \"$llm\"; done
  mcpctl get rbac --columns name,grants --no-headers
  mcpctl providers status --wait-for ready --timeout 5m
  mcpctl diff -f team/ || [ $? = 3 ]

Use -o json, name or csv, never a table: tables are for people and may change. With -q notes are left out, a failover's too; -o json says who answered. Give MCPCTL_SERVER and MCPCTL_TOKEN_FILE instead of a context where nobody logs in.
";

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn every_topic_fits_every_terminal() {
        for topic in NAMES {
            let text = text(topic).unwrap();
            for width in [60, 80, 200] {
                let shown = wrapped(&text, Some(width));
                // What is copied into a shell or a file is not broken where a terminal could hold it.
                let long: Vec<&str> =
                    shown.lines().filter(|line| line.width() > usize::from(width.min(WIDTH_MAX))).collect();
                assert!(long.is_empty(), "{topic} at {width}: {long:#?}");
            }
        }
    }

    #[test]
    fn the_second_line_of_an_item_stands_below_its_text() {
        assert_eq!(wrapped("  name  a text of words\n", Some(16)), "  name  a text\n        of words\n");
        assert_eq!(wrapped("  1  ok  a text of words\n", Some(18)), "  1  ok  a text of\n         words\n");
        assert_eq!(wrapped("1. a text of words\n", Some(12)), "1. a text of\n   words\n");
        assert_eq!(wrapped("A sentence of words.\n", Some(12)), "A sentence\nof words.\n");
    }
}
