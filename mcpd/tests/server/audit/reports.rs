//! Reports of failovers: taken once, from everybody with a token, and never believed more than that.

use super::{PROBE, entries, of, sound_trail, wait_for};
use crate::cases::{CHAT, LIMIT, error_of};
use fakes::{Mcpd, Postgres, Response, required, wait_until};
use mcp_api::{FailoverReceipt, paths};
use serde_json::{Value, json};
use std::{collections::BTreeSet, thread};

fn report(id: u32) -> Value {
    json!({
        "id": format!("{id:032x}"), "at": "2026-01-02T03:04:05.678Z", "llm": "chat", "reason": "http_502",
        "provider": "laptop", "providerType": "openai", "model": "Qwen/Qwen3-8B", "outcome": "complete",
        "durationMs": 1234, "requestId": "r-1",
    })
}

fn send(mcpd: &Mcpd, token: &str, reports: &[Value]) -> Response {
    mcpd.api("POST", paths::FAILOVER_REPORTS, token, &json!({"reports": reports}))
}

fn accepted(answer: &Response) -> Vec<String> {
    answer.json::<FailoverReceipt>().accepted
}

#[test]
fn a_report_is_written_once_however_often_and_by_however_many_it_is_sent() {
    let mcpd = Mcpd::start();
    let dana = mcpd.user_with("dana", &[]);
    let reports: Vec<_> = (0..10).map(report).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let answer = send(&mcpd, &dana, &reports).expect_success("a report");
                assert_eq!(accepted(&answer).len(), 10, "what was taken before is taken again");
            });
        }
    });
    let written = entries(&mcpd, "event=failover");
    let ids: BTreeSet<_> = written.iter().map(|it| it.detail.as_ref().unwrap().get().to_owned()).collect();
    assert_eq!((written.len(), ids.len()), (10, 10));
    assert_eq!(of(&written[0]), ["failover", "dana", "-", "-", "chat", "-"]);
    let detail: Value = serde_json::from_str(written[0].detail.as_ref().unwrap().get()).unwrap();
    assert_eq!((&detail["durationMs"], &detail["reason"]), (&json!(1234), &json!("http_502")));
    // Another's report of the same id is another report.
    let rob = mcpd.user_with("rob", &[]);
    assert_eq!(accepted(&send(&mcpd, &rob, &reports[..1])).len(), 1);
    wait_for(&mcpd, "event=failover&user=rob", 1);
    sound_trail(&mcpd);
}

#[test]
fn a_report_that_cannot_be_taken_is_named_and_holds_up_no_other() {
    let mcpd = Mcpd::start();
    let dana = mcpd.user_with("dana", &[]);
    let mut odd = report(1);
    odd["outcome"] = json!("=cmd|'/c calc'!A1");
    let answer = send(&mcpd, &dana, &[odd, report(2)]).expect_success("the other one");
    let receipt: FailoverReceipt = answer.json();
    assert_eq!((receipt.accepted.len(), receipt.rejected[0].field.as_str()), (1, "outcome"));
    assert_eq!(entries(&mcpd, "event=failover").len(), 1);
    let many: Vec<_> = (0..101).map(report).collect();
    assert_eq!(error_of(&send(&mcpd, &dana, &many)).0, 422);
    assert_eq!(entries(&mcpd, "event=failover").len(), 1);
}

#[test]
fn a_report_that_was_permitted_to_somebody_else_is_not_taken() {
    let mcpd = Mcpd::start();
    let (dana, ana) = (mcpd.user_with("dana", &[]), mcpd.user_with("ana", &[]));
    let later = mcpd.token_for("dana");
    let id = |token: &str| token.split('_').nth(1).unwrap().to_owned();
    let of_token = |number: u32, id: &str| {
        let mut report = report(number);
        report["tokenId"] = json!(id);
        report
    };
    // It makes no difference to others whether there is such a token.
    let sent = [of_token(1, &id(&dana)), of_token(2, "0123456789abcdef"), of_token(3, &id(&ana)), report(4)];
    let receipt: FailoverReceipt = send(&mcpd, &ana, &sent).expect_success("her own").json();
    let rejected: Vec<_> = receipt.rejected.iter().map(|it| (&it.id[31..], it.field.as_str())).collect();
    assert_eq!(rejected, [("1", "tokenId"), ("2", "tokenId")]);
    assert_eq!((receipt.accepted.len(), entries(&mcpd, "event=failover").len()), (2, 2));
    // Her own token is good for it, also after it was revoked.
    let revoked = mcpd.api("DELETE", &paths::token(&id(&dana)), mcpd.admin_token(), &json!({}));
    let _revoked = revoked.expect_success("revoking");
    assert_eq!(accepted(&send(&mcpd, &later, &sent[..1])).len(), 1);
    let written = entries(&mcpd, "event=failover&user=dana");
    let detail: Value = serde_json::from_str(written[0].detail.as_ref().unwrap().get()).unwrap();
    assert_eq!((&detail["tokenId"], written.len()), (&json!(id(&dana)), 1));
    assert_eq!(written[0].token_id, Some(id(&later)));
    sound_trail(&mcpd);
}

/// Another server is just taking the same report down, and is slow.
#[test]
fn d08_a_report_that_has_to_wait_holds_up_no_request() {
    use sqlx::{Connection, Executor};
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let mcpd = Mcpd::builder().on(&postgres).arg("--audit").arg("required").start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", &[]);
    let reports = [report(1)];
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = || runtime.block_on(sqlx::AnyConnection::connect(&mcpd.database_url())).unwrap();
    let (mut slow, mut watching) = (connect(), connect());
    let mut run = |statement: &'static str| runtime.block_on(slow.execute(statement)).unwrap();
    run("BEGIN");
    run("INSERT INTO failover_reports (subject_kind, subject_name, id) \
         VALUES ('User', 'dana', '00000000000000000000000000000001')");
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(&mcpd, &dana, &reports));
        wait_until(LIMIT, "a report that waits", || {
            let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            let waiting: i64 =
                runtime.block_on(sqlx::query_scalar(waiting).fetch_one(&mut watching)).unwrap();
            waiting == 1
        });
        assert_eq!(mcpd.request("HEAD", CHAT, Some(mcpd.admin_token()), &PROBE, b"").status, 200);
        assert!(!sending.is_finished(), "the probe waited for somebody's report");
        run("ROLLBACK");
        assert_eq!(accepted(&sending.join().unwrap()).len(), 1);
    });
    assert_eq!(entries(&mcpd, "event=failover").len(), 1);
    sound_trail(&mcpd);
}
