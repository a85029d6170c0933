//! The one type for tokens and keys. It cannot print itself: not by `Debug`, not by `Display`, not by serde.

use std::fmt;

/// A bearer token or an API key.
///
/// `Debug` shows `(redacted)`; there is no `Display` and no `Serialize`, so a secret reaches a log, an error or a
/// document only through [`Secret::expose`], which is easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value. The caller has checked that it is non-empty and fit for a header where that matters.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Gives the value, to be put into one header or one hash function.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k03_a_secret_does_not_print_itself() {
        let secret = Secret::new("mcpd_canary");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(redacted) Some((redacted))");
    }
}
