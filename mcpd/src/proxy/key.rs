//! The upstream's key, read when it is needed and from where the LLM says. Never stored, never shown.

use crate::secret_file;
use mcp_api::{ApiKeyRef, Secret};
use std::path::Path;

/// No key has more bytes.
const KEY_MAX: u64 = 8 << 10;

/// Why there is no key. Says nothing of what was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("the file {0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0} does not hold one line of visible ASCII")]
    Odd(String),
}

/// Reads a key.
pub(crate) async fn read(reference: &ApiKeyRef) -> Result<Secret, KeyError> {
    let (source, text) = match reference {
        ApiKeyRef::Env(name) => {
            let value = std::env::var(name).map_err(|_| KeyError::Unset(name.clone()))?;
            (format!("the environment variable {name}"), value)
        }
        ApiKeyRef::File(path) => {
            let value = secret_file::read(Path::new(path), KEY_MAX).await;
            (format!("the file {path}"), value.map_err(|error| KeyError::Unreadable(path.clone(), error))?)
        }
    };
    let key = text.trim_end_matches(['\r', '\n']);
    let visible = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
    if visible { Ok(Secret::new(key)) } else { Err(KeyError::Odd(source)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_file(content: &[u8]) -> Result<Secret, KeyError> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        std::fs::write(&path, content).unwrap();
        read(&ApiKeyRef::File(path.to_str().unwrap().into())).await
    }

    #[tokio::test]
    async fn a_key_is_one_line() {
        assert_eq!(read_file(b"sk-1\n").await.unwrap().expose(), "sk-1");
        for odd in [&b""[..], b"\n", b"a b", b"a\nb", b"a\0", "ä".as_bytes()] {
            assert!(matches!(read_file(odd).await, Err(KeyError::Odd(_))), "{odd:?}");
        }
        assert!(matches!(read_file(b"\xff").await, Err(KeyError::Unreadable(..))));
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let error = read(&ApiKeyRef::Env("MCPD_TEST_NO_SUCH".into())).await.unwrap_err();
        assert!(error.to_string().contains("MCPD_TEST_NO_SUCH"));
        assert!(read(&ApiKeyRef::File("/dev".into())).await.is_err());
    }
}
