//! `apply`: has the server be as documents say.

mod halted;
pub(super) mod prune;
pub(super) mod report;
pub(super) mod sources;

pub(super) use halted::{Halted, HaltedDetail};
pub(crate) use report::{ApplyResult, DeleteResult};

use super::Run;
use crate::{
    documents::{Described, Key},
    exit::Exit,
    failover::CallFailure,
    gateway::{
        Gateway,
        documents::{Purpose, Stored, was_overtaken},
    },
};
use clap::{Args, ValueEnum};
use mcp_api::{Document, Kind, Selector, Subject};
use report::{Action, Report};
use sources::Files;
use std::collections::BTreeSet;

/// Make or change what documents describe: LLMs, users, service accounts, groups, role bindings
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl apply -f team.yaml\n  mcpctl apply -f access/ --prune -l team=data \
                  --dry-run=server\n\nAll documents are read and checked before the first one is sent. Users and \
                  service accounts come first, then groups, LLMs and role bindings. What is so already is left alone. \
                  The first failure ends it, and says what was done and what was not. Whatever somebody else changes \
                  at the same moment is not overwritten."
)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    files: Files,
    /// Have the server check it all and write nothing
    #[arg(long, value_enum, value_name = "server")]
    dry_run: Option<DryRun>,
    /// Also remove what has the labels of -l and is in none of the documents
    #[arg(long, requires = "selector")]
    prune: bool,
    /// What --prune is about, such as team=data; with commas between, all must hold
    #[arg(short = 'l', long, requires = "prune", value_name = "KEY=VALUE")]
    selector: Option<Selector>,
}

/// Who rehearses. There is no guess by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// The server checks rights and rules as for the real thing.
    Server,
}

/// What `--dry-run` says about the purpose of a change.
pub(super) fn purpose(dry_run: Option<DryRun>) -> Purpose {
    match dry_run {
        None => Purpose::Real,
        Some(DryRun::Server) => Purpose::DryRun,
    }
}

pub(super) fn apply(run: &mut Run<'_>, args: &ApplyArgs) -> anyhow::Result<Exit> {
    let purpose = purpose(args.dry_run);
    let mut report = Report::new(run, purpose)?;
    let documents = sources::read(run, &args.files, args.prune)?;
    let gateway = run.gateway()?;
    let mut absent = BTreeSet::new();
    for (at, described) in documents.iter().enumerate() {
        let key = Key::of(&described.document);
        let sent = without(run, described, &absent);
        match settle(&gateway, &described.document, &sent, purpose) {
            Ok((action, warnings)) => {
                if purpose == Purpose::DryRun && action == Action::Created {
                    absent.extend(subject(&key));
                }
                report.add(run, &key, action, Some(&described.source), &warnings)?;
            }
            Err(failure) => {
                let left = documents[at..].iter().map(|it| Key::of(&it.document)).collect();
                return Err(Halted::new(Some(&described.source), key, report, left, failure).into());
            }
        }
    }
    if let Some(selector) = &args.selector {
        warn_of_unlabelled(run, selector, &documents);
        prune::prune(run, &gateway, selector, &documents, purpose, &mut report)?;
    }
    report.applied(run)?;
    Ok(Exit::Ok)
}

/// Has one thing be as it is wanted. If somebody else changes it at the same moment, what they say stands: it is read
/// once more, and unless that is what was wanted, the change has failed. What is sent is less than what is wanted where
/// a rehearsal has to leave something out; what has to be done is told by the whole.
fn settle(
    gateway: &Gateway,
    wanted: &Document,
    sent: &Document,
    purpose: Purpose,
) -> Result<(Action, Vec<String>), CallFailure> {
    let key = Key::of(wanted);
    let changed = match gateway.find(&key)? {
        Some(Stored { document, .. }) if document == *wanted => return Ok((Action::Unchanged, Vec::new())),
        Some(Stored { version, .. }) => {
            gateway.replace(sent, version.as_deref(), purpose).map(|said| (Action::Configured, said))
        }
        None => gateway.create(sent, purpose).map(|said| (Action::Created, said)),
    };
    match changed {
        Err(failure) if was_overtaken(&failure) => match gateway.find(&key)? {
            Some(Stored { document, .. }) if document == *wanted => Ok((Action::Unchanged, Vec::new())),
            Some(_) | None => Err(failure),
        },
        changed => changed,
    }
}

/// In a dry run nothing is made: a group is checked without the members that the same documents would make first.
fn without(run: &mut Run<'_>, described: &Described, absent: &BTreeSet<Subject>) -> Document {
    let mut document = described.document.clone();
    if let Document::Group(group) = &mut document {
        let all = group.members.len();
        group.members.retain(|member| !absent.contains(member));
        if group.members.len() < all {
            let left_out = all - group.members.len();
            run.note(format_args!(
                "{}: checked without {left_out} of its members, which are not there before the real thing",
                Key::of(&described.document)
            ));
        }
    }
    document
}

fn subject(key: &Key) -> Option<Subject> {
    match key {
        Key::Subject(kind, name) => Some(Subject { kind: *kind, name: name.clone() }),
        Key::Llm(_) | Key::Rbac(_) => None,
    }
}

/// What lacks the labels now will not be found by them when it is no longer in the files.
fn warn_of_unlabelled(run: &mut Run<'_>, selector: &Selector, documents: &[Described]) {
    for Described { document, source } in documents {
        if !selector.selects(document.labels()) {
            let key = Key::of(document);
            run.warn(format_args!(
                "{source}: {key} lacks the label {selector}: --prune will never remove it"
            ));
        }
    }
}

/// All kinds, in the words of the command line.
pub(super) fn kind_words() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.word()).collect()
}
