//! Times as people say them.

use std::time::Duration;

/// How long something took: `0.4 s`, `48 s`.
pub(super) fn took(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

/// The same for what may be over in no time: `31 ms`, `0.4 s`.
pub(super) fn took_precisely(time: Duration) -> String {
    if time < Duration::from_millis(100) { format!("{} ms", time.as_millis()) } else { took(time) }
}

/// How long something has lasted: `12s`, `5m`, `3h`, `2d`.
pub(super) fn lasted(time: Duration) -> String {
    in_units(time.as_secs(), |seconds, unit| seconds / unit)
}

/// How long it is until something: the same, but never too early.
pub(super) fn until(time: Duration) -> String {
    in_units(whole_seconds(time), u64::div_ceil)
}

/// Seconds, of which the last may not be a whole one.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Two of a unit are needed before it is used: `90s` says more than `1m`.
fn in_units(seconds: u64, divide: impl Fn(u64, u64) -> u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    match UNITS.iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, letter)) => format!("{}{letter}", divide(seconds, *unit)),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_what_is_to_come_is_never_told_too_early() {
        let millis = Duration::from_millis;
        assert_eq!([took(millis(349)), took(millis(9_960)), took(millis(48_400))], ["0.3 s", "10 s", "48 s"]);
        assert_eq!([31, 349].map(|time| took_precisely(millis(time))), ["31 ms", "0.3 s"]);
        let texts = [(999, "0s", "1s"), (119_000, "119s", "119s"), (899_500, "14m", "15m")];
        for (time, past, future) in texts {
            assert_eq!((lasted(millis(time)).as_str(), until(millis(time)).as_str()), (past, future));
        }
        assert_eq!(lasted(Duration::from_hours(2)), "2h");
        assert_eq!(until(Duration::from_hours(48)), "2d");
    }
}
