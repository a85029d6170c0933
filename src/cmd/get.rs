//! `get`: what the server has, as tables for people and as documents that `apply` takes back.

use super::{Failure, Run, Usage, apply::sources, columns::ColumnArgs, completion::Names, meant};
use crate::{
    documents::{self, Key, Written},
    exit::Exit,
    gateway::documents::Stored,
    render::{self, Columns, Format, Item as _, Listing, Row, View},
};
use clap::Args;
use mcp_api::{ApiKeyRef, Document, Kind, LlmSpec, Rbac, Selector, Subject, rbac::ResourceName};
use serde_json::{Value, json};

/// Show what the server has: LLMs, role bindings, users, groups, service accounts, or all of them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl get rbac -l team=data\n  mcpctl get all -o yaml > access.yaml\n\nOnly what you \
                  may view is shown. -o yaml is what apply -f takes; applied at once, it changes nothing."
)]
pub(super) struct GetArgs {
    /// user, serviceaccount, group, llm, rbac (several with commas between) or all; one kind and names; or KIND/NAME
    /// pairs
    #[arg(required = true, value_name = "KIND [NAME]", add = Names::Things)]
    what: Vec<String>,
    /// Only what has this label, such as team=data; with commas between, all must hold
    #[arg(short = 'l', long, value_name = "KEY=VALUE")]
    selector: Option<Selector>,
    #[command(flatten)]
    columns: ColumnArgs,
}

/// What is shown: everything of some kinds, or what was named.
enum Wanted {
    All(Vec<Kind>),
    Named(Vec<Key>),
}

pub(super) fn get(run: &mut Run<'_>, args: &GetArgs) -> anyhow::Result<Exit> {
    use Format::{Csv, Json, Jsonl, Name, Raw, Table, Text, Wide, Yaml};
    let wanted = wanted(args)?;
    let kind = wanted.kind();
    let view = run.view(&args.columns, columns(kind))?;
    let gateway = run.gateway()?;
    let mut found = match &wanted {
        Wanted::All(kinds) => gateway.all(kinds).map_err(Failure)?,
        Wanted::Named(keys) => {
            let one = |key| gateway.look_up(key).map_err(|failure| meant::failed(&gateway, key, failure));
            keys.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?
        }
    };
    if let Some(selector) = &args.selector {
        found.retain(|stored| selector.selects(stored.document.labels()));
    }
    let values = || found.iter().map(|stored| documents::value(&stored.document));
    match view.format() {
        Table | Text | Wide | Csv | Raw => run.show(&listing(kind, view, &found))?,
        Name => found.iter().try_for_each(|stored| run.say(Key::of(&stored.document)))?,
        Jsonl => values().try_for_each(|value| run.print(&render::document_text(&value, Jsonl)))?,
        Yaml => {
            let texts: Vec<String> = found.iter().map(|stored| documents::text(&stored.document)).collect();
            run.print(&texts.join("---\n"))?;
        }
        Json => run.print(&render::document_text(&one_or_list(&wanted, values().collect()), Json))?,
    }
    Ok(Exit::Ok)
}

/// One thing that was named is a document of its own.
fn one_or_list(wanted: &Wanted, mut values: Vec<Value>) -> Value {
    match wanted {
        Wanted::Named(keys) if keys.len() == 1 => values.pop().unwrap_or_default(),
        Wanted::Named(_) | Wanted::All(_) => render::document(Written::LIST, json!({ "items": values })),
    }
}

fn wanted(args: &GetArgs) -> anyhow::Result<Wanted> {
    if args.what[0] == "all" {
        let alone = args.what.len() == 1;
        return if alone {
            Ok(Wanted::All(Kind::ALL.to_vec()))
        } else {
            Err(Usage("all has no names".into()).into())
        };
    }
    if let [kinds] = &args.what[..]
        && !kinds.contains('/')
    {
        return kinds.split(',').map(sources::kind).collect::<anyhow::Result<_>>().map(Wanted::All);
    }
    let named = sources::named(&args.what)?;
    if args.selector.is_some() {
        return Err(Usage("-l chooses among all of a kind; leave it or the names out".into()).into());
    }
    Ok(Wanted::Named(named))
}

impl Wanted {
    /// The kind, if it is one.
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::All(kinds) => kinds.first().copied().filter(|_| kinds.len() == 1),
            Self::Named(keys) => {
                keys.first().map(Key::kind).filter(|kind| keys.iter().all(|key| key.kind() == *kind))
            }
        }
    }
}

