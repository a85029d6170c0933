//! Random numbers that come again with the same seed.

use std::time::Duration;

/// A sequence of them.
#[derive(Debug, Clone)]
pub struct Chance(fastrand::Rng);

impl Chance {
    /// The sequence of this number in the family of the seed.
    pub fn new(seed: u64, number: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed.rotate_left(32) ^ number))
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// One below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// A time between these, in milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.0.u64(..(to - from).max(1)))
    }

    /// One of these by weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> Option<T> {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.0.u64(..total.max(1));
        choices.iter().find_map(|(weight, choice)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it.then_some(*choice)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_weights_are_kept() {
        let numbers = |seed, number| {
            let mut chance = Chance::new(seed, number);
            [chance.number(), chance.number(), chance.number()]
        };
        assert_eq!(numbers(7, 1), numbers(7, 1));
        assert_ne!(numbers(7, 1), numbers(7, 2));
        assert_ne!(numbers(7, 1), numbers(8, 1));
        let mut chance = Chance::new(1, 1);
        let choices = [(1, 'a'), (0, 'b'), (3, 'c')];
        let drawn: Vec<char> = (0..4000).filter_map(|_| chance.weighted(&choices)).collect();
        let count = |letter| drawn.iter().filter(|it| **it == letter).count();
        assert_eq!((drawn.len(), count('b')), (4000, 0));
        assert!((800..1200).contains(&count('a')), "{}", count('a'));
    }
}
