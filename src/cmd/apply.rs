//! `apply` and `delete`: administration by documents.

use super::{Failure, Run, Usage};
use crate::{
    exit::Exit,
    failover::{CallFailure, Fault},
    files,
    gateway::Gateway,
    yaml::{self, Problem},
};
use anyhow::Context as _;
use clap::Args;
use mcp_api::{Document, SubjectKind, document::API_VERSION, paths};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest file of documents, in bytes.
const SIZE_MAX: u64 = 8 << 20;

/// Make or change what documents describe: LLMs, users, service accounts, groups, role bindings
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mcpctl apply -f team.yaml\n\nAll documents are read and checked before the first one \
                        is sent. They are applied in their order; the first failure ends it."
)]
pub(super) struct ApplyArgs {
    /// YAML or JSON files, each with one or more documents; "-" is stdin
    #[arg(short, long, required = true, value_name = "FILE")]
    file: Vec<PathBuf>,
}

/// Remove what documents describe, or one thing by kind and name
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl delete rbac data-team\n  mcpctl delete -f team.yaml")]
pub(super) struct DeleteArgs {
    /// YAML or JSON files; what they describe is removed, the last document first
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["kind", "name"])]
    file: Vec<PathBuf>,
    /// llm, rbac, user, serviceaccount or group
    #[arg(required_unless_present = "file")]
    kind: Option<String>,
    /// Its name
    #[arg(required_unless_present = "file")]
    name: Option<String>,
}

pub(super) fn apply(run: &mut Run<'_>, args: &ApplyArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let documents = read_all(run, &args.file)?;
    let gateway = run.gateway()?;
    for document in &documents {
        let name = format!("{}/{}", document.kind().word(), document.name());
        let (done, answer) = put(&gateway, document).map_err(Failure).with_context(|| name.clone())?;
        for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            run.warn(format_args!("{name}: {warning}"));
        }
        run.say(format_args!("{name} {done}"))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn delete(run: &mut Run<'_>, args: &DeleteArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let doomed: Vec<(String, String)> = if let (Some(kind), Some(name)) = (&args.kind, &args.name) {
        vec![(kind.to_lowercase(), name.clone())]
    } else {
        let documents = read_all(run, &args.file)?;
        documents.iter().rev().map(|d| (d.kind().word().to_owned(), d.name().to_owned())).collect()
    };
    let paths = doomed.iter().map(|(kind, name)| path_of(kind, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let gateway = run.gateway()?;
    for ((kind, name), path) in doomed.iter().zip(paths) {
        gateway.delete(&path).map_err(Failure).with_context(|| format!("{kind}/{name}"))?;
        run.say(format_args!("{kind}/{name} deleted"))?;
    }
    Ok(Exit::Ok)
}

fn path_of(kind: &str, name: &str) -> anyhow::Result<String> {
    let wrong = |error: &dyn std::fmt::Display| Usage(format!("\"{}\": {error}", name.escape_debug()));
    let subject = |kind| Ok(paths::subject(kind, &name.parse().map_err(|error| wrong(&error))?));
    match kind {
        "llm" => Ok(paths::llm(&name.parse().map_err(|error| wrong(&error))?)),
        "rbac" => Ok(paths::rbac(&name.parse().map_err(|error| wrong(&error))?)),
        "user" => subject(SubjectKind::User),
        "serviceaccount" => subject(SubjectKind::ServiceAccount),
        "group" => subject(SubjectKind::Group),
        other => {
            let kinds = ["llm", "rbac", "user", "serviceaccount", "group"];
            let near =
                yaml::nearest(other, &kinds).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            Err(Usage(format!("unknown kind \"{other}\"{near}; there are: {}", kinds.join(", "))).into())
        }
    }
}

/// Changes it if it exists, makes it otherwise.
fn put(gateway: &Gateway, document: &Document) -> Result<(&'static str, Value), CallFailure> {
    match document {
        Document::Llm(spec) => {
            let key = mcp_api::LlmKey::Name(spec.name.clone());
            change_or_make(gateway, &paths::llm(&key), paths::LLMS, spec)
        }
        Document::Rbac(rbac) => change_or_make(gateway, &paths::rbac(&rbac.name), paths::RBACS, rbac),
        Document::User(_) | Document::ServiceAccount(_) | Document::Group(_) => {
            let Some(subject) = document.subject() else { return Ok(("unchanged", Value::Null)) };
            let one = paths::subject(subject.kind, &subject.name);
            change_or_make(gateway, &one, paths::SUBJECTS, &subject)
        }
    }
}

fn change_or_make(
    gateway: &Gateway,
    one: &str,
    all: &str,
    body: &impl Serialize,
) -> Result<(&'static str, Value), CallFailure> {
    match gateway.send::<Value>(Method::PUT, one, body) {
        Ok(answer) => Ok(("configured", answer)),
        Err(CallFailure { fault: Fault::Status { status: 404, .. }, .. }) => {
            gateway.send::<Value>(Method::POST, all, body).map(|answer| ("created", answer))
        }
        Err(failure) => Err(failure),
    }
}

/// All documents of all files, checked before anything is sent.
fn read_all(run: &mut Run<'_>, files: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in files {
        let text = if path == Path::new("-") {
            run.read_input(SIZE_MAX)?
        } else {
            let bytes = files::read(path, SIZE_MAX).map_err(|error| Usage(error.to_string()))?;
            String::from_utf8(bytes).map_err(|_| Usage(format!("{} is not UTF-8 text", path.display())))?
        };
        let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        for (line, part) in yaml::documents(&text) {
            documents.push(document(part).map_err(|problem| Usage(shown(&problem, &name, line)))?);
        }
    }
    if documents.is_empty() {
        return Err(Usage("there is no document in what was given".into()).into());
    }
    Ok(documents)
}

/// Reads one document; `apiVersion` may be left out.
fn document(text: &str) -> Result<Document, Problem> {
    let (mut value, places) = yaml::from_str::<Value>(text)?;
    let fields = value.as_object_mut();
    let Some(fields) = fields else { return Err(Problem::new(places.value(""), "a document is a mapping")) };
    if fields.remove("apiVersion").is_some_and(|version| version != API_VERSION) {
        let problem = Problem::new(places.value("apiVersion"), "unknown apiVersion");
        return Err(problem.with_label(format!("expected {API_VERSION}")));
    }
    let kind = fields.remove("kind");
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    match kind {
        "Llm" => typed(value, &places).map(Document::Llm),
        "Rbac" => typed(value, &places).map(Document::Rbac),
        "User" => typed(value, &places).map(Document::User),
        "ServiceAccount" => typed(value, &places).map(Document::ServiceAccount),
        "Group" => typed(value, &places).map(Document::Group),
        other => {
            let label = match yaml::nearest(other, KINDS) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("expected one of: {}", KINDS.join(", ")),
            };
            Err(Problem::new(places.value("kind"), "unknown kind").with_label(label))
        }
    }
}

