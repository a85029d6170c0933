//! What names mean, asked of the system's resolver: each name once at a time, whoever waits for it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// As many names are looked up at a time. Each holds a thread until the system's resolver has an answer or none.
const NAMES_MAX: usize = 32;

/// How a name is looked up. Blocks.
type Resolver = fn(&str) -> io::Result<Vec<IpAddr>>;
/// What was found, once it is known.
type Found = Option<Result<Vec<IpAddr>, Arc<io::Error>>>;

/// Looks names up. Nothing is kept once it was told.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Resolver,
    under_way: Mutex<HashMap<String, watch::Receiver<Found>>>,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Failed(Arc<io::Error>),
    #[error("the resolver is at {NAMES_MAX} other names already")]
    Crowded,
    #[error("the look-up was given up")]
    GivenUp,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }
}

impl Lookups {
    fn by(resolver: Resolver) -> Self {
        Self { resolver, under_way: Mutex::default() }
    }

    /// The addresses of a name. Waits as long as the resolver does: bounding that is the caller's.
    pub(crate) async fn find(self: &Arc<Self>, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut under_way = self.join(name)?;
        let found = under_way.wait_for(Option::is_some).await.map_err(|_| LookupError::GivenUp)?;
        found.clone().ok_or(LookupError::GivenUp)?.map_err(LookupError::Failed)
    }

    /// Waits with the others who asked for this name; the first one has it looked up.
    fn join(self: &Arc<Self>, name: &str) -> Result<watch::Receiver<Found>, LookupError> {
        let mut names = self.names();
        if let Some(under_way) = names.get(name) {
            return Ok(under_way.clone());
        }
        if names.len() >= NAMES_MAX {
            return Err(LookupError::Crowded);
        }
        let (tell, told) = watch::channel(None);
        names.insert(name.to_owned(), told.clone());
        let entry = Entry { lookups: Arc::clone(self), name: name.to_owned() };
        tokio::task::spawn_blocking(move || {
            let found = (entry.lookups.resolver)(&entry.name).map_err(Arc::new);
            // Whoever asks from now on asks anew.
            drop(entry);
            tell.send_replace(Some(found));
        });
        Ok(told)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Found>>> {
        // No line here leaves the names in another state than they should be in.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is being looked up, for as long as the thread is at it: also when nobody waits any more.
#[derive(Debug)]
struct Entry {
    lookups: Arc<Lookups>,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.lookups.names().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Condvar,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::time::timeout;

    static ANSWERS: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    /// Has the silent name server answer, however the test ends: its threads are waited for.
    struct Answering;

    impl Drop for Answering {
        fn drop(&mut self) {
            *ANSWERS.0.lock().unwrap() = true;
            ANSWERS.1.notify_all();
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it plays a resolver, and those can fail")]
    fn half_silent(name: &str) -> io::Result<Vec<IpAddr>> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        if name.contains("dead") {
            let silent = ANSWERS.0.lock().unwrap();
            drop(ANSWERS.1.wait_while(silent, |answers| !*answers).unwrap());
        }
        Ok(vec![IpAddr::from([192, 0, 2, 1])])
    }

    #[tokio::test]
    async fn a_name_whose_server_is_silent_holds_up_no_other_name() {
        let answering = Answering;
        let lookups = Arc::new(Lookups::by(half_silent));
        let patience = Duration::from_millis(200);
        let waiters = (0..2 * NAMES_MAX).map(|_| timeout(patience, lookups.find("chat.dead")));
        let ends = futures_util::future::join_all(waiters).await;
        assert!(ends.iter().all(Result::is_err), "it is silent");
        assert_eq!(ASKED.load(Ordering::SeqCst), 1, "all of them wait for one");
        let other = timeout(Duration::from_secs(10), lookups.find("chat.alive")).await;
        assert_eq!(other.unwrap().unwrap(), [IpAddr::from([192, 0, 2, 1])]);
        // Also many silent names take no more than so many threads, and nobody waits for one of those.
        for number in 1..NAMES_MAX {
            assert!(
                timeout(Duration::from_millis(1), lookups.find(&format!("dead-{number}"))).await.is_err()
            );
        }
        let crowded = timeout(Duration::from_secs(10), lookups.find("chat.alive")).await;
        assert!(matches!(crowded, Ok(Err(LookupError::Crowded))), "{crowded:?}");
        // What waited is told, and nothing is left.
        let waits = lookups.find("chat.dead");
        drop(answering);
        assert!(waits.await.is_ok());
        timeout(Duration::from_secs(10), async {
            while !lookups.names().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert!(lookups.find("chat.alive").await.is_ok());
    }
}
