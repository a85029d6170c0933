//! What somebody is called here whom an issuer calls something else. No two claims give one name, and no name of one
//! issuer is one of another.

use mcp_api::{NameError, SubjectKind, SubjectName};

/// Stands before two hexadecimal digits, in place of a byte that a name cannot have.
const ESCAPE: char = '+';

/// Writes the name of a claim's value: the prefix, and after it the value. Each byte that a name cannot have is written
/// as `+` and two hexadecimal digits, and so are `+` itself and a dot after a dot, so that two values never give one
/// name. What does not fit into a name has none.
pub(super) fn name(prefix: &str, value: &str) -> Result<SubjectName, NameError> {
    if value.is_empty() {
        return Err(NameError::Empty);
    }
    let mut name = prefix.to_owned();
    for byte in value.bytes() {
        let plain = match byte {
            b'.' => !name.ends_with('.'),
            b'_' | b'@' | b'-' => true,
            other => other.is_ascii_alphanumeric(),
        };
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("{ESCAPE}{byte:02X}"));
        }
    }
    name.parse()
}

/// All names of one kind that begin with a prefix, but for those that begin with a longer one of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) kind: SubjectKind,
    pub(super) prefix: String,
}

impl Space {
    /// Says whether a name of this space belongs to another one: `spaces` are all there are.
    pub(super) fn loses(&self, name: &SubjectName, spaces: &[Self]) -> bool {
        let name = name.as_str();
        spaces.iter().any(|other| {
            other.kind == self.kind
                && other.prefix.len() > self.prefix.len()
                && name.starts_with(&*other.prefix)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = name;
        while let Some(first) = rest.chars().next() {
            let (byte, len) = match first {
                ESCAPE => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
                plain => (u8::try_from(plain).unwrap(), 1),
            };
            bytes.push(byte);
            rest = &rest[len..];
        }
        bytes
    }

    #[test]
    fn a_name_can_be_read() {
        let named = |prefix, value| name(prefix, value).unwrap().to_string();
        assert_eq!(named("github.", "octo-org/octo-repo"), "github.octo-org+2Focto-repo");
        assert_eq!(named("k8s.", "team-a:trainer"), "k8s.team-a+3Atrainer");
        assert_eq!(named("", "dana@example.com"), "dana@example.com");
        assert_eq!(named("x.", ".a..b+c"), "x.+2Ea.+2Eb+2Bc");
        assert_eq!(named("x.", "ä"), "x.+C3+A4");
    }

    #[test]
    fn what_does_not_fit_has_no_name() {
        assert_eq!(name("x.", ""), Err(NameError::Empty));
        assert_eq!(name("", ""), Err(NameError::Empty));
        assert!(name("", "/a").is_err() && name("", "-a").is_err());
        assert!(name("x.", &"a".repeat(127)).is_err() && name("x.", &"/".repeat(43)).is_err());
        assert!(name("x.", &"a".repeat(126)).is_ok());
    }

    #[test]
    fn a_name_belongs_to_the_longest_prefix_of_its_kind() {
        let space = |kind, prefix: &str| Space { kind, prefix: prefix.to_owned() };
        let spaces = [
            space(SubjectKind::User, ""),
            space(SubjectKind::User, "ci."),
            space(SubjectKind::ServiceAccount, "ci.prod."),
        ];
        let of = |name: &str| name.parse().unwrap();
        assert!(spaces[0].loses(&of("ci.x"), &spaces) && !spaces[0].loses(&of("dana"), &spaces));
        assert!(!spaces[1].loses(&of("ci.prod.x"), &spaces), "another kind is another space");
        assert!(!spaces[2].loses(&of("ci.prod.x"), &spaces));
    }

    proptest! {
        #[test]
        fn no_two_values_give_one_name(value in "[a-z.+:/@A-F0-9_ä-]{1,20}") {
            if let Ok(name) = name("x.", &value) {
                prop_assert_eq!(decoded(&name.as_str()[2..]), value.into_bytes());
            }
        }
    }
}
