//! A PostgreSQL server that only follows another one may know old things. Nobody is let in on its word.

use super::uses;
use crate::cases::{LIMIT, USES_CHAT, error_of};
use fakes::{Engine, Mcpd, Postgres, WireProxy, required, wait_until};

#[test]
fn d08_a_standby_is_named_and_not_served_from() {
    let Some(primary) = Postgres::start() else { return required("PostgreSQL") };
    drop(Mcpd::builder().on(&primary).start());
    let standby = primary.replica();
    standby.catch_up_with(&primary);
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["bootstrap", "--admin", "eve"]] {
        let refused = Mcpd::builder().on_url(standby.url()).run(args);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{args:?}: {said}");
        assert!(said.contains("standby") && said.contains(&standby.addr().to_string()), "{args:?}: {said}");
        assert!(!said.contains(standby.password()));
    }
    let check = Mcpd::builder().on_url(standby.url()).run(&["check"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("BAD this PostgreSQL server only follows"));
}

#[test]
fn d08_a_revocation_that_a_standby_has_not_heard_of_holds() {
    let Some(primary) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(primary.addr());
    let engine = Engine::start();
    let mcpd = Mcpd::builder().on_url(primary.url_at(wire.addr(), "mcpd")).start();
    mcpd.create_llm("chat", &engine.url());
    let token = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(uses(&mcpd, "chat", &token, true), 200);

    let standby = primary.replica();
    standby.catch_up_with(&primary);
    standby.pause_replay();
    mcpd.delete_binding("dana");
    assert_eq!(
        standby.psql("SELECT count(*) FROM bindings WHERE name = 'dana'"),
        "1",
        "the standby is behind"
    );
    assert_eq!(uses(&mcpd, "chat", &token, true), 403);

    // Somebody turns the address to the standby: it would say yes.
    wire.lead_to(standby.addr());
    for really in [true, false] {
        assert_eq!(uses(&mcpd, "chat", &token, really), 503);
    }
    let ready = |mcpd: &Mcpd| mcpd.request("GET", "/readyz", None, &[], b"").status;
    assert_eq!(ready(&mcpd), 503, "a load balancer is to ask another one");
    let read = mcpd.api("GET", "/api/v1/llms", mcpd.admin_token(), &());
    assert_eq!(error_of(&read), (503, "database_unavailable".into(), "gateway".into()));
    wire.lead_to(primary.addr());
    wait_until(LIMIT, "it is at the primary again", || uses(&mcpd, "chat", mcpd.admin_token(), false) == 200);
    assert_eq!(ready(&mcpd), 200);
    assert_eq!(uses(&mcpd, "chat", &token, true), 403);
    assert_eq!(engine.requests(), 1, "the upstream has heard of one run only");
}
