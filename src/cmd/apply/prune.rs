//! What has a label and is in no document any more.

use super::{
    Halted,
    report::{Action, Report},
};
use crate::{
    cmd::{Failure, Run},
    documents::{Described, Key},
    failover::CallFailure,
    gateway::{
        Gateway,
        documents::{Purpose, Stored},
    },
};
use mcp_api::{Document, Kind, Selector, Subject, SubjectKind, Whoami, paths};

/// Removes it, role bindings first and users last.
pub(super) fn prune(
    run: &mut Run<'_>,
    gateway: &Gateway,
    selector: &Selector,
    documents: &[Described],
    purpose: Purpose,
    report: &mut Report,
) -> anyhow::Result<()> {
    let doomed: Vec<Key> =
        surplus(run, gateway, selector, documents)?.iter().map(|it| Key::of(&it.document)).collect();
    for (at, key) in doomed.iter().enumerate() {
        match remove(gateway, selector, key, purpose) {
            Ok(true) => report.add(run, key, Action::Pruned, None, &[])?,
            Ok(false) => {}
            Err(failure) => {
                let left = doomed[at..].to_vec();
                let report = std::mem::replace(report, Report::new(run, purpose)?);
                return Err(Halted::new(None, key.clone(), report, left, failure).into());
            }
        }
    }
    Ok(())
}

/// Removes it as it is, unless somebody has removed it or changed its labels since it was listed.
fn remove(gateway: &Gateway, selector: &Selector, key: &Key, purpose: Purpose) -> Result<bool, CallFailure> {
    match gateway.find(key)? {
        Some(Stored { document, version, .. }) if selector.selects(document.labels()) => {
            gateway.remove(key, version.as_deref(), purpose).map(|()| true)
        }
        Some(_) | None => Ok(false),
    }
}

/// What has the labels and is in no document, in the order in which it can go. The caller does not saw off the branch
/// that it sits on: itself, its groups, and the role bindings that name one of them are kept, with a warning.
pub(in crate::cmd) fn surplus(
    run: &mut Run<'_>,
    gateway: &Gateway,
    selector: &Selector,
    documents: &[Described],
) -> anyhow::Result<Vec<Stored>> {
    let mut found = gateway.all(Kind::ALL).map_err(Failure)?;
    found.retain(|stored| {
        let is_kept = documents.iter().any(|it| Key::of(&it.document) == Key::of(&stored.document));
        selector.selects(stored.document.labels()) && !is_kept
    });
    if found.is_empty() {
        return Ok(found);
    }
    let me: Whoami = gateway.get(paths::WHOAMI).map_err(Failure)?;
    let (own, mut doomed): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|stored| carries(&stored.document, &me));
    for stored in own {
        let key = Key::of(&stored.document);
        run.warn(format_args!(
            "{key} is kept, because your own rights depend on it; mcpctl delete {key} if you mean it"
        ));
    }
    doomed.reverse();
    Ok(doomed)
}

/// Says whether the caller is this, or holds rights by it.
fn carries(document: &Document, me: &Whoami) -> bool {
    let is_me = |subject: &Subject| match subject.kind {
        SubjectKind::User | SubjectKind::ServiceAccount => *subject == me.subject,
        SubjectKind::Group => me.groups.contains(&subject.name),
    };
    match document {
        Document::Llm(_) => false,
        Document::Rbac(rbac) => rbac.subjects.iter().any(is_me),
        Document::User(named) => is_me(&Subject { kind: SubjectKind::User, name: named.name.clone() }),
        Document::ServiceAccount(named) => {
            is_me(&Subject { kind: SubjectKind::ServiceAccount, name: named.name.clone() })
        }
        Document::Group(group) => is_me(&Subject { kind: SubjectKind::Group, name: group.name.clone() }),
    }
}
