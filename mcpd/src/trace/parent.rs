//! `traceparent`, as W3C's Trace Context has it: read, and written for the upstream.

use crate::ids;
use http::{HeaderMap, HeaderValue};

/// The header.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Where a request stands in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    /// 32 lower-case hexadecimal digits, the same for all spans of a trace.
    pub(crate) id: String,
    /// The span that this request is part of, if it came with one.
    pub(crate) parent: Option<String>,
    /// The span of this request; none if nobody collects it.
    pub(crate) span: Option<String>,
    is_sampled: bool,
}

impl Trace {
    /// The trace that a request belongs to; a new one, where spans are collected and it came without.
    pub(crate) fn of(headers: &HeaderMap, is_collected: bool) -> Option<Self> {
        let given = Self::given(headers);
        if !is_collected {
            return given;
        }
        // Without randomness there is no trace, and the request goes on.
        let span = ids::random_hex::<8>().ok()?;
        match given {
            Some(given) => Some(Self { span: Some(span), ..given }),
            None => Some(Self {
                id: ids::random_hex::<16>().ok()?,
                parent: None,
                span: Some(span),
                is_sampled: true,
            }),
        }
    }

    fn given(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        parse(value.to_str().ok()?)
    }

    /// Says whether its span is to be sent.
    pub(crate) fn is_sampled(&self) -> bool {
        self.is_sampled && self.span.is_some()
    }

    /// The header for the upstream: what it does is part of our span, or of the caller's.
    pub(crate) fn for_upstream(&self) -> Option<HeaderValue> {
        let span = self.span.as_ref().or(self.parent.as_ref())?;
        HeaderValue::try_from(format!("00-{}-{span}-{:02x}", self.id, u8::from(self.is_sampled))).ok()
    }
}

/// `00-<32 digits>-<16 digits>-<2 digits>`; later versions may have more behind that.
fn parse(text: &str) -> Option<Trace> {
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = hex(version, 2) && version != "ff" && hex(id, 32) && hex(parent, 16) && hex(flags, 2);
    let is_nothing = |text: &str| text.bytes().all(|byte| byte == b'0');
    if !fits || is_nothing(id) || is_nothing(parent) || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(Trace { id: id.to_owned(), parent: Some(parent.to_owned()), span: None, is_sampled })
}

fn hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_no_traceparent_is_none() {
        assert!(parse(GOOD).is_some_and(|trace| trace.is_sampled && trace.span.is_none()));
        assert!(parse(&GOOD.replace("-01", "-00")).is_some_and(|trace| !trace.is_sampled));
        assert!(parse(&format!("{}-more", GOOD.replacen("00", "01", 1))).is_some());
        for odd in [
            String::new(),
            GOOD.to_uppercase(),
            format!("{GOOD}-more"),
            format!(" {GOOD}"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("b7-", "-"),
        ] {
            assert_eq!(parse(&odd), None, "{odd}");
        }
    }

    #[test]
    fn where_nobody_collects_the_callers_own_span_goes_on() {
        let headers = [(http::HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(GOOD))];
        let headers = HeaderMap::from_iter(headers);
        assert_eq!(Trace::of(&headers, false).unwrap().for_upstream().unwrap(), GOOD);
        assert_eq!(Trace::of(&HeaderMap::new(), false), None);
        let ours = Trace::of(&headers, true).unwrap().for_upstream().unwrap();
        assert!(ours != GOOD && ours.to_str().unwrap().starts_with(&GOOD[..36]));
    }
}
