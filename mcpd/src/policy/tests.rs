//! The role matrix as a text to read, and what must hold for every set of grants.

use super::*;
use mcp_api::{Role, rbac::ResourceName};
use proptest::prelude::*;
use std::fmt::Write as _;

fn grant(role: Role, resource: Resource, name: Option<&str>) -> RoleBinding {
    RoleBinding { role, resource, name: name.map(|name| name.parse().unwrap()) }
}

fn holding(grants: impl IntoIterator<Item = RoleBinding>) -> Rights {
    let binding: SubjectName = "b".parse().unwrap();
    Rights::new(grants.into_iter().map(|what| Grant { what, binding: binding.clone() }).collect())
}

const KINDS: [Resource; 6] =
    [Resource::Llms, Resource::Rbac, Resource::Users, Resource::Tokens, Resource::Secrets, Resource::Audit];

/// One line for each grant: what it allows on the thing it may name, on another one, and on all of a kind.
#[test]
fn the_role_matrix() {
    let mut page =
        String::from("role   on      name | what it allows with `x`, with `y`, and with all of a kind\n");
    for resource in Resource::ALL {
        for name in [None, Some("x")] {
            for role in Role::ALL {
                let rights = holding([grant(*role, *resource, name)]);
                write!(page, "{role:6} {resource:7} {:4} |", name.unwrap_or("-")).unwrap();
                for kind in KINDS {
                    let names = |on| verbs(&rights, on);
                    let (x, y) = (names(On::One(kind, &["x"])), names(On::One(kind, &["y"])));
                    let all = names(On::All(kind));
                    if !(x.is_empty() && y.is_empty() && all.is_empty()) {
                        write!(page, " {kind}: x={x} y={y} all={all};").unwrap();
                    }
                }
                page.truncate(page.trim_end_matches([' ', ';']).len());
                page.push('\n');
            }
        }
    }
    insta::assert_snapshot!(page);
}

/// The verbs that are allowed, by their first letters: view, run, create, edit, delete.
fn verbs(rights: &Rights, on: On<'_>) -> String {
    let allowed = Verb::ALL.iter().filter(|verb| rights.allow(**verb, on));
    allowed.map(|verb| &verb.as_str()[..1]).collect()
}

#[test]
fn a_verdict_names_the_binding_that_allows() {
    let named = |name: &str, what| Grant { what, binding: name.parse().unwrap() };
    let rights = Rights::new(vec![
        named("viewers", grant(Role::View, Resource::Llms, None)),
        named("runners", grant(Role::Run, Resource::Llms, Some("chat"))),
    ]);
    let on = On::One(Resource::Llms, &["chat", "c123"]);
    let runners: SubjectName = "runners".parse().unwrap();
    assert_eq!(decide(&rights, Verb::Run, on), Verdict::Allowed { binding: &runners });
    assert_eq!(decide(&rights, Verb::Run, On::One(Resource::Llms, &["other"])), Verdict::Denied);
    assert_eq!(decide(&Rights::default(), Verb::View, on), Verdict::Denied);
}

#[test]
fn a_right_on_one_of_its_names_is_a_right_on_the_llm() {
    for bound in ["chat", "c123"] {
        let rights = holding([grant(Role::Run, Resource::Llms, Some(bound))]);
        assert!(rights.allow(Verb::Run, On::One(Resource::Llms, &["chat", "c123"])), "{bound}");
    }
}

fn any_grant() -> impl Strategy<Value = RoleBinding> {
    let name = prop_oneof![Just(None), Just(Some("x")), Just(Some("y"))];
    let role = prop::sample::select(Role::ALL);
    let resource = prop::sample::select(Resource::ALL);
    (role, resource, name).prop_map(|(role, resource, name)| grant(role, resource, name))
}

fn everything_there_is() -> Vec<(Verb, Resource, Option<&'static str>)> {
    let names = [None, Some("x"), Some("y"), Some("z")];
    let all = Verb::ALL.iter().flat_map(|verb| Resource::ALL.iter().map(move |kind| (*verb, *kind)));
    all.flat_map(|(verb, kind)| names.map(|name| (verb, kind, name))).collect()
}

fn may(rights: &Rights, (verb, kind, name): (Verb, Resource, Option<&'static str>)) -> bool {
    match name {
        None => rights.allow(verb, On::All(kind)),
        Some(name) => rights.allow(verb, On::One(kind, &[name])),
    }
}

proptest! {
    /// A08: whoever passes the check on what he grants can afterwards do nothing through it that he could not do
    /// before, nor can anybody else who got it from him.
    #[test]
    fn a08_nobody_grants_what_they_do_not_hold(
        held in prop::collection::vec(any_grant(), 0..6),
        granted in prop::collection::vec(any_grant(), 0..4),
    ) {
        let holder = holding(held);
        if missing_rights(&holder, &granted).is_empty() {
            let receiver = holding(granted);
            for thing in everything_there_is() {
                prop_assert!(!may(&receiver, thing) || may(&holder, thing), "{thing:?}");
            }
        }
    }

    #[test]
    fn everybody_may_hand_on_what_they_hold(held in prop::collection::vec(any_grant(), 0..6)) {
        prop_assert!(missing_rights(&holding(held.clone()), &held).is_empty());
    }

    #[test]
    fn a_further_grant_never_takes_a_right_away(
        held in prop::collection::vec(any_grant(), 0..6),
        more in any_grant(),
    ) {
        let before = holding(held.clone());
        let after = holding(held.into_iter().chain([more]));
        for thing in everything_there_is() {
            prop_assert!(!may(&before, thing) || may(&after, thing), "{thing:?}");
        }
    }

    #[test]
    fn a_grant_with_a_name_never_reaches_create_or_a_whole_kind(
        role in prop::sample::select(Role::ALL),
        resource in prop::sample::select(Resource::ALL),
        name in "x|y",
    ) {
        let name: ResourceName = name.parse().unwrap();
        let rights = holding([RoleBinding { role, resource, name: Some(name.clone()) }]);
        for kind in Resource::ALL {
            prop_assert!(!rights.allow(Verb::Create, On::One(*kind, &[name.as_str()])));
            for verb in Verb::ALL {
                prop_assert!(!rights.allow(*verb, On::All(*kind)));
            }
        }
    }
}
