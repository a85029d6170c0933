//! The version of one thing, by which a client says which state its change is meant for.

use http::HeaderValue;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A strong entity tag: the same text for the same description, on every replica and after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// The version of what an administrator can say about a thing. Times and ids are no part of it, so that a change
    /// that changes nothing keeps the version.
    pub(crate) fn of(description: &impl Serialize) -> Self {
        // Wire types of our own always serialise, their fields in one order.
        let canonical = serde_json::to_vec(description).unwrap_or_default();
        Self(mcp_api::hex(&Sha256::digest(canonical)[..16]))
    }

    /// As it stands in the header `ETag`.
    pub(crate) fn header(&self) -> HeaderValue {
        // Hexadecimal digits in quotation marks are always a value of a header.
        HeaderValue::try_from(format!("\"{}\"", self.0)).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// Says whether this is what stands between the quotation marks.
    pub(crate) fn is(&self, opaque: &str) -> bool {
        self.0 == opaque
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_api::LlmSpec;

    fn tag(json: &str) -> ETag {
        ETag::of(&serde_json::from_str::<LlmSpec>(json).unwrap())
    }

    /// A version that changes with the program would refuse everybody's next change during an upgrade.
    #[test]
    fn a_version_is_the_same_in_every_program_and_for_every_order_of_fields() {
        let one = tag(r#"{"name": "chat", "type": "openai", "url": "http://a/v1", "model": "m"}"#);
        let other = tag(
            r#"{"model": "m", "labels": {}, "enabled": true, "failover": "allowed", "url": "http://a/v1",
                "type": "openai", "name": "chat"}"#,
        );
        assert_eq!(one, other);
        assert_eq!(one.header(), "\"d31e37cfd4d77320c50ff8e14300f1ac\"");
        let two_labels = [r#"{"a": "1", "b": "2"}"#, r#"{"b": "2", "a": "1"}"#].map(|labels| {
            tag(&format!(
                r#"{{"name": "chat", "type": "openai", "url": "http://a/v1", "model": "m", "labels": {labels}}}"#
            ))
        });
        assert!(two_labels[0] == two_labels[1] && two_labels[0] != one);
    }
}
