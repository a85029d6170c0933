//! What can be asked of an upstream, and under which path below its URL.

/// One of the paths of an OpenAI-compatible server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A chat completion.
    Chat,
}

impl Endpoint {
    /// Where it is, seen from the upstream's base URL.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
        }
    }

    /// Where it is at an upstream of this base URL.
    pub(super) fn of(self, url: &str) -> String {
        format!("{}{}", url.trim_end_matches('/'), self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_end_with_a_slash() {
        for url in ["http://a/v1", "http://a/v1/"] {
            assert_eq!(Endpoint::Chat.of(url), "http://a/v1/chat/completions");
        }
    }
}
