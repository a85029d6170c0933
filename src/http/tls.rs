//! What is wrong with a peer's certificate, in words that say what to look at.
//!
//! A wrong clock makes every certificate look expired or not yet valid, so both times are told. Nothing is decided
//! here: a certificate that was refused stays refused.

use jiff::Timestamp;
use rustls::{
    CertificateError, Error,
    pki_types::{ServerName, UnixTime},
};

/// A certificate may be for hundreds of names.
const NAMES_MAX: usize = 3;

/// Puts an error of TLS into words.
pub(super) fn words(error: &Error) -> String {
    let Error::InvalidCertificate(why) = error else { return error.to_string() };
    match why {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("its certificate expired on {}, and {}", day(*not_after), clock(*time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("its certificate is valid from {} on, and {}", day(*not_before), clock(*time))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", names(presented), name(expected))
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that this machine does \
                                            not know (if it is your own, give the context its caFile)"
                .into()
        }
        _ => error.to_string(),
    }
}

fn clock(time: UnixTime) -> String {
    format!("this machine's clock says {}; if that is wrong, set the clock", day(time))
}

fn day(time: UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
    second.map_or_else(|| "a day beyond all calendars".into(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn name(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// The verifier gives names as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| match name.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    let shown: Vec<_> = presented.iter().take(NAMES_MAX).map(plain).collect();
    match presented.len() {
        0 => "no name".into(),
        all if all > NAMES_MAX => format!("{} and {} more names", shown.join(", "), all - NAMES_MAX),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn unix(text: &str) -> UnixTime {
        let at: Timestamp = text.parse().unwrap();
        UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().unsigned_abs()))
    }

    #[test]
    fn g08_a_certificate_out_of_its_time_hints_at_the_clock() {
        let (time, not_after) = (unix("2036-11-22T00:00:00Z"), unix("2027-01-01T00:00:00Z"));
        let expired = CertificateError::ExpiredContext { time, not_after };
        let text = words(&Error::InvalidCertificate(expired));
        assert_eq!(
            text,
            "its certificate expired on 2027-01-01, and this machine's clock says 2036-11-22; if that is wrong, set the clock"
        );
        let early = CertificateError::NotValidYetContext { time: not_after, not_before: time };
        let text = words(&Error::InvalidCertificate(early));
        assert!(
            text.contains("valid from 2036-11-22 on") && text.contains("clock says 2027-01-01"),
            "{text}"
        );
    }

    #[test]
    fn n02_a_certificate_for_other_names_is_told_by_a_few_of_them() {
        let expected = ServerName::try_from("mcpd.example.com").unwrap();
        let presented: Vec<_> = (0..9).map(|n| format!("DnsName(\"host{n}.example\")")).collect();
        let of = |presented: &[String]| {
            let (expected, presented) = (expected.to_owned(), presented.to_vec());
            words(&Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            }))
        };
        assert_eq!(of(&presented[..1]), "its certificate is for host0.example, not for mcpd.example.com");
        assert!(of(&presented).contains("host2.example and 6 more names, not for"), "{}", of(&presented));
        assert!(of(&[]).contains("for no name"));
    }
}
