//! The matrix without a process: which cells there are, and what the contract says of some that anybody can check.

use super::{
    axes::{Kind, Local, Phase},
    cell::Who,
    plan::{Axes, Size},
    primary, probe,
    report::Report,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

const SIZE: Size = Size { runs: 3_000, sweep: false, during_start: 2 };

#[test]
fn every_name_is_unique_and_finds_its_cell_again() {
    let axes = Axes::new();
    let names: Vec<String> = axes.primaries.iter().map(primary::Primary::name).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    let names: Vec<String> = axes.probes.iter().map(probe::Probe::name).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    for choice in axes.chosen(SIZE, 1) {
        let name = axes.cell(choice).name();
        let found = axes.find(&name).unwrap();
        assert_eq!(axes.cell(found).name(), name);
    }
}

#[test]
fn a_seed_chooses_the_same_cells_again_and_all_of_them_are_possible() {
    let axes = Axes::new();
    let names = |seed| -> Vec<String> {
        axes.chosen(SIZE, seed).into_iter().map(|choice| axes.cell(choice).name()).collect()
    };
    let first = names(7);
    assert!(first.len() >= SIZE.runs, "{} cells", first.len());
    assert_eq!(first, names(7));
    assert_ne!(first, names(8));
    assert!(axes.chosen(SIZE, 7).into_iter().all(|choice| axes.cell(choice).is_possible()));
}

#[test]
fn every_group_is_chosen_at_the_question_and_at_the_probe() {
    let axes = Axes::new();
    let (mut questions, mut probes, mut who) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for choice in axes.chosen(SIZE, 3) {
        let cell = axes.cell(choice);
        questions.insert((cell.primary.phase, cell.primary.kind));
        if cell.reaches_probe() {
            probes.insert((cell.probe.phase, cell.probe.kind));
        }
        *who.entry(format!("{:?}", cell.expected().who)).or_insert(0) += 1;
    }
    let all: BTreeSet<_> = axes.primaries.iter().map(|it| (it.phase, it.kind)).collect();
    assert_eq!(questions, all);
    let all: BTreeSet<_> = axes.probes.iter().map(|it| (it.phase, it.kind)).collect();
    assert_eq!(probes, all);
    assert!(who.values().all(|runs| *runs > 20), "{who:?}");
}

#[test]
fn a_sweep_has_every_status_at_both_places() {
    let axes = Axes::new();
    let chosen = axes.chosen(Size { runs: 0, sweep: true, during_start: 0 }, 5);
    let status = |name: &str| name.split('-').next().and_then(|it| it.parse::<u16>().ok());
    let (mut questions, mut probes) = (BTreeSet::new(), BTreeSet::new());
    for choice in chosen {
        let cell = axes.cell(choice);
        if (cell.primary.phase, cell.primary.kind) == (Phase::Head, Kind::Status) {
            questions.extend(status(&cell.primary.which));
        }
        if cell.reaches_probe() && (cell.probe.phase, cell.probe.kind) == (Phase::Head, Kind::Status) {
            probes.extend(status(&cell.probe.which));
        }
    }
    let all: BTreeSet<u16> = (100..=999).filter(|status| *status != 200).collect();
    assert_eq!(questions, all);
    assert_eq!(probes, all);
}

#[test]
fn a_right_that_goes_during_a_start_goes_only_where_the_question_for_it_arrives() {
    let axes = Axes::new();
    let chosen = axes.chosen(Size { runs: 0, sweep: false, during_start: 300 }, 9);
    assert_eq!(chosen.len(), 300);
    for choice in chosen {
        let cell = axes.cell(choice);
        assert_eq!(cell.expected().probes, 2, "{}", cell.name());
    }
}

#[test]
fn the_contract_is_written_down_as_it_stands() {
    let axes = Axes::new();
    for (name, exits, who) in [
        ("none.none.upstream-well | none.none.real | allowed | openai | text | http", vec![0], Who::Central),
        (
            "connect.refuse.upstream-down | none.none.real | allowed | openai | text | http",
            vec![0],
            Who::Local,
        ),
        (
            "connect.refuse.upstream-down | none.none.real | allowed | nobody | text | http",
            vec![7],
            Who::Nobody,
        ),
        (
            "connect.refuse.upstream-down | none.none.real | allowed | two-claims | text | http",
            vec![7],
            Who::Nobody,
        ),
        (
            "connect.refuse.upstream-down | none.none.real | revoked-between | openai | text | http",
            vec![5],
            Who::Nobody,
        ),
        (
            "connect.refuse.upstream-down | none.none.real | failover-forbidden | openai | text | http",
            vec![5],
            Who::Nobody,
        ),
        (
            "connect.refuse.upstream-down | none.none.real | token-expired | openai | text | http",
            vec![4],
            Who::Nobody,
        ),
        (
            "head.status.503-unsigned | none.none.real | token-expired | openai | text | http",
            vec![5],
            Who::Nobody,
        ),
        (
            "head.status.503-unsigned | head.status.206-signed | allowed | openai | text | http",
            vec![6],
            Who::Nobody,
        ),
        (
            "head.status.503-unsigned | head.forged.older-nonce | allowed | openai | text | http",
            vec![6],
            Who::Nobody,
        ),
        ("head.status.429-quota | none.none.real | allowed | openai | text | http", vec![7], Who::Nobody),
        ("head.status.429-upstream | none.none.real | allowed | openai | text | http", vec![0], Who::Local),
        ("head.status.404-unsigned | none.none.real | allowed | openai | text | http", vec![9], Who::Nobody),
        ("tls.forged.expired | none.none.real | allowed | openai | text | https", vec![7], Who::Nobody),
        ("mid-content.cut.clean-end | none.none.real | allowed | openai | text | http", vec![8], Who::Nobody),
        ("end.cut.clean-before-done | none.none.real | allowed | openai | text | http", vec![8], Who::Nobody),
    ] {
        let cell = axes.cell(axes.find(name).unwrap());
        assert!(cell.is_possible(), "{name}");
        let expected = cell.expected();
        assert_eq!((expected.exits, expected.who), (&exits[..], who), "{name}");
    }
}

#[test]
fn what_excludes_each_other_is_no_cell() {
    let axes = Axes::new();
    for name in [
        // Only an engine that has to be started gives the time.
        "connect.refuse.upstream-down | none.none.real | revoked-during-start | openai | text | http",
        // A certificate without TLS.
        "tls.forged.expired | none.none.real | allowed | openai | text | http",
        // Nobody is asked for permission, so that nothing can disturb that.
        "none.none.upstream-well | head.reset.no-answer | allowed | openai | text | http",
        // A closed port does not answer the probe.
        "connect.refuse.nobody-listens | head.status.503-bare | allowed | openai | text | http",
    ] {
        assert!(!axes.cell(axes.find(name).unwrap()).is_possible(), "{name}");
    }
    let nobody = axes.find("connect.refuse.nobody-listens | none.none.real | allowed | openai | text | http");
    assert_eq!(axes.cell(nobody.unwrap()).expected().exits, [6]);
    assert!(Local::ALL.into_iter().filter(|local| local.can_answer()).count() == 3);
}

#[test]
fn what_is_left_over_or_could_not_be_judged_is_found() {
    let axes = Axes::new();
    let report = || Report::new(1, &axes);
    assert!(report().is_clean());
    let (mut left, mut broken) = (report(), report());
    left.left_over(&[7], "lane 0");
    broken.broken("lane 0 could not go on");
    assert!(!left.is_clean() && left.orphans == 1 && !broken.is_clean());
}