const KINDS: &[&str] = &["Llm", "Rbac", "User", "ServiceAccount", "Group"];

/// The document without its kind; an error has the place of what is wrong, and no value.
fn typed<T: DeserializeOwned>(value: Value, places: &yaml::Places) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { path.as_str() };
        let message = error.inner().to_string();
        match message.split('`').collect::<Vec<_>>()[..] {
            ["unknown field ", field, _, ref known @ ..] => {
                let known: Vec<&str> = known.iter().copied().step_by(2).collect();
                // The path of an unknown field ends with it, or with what it stands in.
                let inside = path.strip_suffix(field).unwrap_or(path).trim_end_matches('.');
                let full = if inside.is_empty() { field.to_owned() } else { format!("{inside}.{field}") };
                yaml::unknown_key(places.key(&full), field, &known)
            }
            ["unknown variant ", _, _, ref known @ ..] => {
                let known: Vec<&str> = known.iter().copied().step_by(2).collect();
                let problem = Problem::new(places.value(path), "unknown word");
                problem.with_label(format!("expected one of: {}", known.join(", ")))
            }
            _ => Problem::new(places.value(path), yaml::without_values(&message)),
        }
    })
}

fn shown(problem: &Problem, name: &str, lines_before: usize) -> String {
    let label = if problem.label.is_empty() { String::new() } else { format!(" ({})", problem.label) };
    let (line, column) = (problem.place.line + lines_before, problem.place.column);
    format!("{name}:{line}:{column}: {}{label}", problem.message)
}
