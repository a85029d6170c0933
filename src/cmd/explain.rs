//! `explain`: what a kind of document and its fields mean, out of the doc comments of the types themselves.

mod schema;

use super::{Run, Usage, apply::sources, completion::Names};
use crate::{exit::Exit, render::Format, yaml};
use clap::Args;
use mcp_api::Kind;
use schema::Node;
use serde_json::Value;
use std::fmt::Write as _;

/// Lines are no longer than this.
const WIDTH: usize = 80;

/// A list of fields names the words of those that have no more than this.
const LISTED_WORDS_MAX: usize = 8;

/// Explain a kind of document, or one of its fields
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl explain llm\n  mcpctl explain rbac.roleBindings.role\n\nWithout a kind it \
                        lists them."
)]
pub(super) struct ExplainArgs {
    /// A kind, and fields of it with dots between
    #[arg(value_name = "KIND[.FIELD]", add = Names::Kinds)]
    path: Option<String>,
}

pub(super) fn explain(run: &mut Run<'_>, args: &ExplainArgs) -> anyhow::Result<Exit> {
    run.format(Format::Text, &[Format::Text])?;
    let schema = mcp_api::Document::schema().to_value();
    let text = match &args.path {
        None => kinds(&schema),
        Some(path) => of_path(&schema, path)?,
    };
    run.print(&text)?;
    Ok(Exit::Ok)
}

fn kinds(schema: &Value) -> String {
    let mut text = String::from("Documents of these kinds can be applied:\n\n");
    for kind in Kind::ALL {
        let node = Node::of_kind(schema, *kind);
        let meaning = node.meaning();
        // The first sentence is enough here.
        let first = meaning.split_once(". ").map_or(meaning.trim_end_matches('.'), |(first, _)| first);
        let _ = writeln!(text, "  {:<15} {first}", kind.as_str());
    }
    text + "\nMore: mcpctl explain KIND, mcpctl explain KIND.FIELD\n"
}

fn of_path(schema: &Value, path: &str) -> anyhow::Result<String> {
    let mut words = path.split('.');
    let kind = sources::kind(words.next().unwrap_or_default())?;
    let mut node = Node::of_kind(schema, kind);
    let mut walked = kind.as_str().to_owned();
    for word in words {
        node = node.field(word).ok_or_else(|| Usage(no_such_field(&walked, &node, word)))?;
        walked = format!("{walked}.{word}");
    }
    Ok(told(&walked, &node))
}

fn no_such_field(walked: &str, node: &Node<'_>, word: &str) -> String {
    let fields = node.fields();
    let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let word_shown = word.escape_debug();
    if known.is_empty() {
        return format!("{walked} has no fields, so no \"{word_shown}\"");
    }
    let near = yaml::nearest(word, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
    format!("{walked} has no field \"{word_shown}\"{near}; it has: {}", known.join(", "))
}

fn told(path: &str, node: &Node<'_>) -> String {
    let mut text = format!("{path}\n\n");
    if let Some(type_name) = node.type_name() {
        let required = if node.is_required { "required" } else { "optional" };
        let _ = writeln!(text, "  {type_name}, {required}{}\n", default_of(node));
    }
    text += &wrapped(&node.meaning(), 2);
    if let Some(pattern) = node.pattern() {
        let _ = writeln!(text, "\n  It matches {pattern}");
    }
    let words = node.words();
    if !words.is_empty() {
        text += "\nOne of:\n";
        for (word, meaning) in words {
            let _ = writeln!(text, "  {word}");
            text += &wrapped(&meaning, 6);
        }
    }
    let fields = node.fields();
    if !fields.is_empty() {
        text += "\nFields:\n";
        for (name, field) in fields {
            let required = if field.is_required { ", required" } else { "" };
            let type_name = field.type_name().unwrap_or_default();
            let _ = writeln!(text, "  {name}  ({type_name}{required}{})", default_of(&field));
            text += &wrapped(&in_a_list(&field), 6);
        }
    }
    text
}

/// What a field means, with the words that it can be: `What may be done: view, run or admin.`
fn in_a_list(field: &Node<'_>) -> String {
    let (meaning, words) = (field.meaning(), field.words());
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    match words[..] {
        [ref first @ .., last] if !first.is_empty() && words.len() <= LISTED_WORDS_MAX => {
            format!("{}: {} or {last}.", meaning.trim_end_matches('.'), first.join(", "))
        }
        _ => meaning,
    }
}

fn default_of(node: &Node<'_>) -> String {
    match node.default() {
        None => String::new(),
        Some(Value::String(word)) => format!(", default {word}"),
        Some(other) => format!(", default {other}"),
    }
}

/// Lines of at most [`WIDTH`] characters, each behind so many spaces. Ends with a newline.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a field without saying what it means finds out here.
    #[test]
    fn every_field_of_every_kind_has_a_meaning_and_a_type() {
        let schema = mcp_api::Document::schema().to_value();
        let mut open: Vec<(String, Node<'_>)> =
            Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), Node::of_kind(&schema, *kind))).collect();
        let mut seen = 0;
        while let Some((path, node)) = open.pop() {
            seen += 1;
            assert!(node.meaning().len() > 5, "{path} has no meaning");
            assert!(!node.meaning().contains('['), "{path} is explained in the words of rustdoc");
            for (_, meaning) in node.words() {
                assert!(meaning.len() > 5 && !meaning.contains('['), "{path}: {meaning:?}");
            }
            for (name, field) in node.fields() {
                assert!(field.type_name().is_some(), "{path}.{name} has no type");
                open.push((format!("{path}.{name}"), field));
            }
        }
        assert!(seen > 30, "{seen} fields");
    }
}
