//! Where documents come from: files, folders, standard input; and things that are named on the command line.

use crate::{
    cmd::{Run, Usage},
    documents::{self, Described, Key},
    files, yaml,
};
use clap::Args;
use mcp_api::Kind;
use std::path::{Path, PathBuf};

/// The largest file of documents, in bytes.
const SIZE_MAX: u64 = 8 << 20;

/// `-f`, where there must be one.
#[derive(Debug, Args)]
pub(in crate::cmd) struct Files {
    /// YAML or JSON files, or folders whose *.yaml, *.yml and *.json are read; "-" is stdin
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    pub(in crate::cmd) paths: Vec<PathBuf>,
}

/// All documents, checked, and in an order in which they can be made. Whoever prunes and gives a folder may mean that
/// nothing is left in it.
pub(in crate::cmd) fn read(run: &mut Run<'_>, files: &Files, prunes: bool) -> anyhow::Result<Vec<Described>> {
    if prunes && files.paths.iter().any(|path| path.is_dir()) {
        return read_all(run, &files.paths);
    }
    read_some(run, &files.paths)
}

/// The same for the paths themselves; that there is no document at all is an error.
pub(in crate::cmd) fn read_some(run: &mut Run<'_>, paths: &[PathBuf]) -> anyhow::Result<Vec<Described>> {
    let found = read_all(run, paths)?;
    if found.is_empty() {
        return Err(Usage("there is no document in what was given".into()).into());
    }
    Ok(found)
}

fn read_all(run: &mut Run<'_>, paths: &[PathBuf]) -> anyhow::Result<Vec<Described>> {
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let text = run.read_input(SIZE_MAX)?;
            found.extend(documents::read("standard input", &text)?);
        } else if path.is_dir() {
            for file in within(path)? {
                found.extend(read_file(&file)?);
            }
        } else {
            found.extend(read_file(path)?);
        }
    }
    Ok(documents::in_order(found).map_err(Usage)?)
}

fn read_file(path: &Path) -> anyhow::Result<Vec<Described>> {
    let bytes = files::read(path, SIZE_MAX).map_err(|error| Usage(error.to_string()))?;
    let text =
        String::from_utf8(bytes).map_err(|_| Usage(format!("{} is not UTF-8 text", path.display())))?;
    Ok(documents::read(&path.display().to_string(), &text)?)
}

/// The files of documents in a folder, in the order of their names. Folders in it are left alone, and so is what a
/// pattern such as `*.yaml` would leave out: names that begin with a dot.
fn within(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| Usage(format!("cannot read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_document = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if is_document && !is_hidden && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `KIND NAME...` or `KIND/NAME...`.
pub(in crate::cmd) fn named(words: &[String]) -> anyhow::Result<Vec<Key>> {
    let Some((first, rest)) = words.split_first() else { return Ok(Vec::new()) };
    if first.contains('/') {
        return words.iter().map(|word| pair(word)).collect();
    }
    let kind = kind(first)?;
    rest.iter().map(|name| key(kind, name)).collect()
}

fn pair(word: &str) -> anyhow::Result<Key> {
    let (kind_word, name) = word
        .split_once('/')
        .ok_or_else(|| Usage(format!("\"{}\" is not KIND/NAME like the others", word.escape_debug())))?;
    key(kind(kind_word)?, name)
}

fn key(kind: Kind, name: &str) -> anyhow::Result<Key> {
    Key::new(kind, name).map_err(|error| Usage(format!("\"{}\": {error}", name.escape_debug())).into())
}

/// A kind, in the singular or the plural, whatever its case.
pub(in crate::cmd) fn kind(word: &str) -> anyhow::Result<Kind> {
    let lower = word.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    let known = super::kind_words();
    let found = Kind::ALL.iter().copied().find(|kind| kind.word() == lower || kind.word() == singular);
    found.ok_or_else(|| {
        let near =
            yaml::nearest(&lower, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        Usage(format!("unknown kind \"{}\"{near}; there are: {}", word.escape_debug(), known.join(", ")))
            .into()
    })
}
