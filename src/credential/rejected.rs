//! What the server's 401 means: which token it was, and what to do about that one.

use super::Source;

impl Source {
    /// The token, as people know it.
    #[must_use]
    pub fn of_token(&self) -> String {
        match self {
            Self::Environment => "the token from MCPCTL_TOKEN".into(),
            Self::File(path) => format!("the token from {}", path.display()),
            Self::Stored(_) => "the stored token".into(),
            Self::Keyring => "the token from the keyring".into(),
            Self::Command => "the token from the tokenCommand of the context".into(),
            Self::Input => "this token".into(),
        }
    }

    /// That the server does not take it.
    #[must_use]
    pub fn rejected(&self) -> String {
        format!("the server does not accept {} (401)", self.of_token())
    }

    /// What to do if the server does not take it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Environment => {
                "tip: unset MCPCTL_TOKEN, or give it a token that is valid at this server".into()
            }
            Self::File(_) => {
                "tip: put a valid token into that file, or name no file (--token-file, MCPCTL_TOKEN_FILE)"
                    .into()
            }
            Self::Stored(_) => {
                "tip: get a new token, then: mcpctl auth login --token-stdin < token.txt".into()
            }
            Self::Keyring => {
                "tip: get a new token, then: mcpctl auth login --token-stdin --keyring < token.txt".into()
            }
            Self::Command => {
                "tip: run the command by hand and see what it prints: mcpctl config view shows it".into()
            }
            Self::Input => {
                "it is not whole, expired, revoked, or of another server: ask whoever runs it for a new one"
                    .into()
            }
        }
    }
}
