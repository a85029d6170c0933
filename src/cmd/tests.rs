//! What is said by the small command line of questions, and by the whole one.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

#[test]
fn a_question_means_the_same_in_the_small_command_line_and_in_the_whole_one() {
    for line in [
        "mcpctl infer chat hello",
        "mcpctl infer chat",
        "mcpctl -q --server http://127.0.0.1:1 infer chat infer -o json",
        "mcpctl --context infer infer -vv chat -- --help",
        "mcpctl infer chat x --color never --providers p.yaml --token-file t -o raw --context c",
        "mcpctl infer chat x -f a -f b -s be --param a=1 --max-tokens 5 --temperature 0.5",
    ] {
        let small = question(&words(line)).map(|cli| format!("{cli:?}"));
        let whole = parsed(&words(line)).map(|cli| format!("{cli:?}"));
        assert_eq!(small, whole.ok(), "{line}");
        assert!(small.is_some(), "{line}");
    }
}

#[test]
fn whatever_is_no_question_or_a_wrong_one_is_left_to_the_whole_command_line() {
    for line in [
        "mcpctl infer",
        "mcpctl infer --help",
        "mcpctl infer -h chat",
        "mcpctl --version infer",
        "mcpctl infer chat --max-tokens 0",
        "mcpctl infer chat -o wide-and-wrong",
        "mcpctl --context infer llm list",
        "mcpctl llm get infer",
        "mcpctl help infer",
        "mcpctl infer chat a b",
        "mcpctl",
    ] {
        assert!(question(&words(line)).is_none(), "{line}");
    }
}
