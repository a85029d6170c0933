//! The keys of one issuer, as they were last seen. When to ask for them again is decided here, without I/O and with the
//! time as an argument; one question is under way at most.

use super::{
    fetch::{self, Fetched, NotFetched, Source},
    jwk::{Key, Keys},
    jwt::Algorithm,
    settings::KeySettings,
};
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

/// For how long keys count whose issuer does not say it.
const USUAL_AGE: Duration = Duration::from_mins(10);
/// And at least, whatever it says.
const AGE_MIN: Duration = Duration::from_mins(1);
/// How long a request waits for the keys: a probe has three seconds for everything.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKey {
    #[error("its issuer has no such key")]
    Unknown,
    #[error("its issuer's keys cannot be had just now")]
    Unavailable,
}

/// What was last seen, and when.
#[derive(Debug, Clone, Default)]
struct Seen {
    keys: Keys,
    /// When the keys were asked for that are here, and until when they count without being asked for again.
    got: Option<(Instant, Instant)>,
    /// When they were last asked for.
    tried: Option<Instant>,
    failed: bool,
}

/// What to do about a token.
#[derive(Debug, PartialEq, Eq)]
enum Next<'a> {
    Use(&'a Key),
    /// And ask meanwhile, without anybody waiting for it.
    UseAndAsk(&'a Key),
    Ask,
    Refuse(NoKey),
}

impl Seen {
    /// Fresh keys count, and are asked for again before they are too old. Nothing is asked for more often than is allowed.
    ///
    /// Keys that nobody has asked for in time are waited for, like an unknown one: it may be long ago that the issuer
    /// took one away. Once it is known not to answer, they go on counting for a while, and nobody waits any more.
    fn next(&self, algorithm: Algorithm, id: Option<&str>, now: Instant, settings: KeySettings) -> Next<'_> {
        let may_ask = self.tried.is_none_or(|tried| now >= tried + settings.min_refresh());
        let is_fresh = self.got.is_some_and(|(_, until)| now < until);
        let is_kept = self.got.is_some_and(|(got, _)| now < got + settings.keep());
        let is_aging = self.got.is_none_or(|(got, until)| now >= got + (until - got) * 3 / 4);
        match self.keys.find(algorithm, id) {
            Some(key) if is_fresh || is_kept && self.failed => {
                if is_aging && may_ask {
                    Next::UseAndAsk(key)
                } else {
                    Next::Use(key)
                }
            }
            _ if may_ask => Next::Ask,
            // Somebody is asking.
            Some(key) if is_kept => Next::Use(key),
            Some(_) => Next::Refuse(NoKey::Unavailable),
            None if self.failed => Next::Refuse(NoKey::Unavailable),
            None => Next::Refuse(NoKey::Unknown),
        }
    }

    fn after(&self, answer: Result<Fetched, NotFetched>, asked: Instant, settings: KeySettings) -> Self {
        match answer {
            Ok(Fetched { keys, max_age }) => {
                let age = max_age.unwrap_or(USUAL_AGE).max(AGE_MIN).min(settings.max_age());
                Self { keys, got: Some((asked, asked + age)), tried: Some(asked), failed: false }
            }
            Err(_) => Self { tried: Some(asked), failed: true, ..self.clone() },
        }
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keyring {
    issuer: String,
    source: Arc<Source>,
    settings: KeySettings,
    seen: Arc<ArcSwap<Seen>>,
    asking: Arc<Mutex<()>>,
    metrics: Arc<Metrics>,
}

impl Keyring {
    /// Asks for nothing yet.
    pub(super) fn new(issuer: &str, source: Source, settings: KeySettings, metrics: &Arc<Metrics>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            source: Arc::new(source),
            settings,
            seen: Arc::default(),
            asking: Arc::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// The key that a token says it is signed by, if the issuer has one.
    pub(super) async fn key(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Key, NoKey> {
        if let Some(decided) = self.decided(algorithm, id) {
            return decided;
        }
        let patience = Instant::now() + PATIENCE;
        let Ok(turn) = timeout_at(patience, Arc::clone(&self.asking).lock_owned()).await else {
            return self.undecided(algorithm, id);
        };
        // Somebody else has asked meanwhile.
        if let Some(decided) = self.decided(algorithm, id) {
            return decided;
        }
        // Goes on if the client hangs up, and if nobody has the patience any more: the next ones find it done. It fails
        // only if it panicked, and then there are no new keys.
        let _ = timeout_at(patience, self.ask(turn)).await;
        self.decided(algorithm, id).unwrap_or_else(|| self.undecided(algorithm, id))
    }

    /// What can be said without waiting.
    fn decided(&self, algorithm: Algorithm, id: Option<&str>) -> Option<Result<Key, NoKey>> {
        match self.seen.load().next(algorithm, id, Instant::now(), self.settings) {
            Next::Use(key) => Some(Ok(key.clone())),
            Next::UseAndAsk(key) => {
                if let Ok(turn) = Arc::clone(&self.asking).try_lock_owned() {
                    drop(self.ask(turn));
                }
                Some(Ok(key.clone()))
            }
            Next::Refuse(why) => Some(Err(why)),
            Next::Ask => None,
        }
    }

    /// What is said if there is no answer yet: what was seen before may still do, and does for the next ones at once.
    fn undecided(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Key, NoKey> {
        let now = Instant::now();
        let asked = self.seen.load();
        let silent = Arc::new(Seen { tried: Some(now), failed: true, ..Seen::clone(&asked) });
        // Not if there is an answer after all.
        self.seen.compare_and_swap(&asked, Arc::clone(&silent));
        match silent.next(algorithm, id, now, self.settings) {
            Next::Use(key) | Next::UseAndAsk(key) => Ok(key.clone()),
            Next::Refuse(why) => Err(why),
            Next::Ask => Err(NoKey::Unavailable),
        }
    }

    /// Asks the issuer. One question is under way at most: whose turn it is.
    fn ask(&self, turn: OwnedMutexGuard<()>) -> JoinHandle<()> {
        let (seen, source, settings) = (Arc::clone(&self.seen), Arc::clone(&self.source), self.settings);
        let (issuer, metrics) = (self.issuer.clone(), Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let asked = Instant::now();
            let answer = fetch::keys(&source).await;
            metrics.jwks_refreshes.count([&issuer, if answer.is_ok() { "ok" } else { "failed" }]);
            match &answer {
                Ok(fetched) => {
                    tracing::info!(issuer, keys = fetched.keys.len(), "the issuer's keys were read");
                }
                Err(error) => {
                    let error = crate::log::chain(error);
                    tracing::warn!(issuer, error, "the issuer's keys cannot be read");
                }
            }
            seen.store(Arc::new(seen.load().after(answer, asked, settings)));
            drop(turn);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    #[expect(clippy::unnecessary_wraps, reason = "it stands where an answer does")]
    fn fetched(id: &str, max_age: Option<u64>) -> Result<Fetched, NotFetched> {
        let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}"}}]}}"#);
        Ok(Fetched { keys: Keys::parse(set.as_bytes()).unwrap(), max_age: max_age.map(Duration::from_secs) })
    }

    fn settings() -> KeySettings {
        KeySettings::default()
    }

    fn told(seen: &Seen, id: &str, now: Instant) -> &'static str {
        match seen.next(Algorithm::EdDsa, Some(id), now, settings()) {
            Next::Use(_) => "use",
            Next::UseAndAsk(_) => "use and ask",
            Next::Ask => "ask",
            Next::Refuse(NoKey::Unknown) => "unknown",
            Next::Refuse(NoKey::Unavailable) => "unavailable",
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_unknown_key_is_asked_for_at_most_once_in_a_while() {
        let start = Instant::now();
        let none = Seen::default();
        assert_eq!(told(&none, "a", start), "ask");
        let seen = none.after(fetched("a", None), start, settings());
        assert_eq!((told(&seen, "a", start), told(&seen, "b", start)), ("use", "unknown"));
        assert_eq!(told(&seen, "b", start + secs(29)), "unknown");
        assert_eq!(told(&seen, "b", start + secs(30)), "ask");
    }

    #[test]
    fn keys_count_as_long_as_the_issuer_says_within_bounds() {
        let start = Instant::now();
        for (said, counts) in [(None, 600), (Some(0), 60), (Some(300), 300), (Some(u64::MAX / 4), 3600)] {
            let seen = Seen::default().after(fetched("a", said), start, settings());
            assert_eq!(told(&seen, "a", start + secs(counts * 3 / 4 - 1)), "use", "{said:?}");
            assert_eq!(told(&seen, "a", start + secs(counts - 1)), "use and ask", "{said:?}");
            assert_eq!(told(&seen, "a", start + secs(counts)), "ask", "{said:?}");
        }
    }

    #[test]
    fn keys_of_an_issuer_that_is_down_count_on_for_a_while_and_no_longer() {
        let start = Instant::now();
        let seen = Seen::default().after(fetched("a", None), start, settings());
        let later = start + secs(3600);
        let down = seen.after(Err(NotFetched::TooLong), later, settings());
        assert_eq!((told(&down, "a", later), told(&down, "b", later)), ("use", "unavailable"));
        let then = later + secs(30);
        assert_eq!((told(&down, "a", then), told(&down, "b", then)), ("use and ask", "ask"));
        let last = start + secs(6 * 3600);
        let down = down.after(Err(NotFetched::TooLong), last - secs(1), settings());
        assert_eq!((told(&down, "a", last - secs(1)), told(&down, "a", last)), ("use", "unavailable"));
        let never = Seen::default().after(Err(NotFetched::TooLong), start, settings());
        assert_eq!(told(&never, "a", start), "unavailable");
    }

    #[test]
    fn a_key_that_the_issuer_takes_away_is_gone_with_the_next_answer() {
        let start = Instant::now();
        let seen = Seen::default().after(fetched("a", None), start, settings());
        let rotated = seen.after(fetched("b", None), start + secs(600), settings());
        let now = start + secs(601);
        assert_eq!((told(&rotated, "a", now), told(&rotated, "b", now)), ("unknown", "use"));
    }
}
