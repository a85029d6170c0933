//! A07: the time that a token is looked at says nothing about how much of it is right, or whether there is one of its id.

use super::{Bearer, TokenHash};
use fakes::compare;
use std::{hint::black_box, time::Instant};

/// As often is one thing done for one time: a single one is too short to be timed.
const ROUNDS: u32 = 2000;
const PAIRS: u32 = 600;

/// Nanoseconds.
fn time(mut look: impl FnMut() -> bool) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(look());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

/// The same, but for a twentieth and what noise alone can do.
fn take_as_long(what: &str, pairs: u32, one: impl Fn() -> bool, other: impl Fn() -> bool) {
    let found = compare(pairs, || time(&one), || time(&other));
    println!("{what}: {found:.2?} ns");
    let limit = found.usual / 20.0 + 3.0 * found.error;
    assert!(found.bias.abs() < limit, "{what}: {found:?} ns");
}

#[test]
fn a07_it_takes_as_long_to_compare_wherever_two_hashes_differ() {
    let ours = Bearer::generate().unwrap().hash();
    let changed = |at: usize| {
        let mut other = ours.clone();
        other.0[at] ^= 1;
        other
    };
    let (first, last, none) = (changed(0), changed(31), ours.clone());
    let look = |other: &TokenHash| black_box(&ours).matches(black_box(other));
    take_as_long("the first byte or the last", PAIRS, || look(&first), || look(&last));
    take_as_long("the first byte or none", PAIRS, || look(&first), || look(&none));
}

#[test]
fn a07_it_takes_as_long_whether_or_not_there_is_a_token_of_that_id() {
    let (shown, stored) = (Bearer::generate().unwrap(), Bearer::generate().unwrap().hash());
    let look = |stored: Option<&TokenHash>| black_box(&shown).is_of(black_box(stored));
    take_as_long("a stored token or none", PAIRS / 10, || look(Some(&stored)), || look(None));
}
