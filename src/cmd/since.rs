//! A moment in the past, as people say it.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// `24h`, `7d`: so long ago; `2026-01-31`: the beginning of that day in UTC; or a time as it is. A day has 24 hours.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || "give a time such as 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z".to_owned();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if text.len() == DATE_LENGTH
        && let Ok(date) = text.parse::<Date>()
    {
        return date.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| wrong());
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let ago = match days {
        Some(days) => SignedDuration::from_hours(i64::from(days) * 24),
        None => text.parse().map_err(|_| wrong())?,
    };
    if ago.is_negative() {
        return Err(wrong());
    }
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

/// Of `2026-01-31`: a time without its zone begins with a date too, and would be read as midnight.
const DATE_LENGTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_date_or_so_long_ago() {
        let at = |text: &str| time(text).map(|time| time.to_string());
        assert_eq!(at("2026-01-31").unwrap(), "2026-01-31T00:00:00Z");
        assert_eq!(at("2026-01-31T12:00:00+02:00").unwrap(), "2026-01-31T10:00:00Z");
        for (text, hours) in [("24h", 24), ("7d", 168), ("90m", 1)] {
            let read = time(text).unwrap();
            assert_eq!(Timestamp::now().duration_since(read).as_hours(), hours, "{text}");
        }
        for wrong in
            ["", "-1h", "7", "yesterday", "2026-13-01", "2026-01-31T12:00:00", "99999999999d", "4294967295d"]
        {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
