//! Failovers in words for people, the same for those of this machine and for those that the server was told of.

/// What the server did instead of answering.
pub(super) fn reason(word: &str) -> String {
    match word {
        "refused" => "connection refused".into(),
        "reset" => "connection reset".into(),
        "cut" => "connection closed".into(),
        "dns" => "no address".into(),
        "network" => "network error".into(),
        "idle" => "silence".into(),
        other => match other.strip_prefix("http_") {
            Some(status) => format!("central {status}"),
            None => other.replace('_', " "),
        },
    }
}

/// How it ended. A report has another word for what went well than the journal.
pub(super) fn outcome(word: &str) -> String {
    match word {
        "complete" => "ok".into(),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Ended;
    use mcp_api::failover_report::Outcome;

    #[test]
    fn what_the_server_did_is_told_in_words() {
        let words = ["http_503", "refused", "connect_timeout", "no_content", "drill"].map(reason);
        assert_eq!(words, ["central 503", "connection refused", "connect timeout", "no content", "drill"]);
    }

    #[test]
    fn an_end_is_the_same_word_here_and_in_the_audit_trail() {
        for reported in [Outcome::Complete, Outcome::Incomplete, Outcome::Failed] {
            assert_eq!(outcome(reported.as_str()), outcome(Ended::from(reported).as_str()));
        }
        assert_eq!(outcome(Ended::NotReady.as_str()), "not ready");
    }
}
