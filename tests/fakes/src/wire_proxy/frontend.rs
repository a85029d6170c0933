//! What a client of PostgreSQL sends, taken apart into its messages. Knows just enough of protocol version 3 for that.

use std::collections::HashMap;

/// The version in the first message of a session; other numbers there ask for encryption or for a cancel.
const SESSION: u32 = 3 << 16;
/// The length field counts itself.
const LENGTH: usize = 4;

/// The stream of one connection.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    pending: Vec<u8>,
    /// After its first message each one begins with a letter for its type.
    in_session: bool,
    statements: HashMap<String, String>,
}

/// One whole message.
#[derive(Debug)]
pub(super) struct Message {
    /// As it is to be passed on.
    pub(super) bytes: Vec<u8>,
    /// The text of the statement that it has executed, if it does: a simple query, or a prepared one with its values.
    pub(super) executes: Option<String>,
}

impl Frontend {
    /// Takes what has come and gives the messages that are whole by now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.pending.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Message> {
        let head = usize::from(self.in_session);
        let length = self.pending.get(head..head + LENGTH)?.try_into().map(u32::from_be_bytes).ok()?;
        let end = head + usize::try_from(length).expect("a length fits").max(LENGTH);
        if self.pending.len() < end {
            return None;
        }
        let rest = self.pending.split_off(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        let body = &bytes[head + LENGTH..];
        let executes = if self.in_session {
            self.executed(bytes[0], body)
        } else {
            self.in_session = body.starts_with(&SESSION.to_be_bytes());
            None
        };
        Some(Message { bytes, executes })
    }

    fn executed(&mut self, kind: u8, body: &[u8]) -> Option<String> {
        let mut words = body.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut word = || words.next().unwrap_or_default();
        match kind {
            b'Q' => Some(word()),
            // Parse: name, text.
            b'P' => {
                let (name, text) = (word(), word());
                self.statements.insert(name, text);
                None
            }
            // Bind: portal, name of the statement.
            b'B' => {
                let (_portal, name) = (word(), word());
                self.statements.get(&name).cloned()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(LENGTH + body.len()).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    fn startup(version: u32, rest: &[u8]) -> Vec<u8> {
        message(0, &[&version.to_be_bytes(), rest].concat())[1..].to_vec()
    }

    #[test]
    fn messages_are_found_however_the_bytes_come() {
        let parts = [
            startup(80_877_103, b""),
            startup(SESSION, b"user\0mcpd\0\0"),
            message(b'Q', b"BEGIN\0"),
            message(b'P', b"s1\0SELECT epoch FROM authz\0\0\0"),
            message(b'S', b""),
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
        ];
        let all = parts.concat();
        for size in [1, 3, 7, all.len()] {
            let mut frontend = Frontend::default();
            let found: Vec<Message> = all.chunks(size).flat_map(|bytes| frontend.take(bytes)).collect();
            let bytes: Vec<&[u8]> = found.iter().map(|message| &message.bytes[..]).collect();
            assert_eq!(bytes, parts.iter().map(|part| &part[..]).collect::<Vec<_>>());
            let executed: Vec<&str> = found.iter().filter_map(|m| m.executes.as_deref()).collect();
            assert_eq!(executed, ["BEGIN", "SELECT epoch FROM authz", "SELECT epoch FROM authz"]);
        }
    }
}
