//! Logins that failed, by address and by token. Whoever fails too often is told so, with 429 in place of 401; nobody who
//! shows a valid token is ever kept out by what others do.

use super::rates::Rates;
use crate::{problem::Problem, sabotage};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// As many addresses, and as many tokens, are counted at the same time.
const ROOM: usize = 10_000;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Peer {
    /// What one customer of a provider has: a whole address, or a network of 64 bits.
    fn home(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        }
    }
}

/// The logins that failed within the last minute.
#[derive(Debug)]
pub(crate) struct Attempts {
    by_peer: Rates<IpAddr>,
    by_token: Rates<String>,
    per_peer: NonZeroU32,
    per_token: NonZeroU32,
}

impl Attempts {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            by_peer: Rates::new(ROOM),
            by_token: Rates::new(ROOM),
            per_peer: per_minute,
            per_token: NonZeroU32::new(per_minute.get() / 6).unwrap_or(NonZeroU32::MIN),
        }
    }

    /// What is said to somebody whose login has failed. The token's id is the one that was shown, whether or not there is
    /// such a token: nothing is told by it.
    pub(crate) fn failed(&self, peer: Option<Peer>, token_id: Option<&str>) -> Problem {
        let of_peer = peer.and_then(|peer| self.by_peer.take(&peer.home(), self.per_peer).err());
        let of_token = token_id.and_then(|id| self.by_token.take(&id.to_owned(), self.per_token).err());
        let wait: Option<Duration> = of_peer.max(of_token).filter(|_| !sabotage::GUESS_FOR_EVER);
        wait.map_or(Problem::Unauthenticated, Problem::TooManyLogins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(attempts: &Attempts, peer: &str, token: &str) -> bool {
        let problem = attempts.failed(Some(Peer(peer.parse().unwrap())), Some(token));
        matches!(problem, Problem::TooManyLogins(_))
    }

    #[test]
    fn a06_an_address_and_a_token_each_have_their_own_limit() {
        let attempts = Attempts::new(NonZeroU32::new(12).unwrap());
        assert!(!failed(&attempts, "192.0.2.1", "a") && !failed(&attempts, "192.0.2.2", "a"));
        assert!(failed(&attempts, "192.0.2.3", "a"), "two of one token, wherever they come from");
        let refused = (0..12).filter(|n| failed(&attempts, "192.0.2.9", &n.to_string())).count();
        assert_eq!(refused, 0);
        assert!(failed(&attempts, "192.0.2.9", "new"));
        assert!(
            !failed(&attempts, "192.0.2.10", "new"),
            "another address, and the first failure of the token counted"
        );
    }

    #[test]
    fn a06_whoever_has_a_network_has_one_limit() {
        let peer = |text: &str| Peer(text.parse().unwrap()).home();
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
