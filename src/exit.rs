//! Exit codes: the one place that knows them. They are API, chosen by what the caller should do next.

use crate::{
    cmd::{Failure, Held, InferFailure, Usage},
    config::ConfigError,
    credential::CredentialError,
    engine::{EngineError, Unfit},
    failover::{CallFailure, Delivered, Fault, GaveUp, Why},
    gateway::GatewayError,
    journal::JournalError,
    providers_file::ProvidersError,
    yaml::Mistakes,
};

/// 128 and the number of a signal that nobody here catches.
const SIGNALS: &[(u8, &str, &str)] = &[
    (130, "interrupted", "Ctrl-C (SIGINT); it never becomes a failover"),
    (143, "ended", "told to end (SIGTERM); it never becomes a failover"),
];

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, whoever answered.
    Ok,
    /// A bug, or a failure that is none of the others.
    Internal,
    /// Bad flags, config or provider file; nothing was sent.
    Usage,
    /// The check worked and the answer is no.
    No,
    /// No credential, or the server rejects it.
    Login,
    /// The server says that the caller may not; nothing local was tried.
    Denied,
    /// Permission could not be checked, so nothing local was tried.
    Unverified,
    /// Permitted, but nothing could answer.
    Unavailable,
    /// Output began and was cut.
    Incomplete,
    /// The request itself is wrong.
    Rejected,
    /// Nobody reads standard output any more.
    OutputClosed,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: &'static [Self] = &[
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::No,
        Self::Login,
        Self::Denied,
        Self::Unverified,
        Self::Unavailable,
        Self::Incomplete,
        Self::Rejected,
        Self::OutputClosed,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::No => 3,
            Self::Login => 4,
            Self::Denied => 5,
            Self::Unverified => 6,
            Self::Unavailable => 7,
            Self::Incomplete => 8,
            Self::Rejected => 9,
            Self::OutputClosed => 141,
        }
    }

    /// The name, and what the caller should make of it.
    #[must_use]
    pub fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => ("ok", "done, whoever answered"),
            Self::Internal => ("internal", "a bug or an unclassified failure, such as a full disk"),
            Self::Usage => ("usage", "bad flags, config or provider file; nothing was sent"),
            Self::No => ("no", "the check worked and the answer is no (not ready, not allowed, drift)"),
            Self::Login => ("login", "no credential, or the server rejects it (401): log in"),
            Self::Denied => ("denied", "the server said no; nothing local was tried: ask for the right"),
            Self::Unverified => {
                ("unverified", "permission could not be checked, so it failed closed: try again")
            }
            Self::Unavailable => {
                ("unavailable", "permitted, but nothing could answer: try again, or declare a provider")
            }
            Self::Incomplete => (
                "incomplete",
                "output began and was cut, or is not what --strict or --schema asks for: do not use it",
            ),
            Self::Rejected => ("rejected", "the request itself is wrong (400, 404, 413, 422): change it"),
            Self::OutputClosed => ("closed", "nobody reads standard output any more (as by SIGPIPE)"),
        }
    }

    /// What callers see, in the order of the codes, each with its name and what to make of it: the codes of this
    /// program, and those that a shell gives for the signals that end it.
    pub fn table() -> Vec<(u8, &'static str, &'static str)> {
        let own = Self::ALL.iter().map(|exit| (exit.code(), exit.meaning().0, exit.meaning().1));
        let mut rows: Vec<_> = own.chain(SIGNALS.iter().copied()).collect();
        rows.sort_by_key(|row| row.0);
        rows
    }

    /// The exit for an error of a command.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<InferFailure>() {
                return failure.exit();
            }
            if let Some(Failure(failure)) = cause.downcast_ref() {
                return Self::of_failure(failure);
            }
            if let Some(error) = cause.downcast_ref::<CredentialError>() {
                return match error {
                    CredentialError::Missing(_)
                    | CredentialError::Command { .. }
                    | CredentialError::Keyring(_) => Self::Login,
                    CredentialError::File(_)
                    | CredentialError::NoProgram(_)
                    | CredentialError::NotRun { .. }
                    | CredentialError::NoKeyring
                    | CredentialError::Malformed(_)
                    | CredentialError::Empty(_)
                    | CredentialError::NoFolder => Self::Usage,
                };
            }
            if cause.is::<Usage>()
                || cause.is::<Held>()
                || cause.is::<ConfigError>()
                || cause.is::<ProvidersError>()
                || cause.is::<Mistakes>()
            {
                return Self::Usage;
            }
            if let Some(error) = cause.downcast_ref::<EngineError>() {
                return match error {
                    EngineError::Unfit(Unfit::NotManaged(_)) => Self::Usage,
                    EngineError::Unfit(_)
                    | EngineError::Place(_)
                    | EngineError::Failed { .. }
                    | EngineError::NotStarted { .. }
                    | EngineError::Dead { .. }
                    | EngineError::NoTime { .. }
                    | EngineError::Leftover(_)
                    | EngineError::Orphaned { .. }
                    | EngineError::Unreachable { .. }
                    | EngineError::Unheard { .. }
                    | EngineError::Elsewhere { .. }
                    | EngineError::StillRuns { .. } => Self::Unavailable,
                };
            }
            if let Some(JournalError::NoFolder) = cause.downcast_ref() {
                return Self::Usage;
            }
            if let Some(error) = cause.downcast_ref::<GatewayError>() {
                return match error {
                    GatewayError::CaFile(_) | GatewayError::Build(_) => Self::Usage,
                    GatewayError::Random(_) => Self::Internal,
                };
            }
            if cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
            {
                return Self::OutputClosed;
            }
        }
        Self::Internal
    }

    /// The exit when the primary failed and nothing took over.
    #[must_use]
    pub fn of_gave_up(gave_up: &GaveUp) -> Self {
        match gave_up.why {
            Why::Final => Self::of_failure(&gave_up.cause),
            Why::NoStandIn(_) => Self::Unavailable,
            Why::Denied(_) => Self::Denied,
            Why::Unverified(_) => Self::Unverified,
        }
    }

    /// The exit when a call failed and there was nothing else to try.
    #[must_use]
    pub fn of_failure(failure: &CallFailure) -> Self {
        match (&failure.fault, failure.delivered) {
            (Fault::OutputClosed, _) => Self::OutputClosed,
            (Fault::Output(_), _) => Self::Internal,
            (_, Delivered::Reasoning(_) | Delivered::Content(_)) => Self::Incomplete,
            (Fault::Status { status, .. }, _) => Self::of_status(*status),
            (Fault::ErrorEvent { code: Some(code @ 400..=499), .. }, _) => Self::of_status(*code),
            (
                Fault::NotAsked
                | Fault::Unreachable { .. }
                | Fault::NoContent(_)
                | Fault::ErrorEvent { .. }
                | Fault::Cut(_)
                | Fault::Idle(_)
                | Fault::Tls(_)
                | Fault::Unparsable(_)
                | Fault::Deadline(_),
                _,
            ) => Self::Unavailable,
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Login,
            403 => Self::Denied,
            402 | 429 => Self::Unavailable,
            400..=499 => Self::Rejected,
            _ => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::RemoteError;

    #[test]
    fn the_codes_are_the_promised_ones_and_distinct() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 141]);
    }

    #[test]
    fn p04_statuses_of_the_primary_have_the_codes_of_the_table() {
        for (status, code) in [
            (401, 4),
            (403, 5),
            (404, 9),
            (400, 9),
            (413, 9),
            (422, 9),
            (429, 7),
            (402, 7),
            (307, 7),
            (503, 7),
            (204, 7),
        ] {
            let fault = Fault::Status { status, error: RemoteError::default() };
            assert_eq!(Exit::of_failure(&CallFailure::before_content(fault)).code(), code, "{status}");
        }
    }
}
