//! A limit for what has none of its own.

use std::{sync::mpsc, thread, time::Duration};

/// What a piece of work gives, unless it takes too long: a name server, a network disk or a dialogue may never answer.
/// What is given up goes on in its thread, and ends with the program.
pub fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().spawn(move || tell.send(work())).ok()?;
    told.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_never_ends_is_given_up() {
        assert_eq!(within(Duration::from_secs(30), || 1), Some(1));
        let (held, never) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(50), move || never.recv().is_ok()), None);
        drop(held);
    }
}