/// A table of one kind has the columns of that kind, one of several kinds those that all of them have.
fn columns(kind: Option<Kind>) -> Columns {
    let (usual, wide): (&'static [_], &'static [_]) = match kind {
        Some(Kind::Llm) => {
            (&["NAME", "MODEL", "URL", "ENABLED", "FAILOVER"], &["ID", "TYPE", "KEY", "CONTEXT", "LABELS"])
        }
        Some(Kind::Rbac) => (&["NAME", "SUBJECTS", "GRANTS"], &["LABELS"]),
        Some(Kind::Group) => (&["NAME", "MEMBERS"], &["LABELS"]),
        Some(Kind::User | Kind::ServiceAccount) => (&["NAME", "LABELS"], &[]),
        None => (&["NAME", "ABOUT"], &["LABELS"]),
    };
    Columns { usual, wide }
}

fn listing(kind: Option<Kind>, view: View, found: &[Stored]) -> Listing<Written<'_>> {
    let rows = found.iter().map(|stored| row(stored, kind.is_some())).collect();
    Listing { view, rows }
}

fn row(stored: &Stored, is_one_kind: bool) -> Row<Written<'_>> {
    let document = &stored.document;
    let key = Key::of(document).to_string();
    let cells = if is_one_kind {
        let mut cells = vec![document.name().to_owned()];
        cells.extend(cells_of(stored));
        cells
    } else {
        vec![key.clone(), about(document), document.labels().to_string()]
    };
    Row { name: key, cells, document: document.into() }
}

/// What stands behind the name in a table of one kind.
fn cells_of(stored: &Stored) -> Vec<String> {
    let labels = stored.document.labels().to_string();
    match &stored.document {
        Document::Llm(llm) => vec![
            llm.model.clone(),
            nodes(llm),
            if llm.enabled { "yes".into() } else { "no".into() },
            llm.failover.to_string(),
            stored.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            llm.kind.clone(),
            key_reference(llm),
            llm.context_length.map(|tokens| tokens.to_string()).unwrap_or_default(),
            labels,
        ],
        Document::Rbac(rbac) => vec![people(&rbac.subjects), grants(rbac), labels],
        Document::User(_) | Document::ServiceAccount(_) => vec![labels],
        Document::Group(group) => vec![people(&group.members), labels],
    }
}

fn about(document: &Document) -> String {
    match document {
        Document::Llm(llm) => format!("{} at {}", llm.model, nodes(llm)),
        Document::Rbac(rbac) => format!("{}: {}", people(&rbac.subjects), grants(rbac)),
        Document::User(_) | Document::ServiceAccount(_) => String::new(),
        Document::Group(group) => people(&group.members),
    }
}

/// The first one, and how many more: a cell is no place for all of them.
fn nodes(llm: &LlmSpec) -> String {
    match llm.nodes().len() {
        0 | 1 => llm.url.clone(),
        several => format!("{} (+{})", llm.url, several - 1),
    }
}

/// Where the key is, never the key.
fn key_reference(llm: &LlmSpec) -> String {
    match &llm.api_key_ref {
        None => String::new(),
        Some(ApiKeyRef::Env(variable)) => format!("env {variable}"),
        Some(ApiKeyRef::File(path)) => format!("file {path}"),
    }
}

fn people(subjects: &[Subject]) -> String {
    let one = |subject: &Subject| format!("{}/{}", Kind::from(subject.kind).word(), subject.name);
    some_of(subjects.iter().map(one).collect())
}

/// `view,run llms/chat-prod; view users`: roles on the same thing together.
fn grants(rbac: &Rbac) -> String {
    let mut on: Vec<(String, Vec<&str>)> = Vec::new();
    for grant in &rbac.role_bindings {
        let name = grant.name.as_ref().map(ResourceName::as_str);
        let what =
            name.map_or_else(|| grant.resource.to_string(), |name| format!("{}/{name}", grant.resource));
        match on.iter_mut().find(|(known, _)| *known == what) {
            Some((_, roles)) => roles.push(grant.role.as_str()),
            None => on.push((what, vec![grant.role.as_str()])),
        }
    }
    some_of(on.iter().map(|(what, roles)| format!("{} {what}", roles.join(","))).collect())
}

/// A cell is no place for a list of hundreds; `-o yaml` has them all.
fn some_of(mut words: Vec<String>) -> String {
    const SHOWN: usize = 3;
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    let shown = words.join("; ");
    if more > 0 { format!("{shown}; {more} more") } else { shown }
}
