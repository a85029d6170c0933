//! `POST /api/v1/failover-reports`: clients say afterwards what a local provider answered in this server's place.
//!
//! It is their word: what is kept of it says who said so. A report that is sent again is taken again and written once.

use crate::{
    app::App,
    body::Document,
    caller::Caller,
    login::Login,
    problem::Problem,
    store::{Fact, NotWritten},
    terms::NoTerms,
};
use axum::{Json, extract::State};
use jiff::Timestamp;
use mcp_api::{
    AuditEvent, FailoverReceipt, FailoverReport, FailoverReports, LlmId, LlmKey,
    failover_report::{Outcome, REPORTS_MAX, Rejected, TOKEN_ID},
};
use serde_json::{json, value::to_raw_value};
use std::sync::Arc;

/// The longest text of a report, in bytes.
const TEXT_MAX: usize = 200;

/// Any valid token will do.
pub(crate) async fn take(
    State(app): State<Arc<App>>,
    caller: Caller,
    _: NoTerms,
    Document(sent): Document<FailoverReports>,
) -> Result<Json<FailoverReceipt>, Problem> {
    if sent.reports.len() > REPORTS_MAX {
        return Err(Problem::Invalid(format!("More than {REPORTS_MAX} reports at once.")));
    }
    let mut receipt = FailoverReceipt::default();
    let mut taken = Vec::new();
    for report in &sent.reports {
        match fault(report).or_else(|| (!is_callers(&caller, report)).then_some(TOKEN_ID)) {
            None => {
                receipt.accepted.push(report.id.clone());
                taken.push((report.id.clone(), fact(&caller, report)));
            }
            Some(field) => receipt
                .rejected
                .push(Rejected { id: report.id.chars().take(TEXT_MAX).collect(), field: field.to_owned() }),
        }
    }
    if !taken.is_empty() {
        app.store.ledger().report(caller.subject(), taken).await?;
    }
    Ok(Json(receipt))
}

fn fact(caller: &Caller, report: &FailoverReport) -> Fact {
    let detail = json!({
        "id": report.id,
        "at": report.at,
        "reason": report.reason,
        "provider": report.provider,
        "providerType": report.provider_type,
        "model": report.model,
        "outcome": report.outcome,
        "durationMs": report.duration_ms,
        "tokenId": report.token_id,
    });
    Fact {
        who: Some(caller.who()),
        llm: Some(report.llm.clone()),
        llm_id: report.llm_id.clone(),
        request_id: Some(report.request_id.clone()),
        // A value of our own always serialises.
        detail: to_raw_value(&detail).ok(),
        ..Fact::new(AuditEvent::Failover, caller.now())
    }
}

/// Says whether it was permitted with a token of the caller's, and not with one of somebody else who uses the same home.
/// It makes no difference whether there is such a token, and whether it is still valid. Tokens of ours have always been
/// named; of one that is not, nobody could say that it is the caller's JWT.
fn is_callers(caller: &Caller, report: &FailoverReport) -> bool {
    match (&report.token_id, caller.login()) {
        (Some(id), login) => login.may_report_for(id, caller.snapshot()),
        (None, Login::Token(_)) => true,
        (None, Login::Assertion(_)) => false,
    }
}

/// The field that cannot be taken, if there is one.
fn fault(report: &FailoverReport) -> Option<&'static str> {
    let is_id = report.id.len() == 32 && report.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_llm_id = report.llm_id.as_ref().is_none_or(|id| id.parse::<LlmId>().is_ok());
    let is_model = report.model.as_ref().is_none_or(|model| is_text(model));
    [
        ("id", is_id),
        ("at", report.at.parse::<Timestamp>().is_ok() && is_text(&report.at)),
        ("llm", report.llm.parse::<LlmKey>().is_ok()),
        ("llmId", is_llm_id),
        ("reason", is_word(&report.reason)),
        ("provider", is_word(&report.provider)),
        ("providerType", is_word(&report.provider_type)),
        ("model", is_model),
        ("outcome", Outcome::from_word(&report.outcome).is_some()),
        ("requestId", is_word(&report.request_id)),
        (TOKEN_ID, report.token_id.as_ref().is_none_or(|id| is_token_id(id))),
    ]
    .into_iter()
    .find_map(|(field, fits)| (!fits).then_some(field))
}

/// The id of a token of ours, or what names one of an issuer: two words with a colon between them.
fn is_token_id(text: &str) -> bool {
    text.len() <= 128
        && text.split_once(':').map_or_else(|| is_word(text), |(issuer, id)| is_word(issuer) && is_word(id))
}

/// `[A-Za-z0-9._-]{1,128}`
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl From<NotWritten> for Problem {
    fn from(error: NotWritten) -> Self {
        match error {
            NotWritten::Failed(error) => error.into(),
            NotWritten::Uncertain(_) => Self::Uncertain,
            NotWritten::Busy => Self::Database,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FailoverReport {
        FailoverReport {
            id: "0".repeat(32),
            at: "2026-01-02T03:04:05.678Z".into(),
            llm: "chat".into(),
            llm_id: None,
            reason: "http_502".into(),
            provider: "laptop".into(),
            provider_type: "openai".into(),
            model: Some("Qwen/Qwen3-8B".into()),
            outcome: "complete".into(),
            duration_ms: 5,
            request_id: "r-1".into(),
            token_id: None,
        }
    }

    /// Changes one field of a report.
    type Twist = fn(&mut FailoverReport);

    #[test]
    fn every_field_is_looked_at() {
        assert_eq!(fault(&report()), None);
        let twists: [(&str, Twist); 14] = [
            ("id", |it| it.id = "A".repeat(32)),
            ("at", |it| it.at = "now".into()),
            ("llm", |it| it.llm = "No such name".into()),
            ("llmId", |it| it.llm_id = Some("x".into())),
            ("reason", |it| it.reason = "a\nb".into()),
            ("provider", |it| it.provider = String::new()),
            ("providerType", |it| it.provider_type = "=cmd".into()),
            ("model", |it| it.model = Some("x".repeat(201))),
            ("outcome", |it| it.outcome = "fine".into()),
            ("requestId", |it| it.request_id = "a b".into()),
            ("tokenId", |it| it.token_id = Some(String::new())),
            ("tokenId", |it| it.token_id = Some("ci:\u{1b}[2J".into())),
            ("tokenId", |it| it.token_id = Some("ci:a:b".into())),
            ("tokenId", |it| it.token_id = Some(format!("ci:{}", "a".repeat(1 << 10)))),
        ];
        for (field, twist) in twists {
            let mut twisted = report();
            twist(&mut twisted);
            assert_eq!(fault(&twisted), Some(field));
        }
    }
}
