//! The role matrix as a text to read, and what must hold for every set of grants.

use super::*;
use mcp_api::{Role, SubjectKind};
use proptest::prelude::*;
use std::fmt::Write as _;

fn grant(role: Role, resource: Resource, name: Option<&str>) -> RoleBinding {
    RoleBinding { role, resource, name: name.map(|name| name.parse().unwrap()) }
}

fn holding(grants: impl IntoIterator<Item = RoleBinding>) -> Rights {
    rights_of(grants.into_iter().map(|what| ("b", what)))
}

/// Rights out of grants and the names of their bindings, in this order.
fn rights_of<'a>(grants: impl IntoIterator<Item = (&'a str, RoleBinding)>) -> Rights {
    let mut held = Held::default();
    for (place, (binding, what)) in grants.into_iter().enumerate() {
        held.push(&Arc::new(Grant { what, binding: binding.parse().unwrap(), place }));
    }
    Rights(vec![Arc::new(held)])
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
    let rights = rights_of([
        ("viewers", grant(Role::View, Resource::Llms, None)),
        ("runners", grant(Role::Run, Resource::Llms, Some("chat"))),
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

/// Bindings `b0`, `b1` and so on, compiled with the groups that exist.
fn compiled(
    bindings: &[(&[&Subject], &[RoleBinding])],
    groups: &[(&Subject, &[&Subject])],
) -> HashMap<Subject, Rights> {
    let owned = |subjects: &[&Subject]| subjects.iter().map(|subject| (*subject).clone()).collect::<Vec<_>>();
    let rbac = |(number, (subjects, grants)): (usize, &(&[&Subject], &[RoleBinding]))| {
        let name: SubjectName = format!("b{number}").parse().unwrap();
        (
            name.clone(),
            Rbac {
                name,
                labels: mcp_api::Labels::default(),
                subjects: owned(subjects),
                role_bindings: grants.to_vec(),
            },
        )
    };
    let members = groups.iter().map(|(group, members)| ((*group).clone(), owned(members)));
    compile(&bindings.iter().enumerate().map(rbac).collect(), &members.collect())
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject { kind, name: name.parse().unwrap() }
}

#[test]
fn a_subject_holds_its_own_grants_and_those_of_its_groups_each_once() {
    let (ana, ops) = (subject(SubjectKind::User, "ana"), subject(SubjectKind::Group, "ops"));
    let namesakes = [subject(SubjectKind::User, "ops"), subject(SubjectKind::ServiceAccount, "ana")];
    let (run, view) =
        (grant(Role::Run, Resource::Llms, Some("chat")), grant(Role::View, Resource::Any, None));
    let (one, twice) = ([view.clone()], [run.clone(), run.clone()]);
    let rights = compiled(&[(&[&ops], &one), (&[&ana, &ops], &twice), (&[], &one)], &[(&ops, &[&ana])]);
    let of = |grant: &Grant| (grant.binding.to_string(), grant.what.clone());
    let listed = |subject| -> Vec<_> { rights[subject].grants().map(of).collect() };
    assert_eq!(listed(&ana), [("b0".to_owned(), view), ("b1".to_owned(), run)]);
    assert_eq!(listed(&ops), listed(&ana));
    assert_eq!(rights.len(), 2);
    assert!(namesakes.iter().all(|namesake| !rights.contains_key(namesake)));
}

#[test]
fn what_several_hold_is_listed_once_and_names_are_those_that_allow() {
    let (ana, ops) = (subject(SubjectKind::User, "ana"), subject(SubjectKind::Group, "ops"));
    let [a, b, c] = [("a", Role::Run), ("b", Role::View), ("c", Role::Admin)]
        .map(|(name, role)| grant(role, Resource::Llms, Some(name)));
    let [of_both, of_ops, of_ana] = [&a, &b, &c].map(std::slice::from_ref);
    let rights = compiled(&[(&[&ana, &ops], of_both), (&[&ops], of_ops), (&[&ana], of_ana)], &[]);
    let joined = Rights::joined([&rights[&ops], &rights[&ana]].into_iter());
    assert!(joined.iter().eq([&a, &b, &c]) && rights[&ops].iter().eq([&a, &b]));
    let named = |verb, kind| joined.names(verb, kind).collect::<std::collections::BTreeSet<_>>();
    assert!(named(Verb::Run, Resource::Llms).into_iter().eq(["a", "c"]));
    assert!(named(Verb::View, Resource::Llms).contains("b") && named(Verb::View, Resource::Users).is_empty());
}

/// What decides is looked up; this is the same by walking through all grants in the order of the bindings.
fn by_a_walk(rights: &Rights, verb: Verb, on: On<'_>) -> Option<String> {
    rights.grants().find(|grant| allows(&grant.what, verb, on)).map(|grant| grant.binding.to_string())
}

#[test]
fn a_group_that_does_not_exist_gives_nobody_anything_and_waits() {
    let (ana, ops) = (subject(SubjectKind::User, "ana"), subject(SubjectKind::Group, "ops"));
    let all = grant(Role::Admin, Resource::Any, None);
    let bindings: &[(&[&Subject], &[RoleBinding])] = &[(&[&ops], &[all])];
    assert!(compiled(bindings, &[]).keys().eq([&ops]));
    let joined = compiled(bindings, &[(&ops, &[&ana])]);
    assert!(joined[&ana].allow(Verb::Delete, On::All(Resource::Rbac)));
}

/// A08: each line is a grant that is held, one that is to be handed on, and whether that is allowed.
#[test]
fn a08_what_is_handed_on_is_within_what_is_held() {
    use Resource::{Any, Audit, Llms, Rbac, Secrets, Users};
    use Role::{Admin, Edit, Run, View};
    for (held, given, passes) in [
        ((Run, Llms, None), (Run, Llms, None), true),
        ((Run, Llms, None), (Run, Llms, Some("x")), true),
        ((Run, Llms, Some("x")), (Run, Llms, Some("x")), true),
        ((Admin, Llms, None), (Run, Llms, None), true),
        ((Admin, Any, None), (Admin, Rbac, Some("x")), true),
        ((View, Any, Some("x")), (View, Users, Some("x")), true),
        ((Run, Any, None), (Run, Any, None), true),
        ((Admin, Any, None), (Run, Secrets, None), true),
        ((Admin, Any, None), (View, Audit, None), true),
        ((Admin, Any, None), (Run, Any, None), true),
        ((Admin, Any, Some("x")), (Run, Secrets, Some("x")), true),
        ((Run, Any, None), (Run, Secrets, None), false),
        ((Run, Any, None), (Run, Secrets, Some("x")), false),
        ((Run, Any, Some("x")), (Run, Secrets, Some("x")), false),
        ((View, Any, None), (View, Audit, None), false),
        ((Run, Secrets, None), (Run, Any, None), false),
        ((Run, Any, None), (Admin, Any, None), false),
        ((Run, Llms, Some("x")), (Run, Llms, None), false),
        ((Run, Llms, Some("x")), (Run, Llms, Some("y")), false),
        ((Run, Llms, None), (View, Llms, None), false),
        ((Run, Llms, None), (Admin, Llms, None), false),
        ((Run, Llms, None), (Run, Any, None), false),
        ((Run, Llms, None), (Run, Users, None), false),
        ((Admin, Any, Some("x")), (Edit, Users, Some("y")), false),
        ((Admin, Any, Some("x")), (Edit, Users, None), false),
    ] {
        let [has, gives] = [held, given].map(|(role, resource, name)| grant(role, resource, name));
        let lacking = holding([has]);
        let missing = missing_rights(&lacking, [&gives]);
        assert_eq!(missing, if passes { vec![] } else { vec![&gives] }, "{given:?} by {held:?}");
    }
    // What is lacking is named, and nothing else.
    let clerk = holding([grant(View, Any, None)]);
    let (fine, not) = (grant(View, Llms, Some("x")), grant(Run, Llms, Some("x")));
    assert_eq!(missing_rights(&clerk, [&fine, &not, &fine]), [&not]);
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
    /// Through two groups and directly, with grants that say the same in several bindings: the first one is the reason.
    #[test]
    fn what_is_looked_up_is_what_a_walk_finds(
        bindings in prop::collection::vec((prop::collection::vec(any_grant(), 0..5), 0..8_u8), 0..8),
    ) {
        let ana = subject(SubjectKind::User, "ana");
        let (ops, dev) = (subject(SubjectKind::Group, "ops"), subject(SubjectKind::Group, "dev"));
        let holders = [&ana, &ops, &dev];
        let chosen = |which: u8| -> Vec<&Subject> {
            holders.iter().enumerate().filter(|(at, _)| which & (1 << at) != 0).map(|(_, holder)| *holder).collect()
        };
        let named: Vec<_> = bindings.iter().map(|(grants, which)| (chosen(*which), &grants[..])).collect();
        let named: Vec<_> = named.iter().map(|(subjects, grants)| (&subjects[..], *grants)).collect();
        let all = compiled(&named, &[(&ops, &[&ana]), (&dev, &[&ana])]);
        for rights in all.values() {
            for (verb, kind, _) in everything_there_is() {
                for on in [On::All(kind), On::One(kind, &["x"]), On::One(kind, &["y", "x"]), On::One(kind, &["z"])] {
                    let found = match decide(rights, verb, on) {
                        Verdict::Allowed { binding } => Some(binding.to_string()),
                        Verdict::Denied => None,
                    };
                    prop_assert_eq!(rights.verbs(on).contains(&verb), found.is_some());
                    prop_assert_eq!(found, by_a_walk(rights, verb, on));
                }
            }
        }
        // All that anybody holds through a group is held by ana too, once for each binding.
        let every: usize = bindings.iter().filter(|(_, which)| which & 7 != 0)
            .map(|(grants, _)| grants.iter().collect::<HashSet<_>>().len()).sum();
        prop_assert_eq!(all.get(&ana).map_or(0, |rights| rights.grants().count()), every);
    }

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
