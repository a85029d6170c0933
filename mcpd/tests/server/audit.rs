//! The audit trail: what stands in it, who may read it, and what becomes of it when the database does not take it.

mod check;
mod faults;
mod replicas;
mod reports;

use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, endless, error_of, probe, prompt, user};
use fakes::{Canary, Engine, Evild, Mcpd, Step, wait_until, wire};
use mcp_api::{
    AuditEntry, AuditHead, AuditPage, LlmPatch, SubjectKind,
    audit::{Chain, Flaw},
    paths,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// All entries that a query finds, page by page.
pub(crate) fn entries(mcpd: &Mcpd, query: &str) -> Vec<AuditEntry> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("{}?{query}&after={after}", paths::AUDIT);
        let answer = mcpd.request("GET", &path, Some(mcpd.admin_token()), &[], b"").expect_success(&path);
        let page: AuditPage = answer.json();
        all.extend(page.items);
        let Some(next) = page.next else { return all };
        assert!(next > after, "the same page twice");
        after = next;
    }
}

/// The entries that a query finds, once there are as many: those of probes and inferences come a moment later.
pub(crate) fn wait_for(mcpd: &Mcpd, query: &str, count: usize) -> Vec<AuditEntry> {
    wait_until(LIMIT, "the entries", || entries(mcpd, query).len() >= count);
    let found = entries(mcpd, query);
    assert_eq!(found.len(), count, "{query}: {found:#?}");
    found
}

pub(crate) fn flaws(trail: &[AuditEntry]) -> Vec<Flaw> {
    let mut chain = Chain::whole();
    trail.iter().flat_map(|entry| chain.take(entry)).collect()
}

/// The whole trail, with no flaw and with the end that the server says it has.
pub(crate) fn sound_trail(mcpd: &Mcpd) -> Vec<AuditEntry> {
    let trail = entries(mcpd, "limit=100");
    assert_eq!(flaws(&trail), []);
    let head: AuditHead = mcpd.request("GET", paths::AUDIT_HEAD, Some(mcpd.admin_token()), &[], b"").json();
    assert_eq!(trail.last().map(AuditEntry::head), Some(head));
    trail
}

fn of(entry: &AuditEntry) -> [&str; 6] {
    let text = |field: &'_ Option<String>| -> &'static str { field.clone().unwrap_or("-".into()).leak() };
    [
        entry.event.clone().leak(),
        entry.subject.as_ref().map_or("-", |subject| subject.name.clone().leak()),
        text(&entry.verb),
        text(&entry.object),
        text(&entry.llm),
        text(&entry.verdict),
    ]
}

#[test]
fn a_server_that_keeps_only_refused_prompts_has_entries_for_these_for_probes_and_for_what_is_cut() {
    let engine = Engine::start();
    let mcpd =
        Mcpd::builder().arg("--audit-inference").arg("refused").arg("--stream-recheck").arg("1s").start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.create_llm("other", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(mcpd.api("POST", INFER, &dana, &prompt(json!({}))).status, 200);
    assert_eq!(mcpd.api("POST", "/api/v1/llms/other/infer", &dana, &prompt(json!({}))).status, 403);
    assert_eq!(probe(&mcpd, CHAT, &dana).status, 200);
    let found = wait_for(&mcpd, "user=dana", 2);
    assert_eq!(of(&found[0]), ["inference", "dana", "run", "-", "other", "denied"]);
    assert_eq!(of(&found[1]), ["probe", "dana", "run", "-", "chat", "allowed"]);

    let body = endless().to_string();
    let mut exchange = mcpd.open("POST", INFER, Some(&dana), &[], body.as_bytes()).unwrap();
    exchange.read_until("tock");
    mcpd.delete_binding("dana");
    let cut = wait_for(&mcpd, "event=cut", 1);
    assert_eq!(of(&cut[0]), ["cut", "dana", "run", "-", "chat", "denied"]);
    assert_eq!(entries(&mcpd, "user=dana").len(), 3, "still no prompt that was allowed");
    sound_trail(&mcpd);
}

#[test]
fn every_probe_and_inference_has_an_entry_with_its_verdict_and_its_binding() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &engine.url()).id;
    mcpd.create_llm("off", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    mcpd.grant("off", "dana", &[("view", "llms", Some("off")), ("run", "llms", Some("off"))]);
    mcpd.patch_llm("off", &LlmPatch { enabled: Some(false), ..LlmPatch::default() });
    let ask = |path: &str, token: &str, id: &str| {
        let body = prompt(json!({})).to_string();
        mcpd.request("POST", path, Some(token), &[("x-request-id", id)], body.as_bytes()).status
    };
    assert_eq!(probe(&mcpd, CHAT, &dana).status, 200);
    assert_eq!(ask(INFER, &dana, "run-1"), 200);
    assert_eq!(ask(&format!("/api/v1/llms/{id}/infer"), &dana, "run-2"), 200);
    assert_eq!(ask("/api/v1/llms/off/infer", &dana, "run-3"), 403);
    assert_eq!(ask("/api/v1/llms/other/infer", &dana, "run-4"), 403);
    assert_eq!(ask("/api/v1/llms/other/infer", mcpd.admin_token(), "run-5"), 404);
    assert_eq!(probe(&mcpd, "/api/v1/llms/other", &dana).status, 403);
    // Neither looking at it nor changing it is a probe.
    assert_eq!(mcpd.request("GET", CHAT, Some(&dana), &[], b"").status, 200);

    let inferences = wait_for(&mcpd, "event=inference", 5);
    let told: Vec<_> = inferences
        .iter()
        .map(|it| (of(it), it.request_id.as_deref().unwrap(), it.binding.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (["inference", "dana", "run", "-", "chat", "allowed"], "run-1", Some("dana")),
            (["inference", "dana", "run", "-", "chat", "allowed"], "run-2", Some("dana")),
            (["inference", "dana", "run", "-", "off", "disabled"], "run-3", Some("off")),
            (["inference", "dana", "run", "-", "other", "denied"], "run-4", None),
            (["inference", "admin", "run", "-", "other", "absent"], "run-5", None),
        ]
    );
    let first = &inferences[0];
    assert_eq!(first.llm_id.as_deref(), Some(id.as_str()));
    assert_eq!(first.token_id.as_deref(), dana.split('_').nth(1));
    assert_eq!(inferences[3].llm_id, None);
    let probes = wait_for(&mcpd, "event=probe", 2);
    assert_eq!(of(&probes[0]), ["probe", "dana", "run", "-", "chat", "allowed"]);
    assert_eq!(of(&probes[1]), ["probe", "dana", "run", "-", "other", "denied"]);
    sound_trail(&mcpd);
}

#[test]
fn every_change_has_an_entry_with_who_and_what() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    mcpd.create_user("dana");
    mcpd.create_subject(SubjectKind::Group, "team", &["dana"]);
    mcpd.grant("uses", "dana", USES_CHAT);
    let token = mcpd.token_for("dana");
    let second = mcpd.token_for("dana");
    mcpd.patch_llm("chat", &LlmPatch { model: Some("other".into()), ..LlmPatch::default() });
    mcpd.revoke_token(&token);
    mcpd.delete_user("dana");
    mcpd.delete_llm("chat");
    // What changes nothing is no change.
    mcpd.create_user("rob");
    let same = json!({"kind": "User", "name": "rob"});
    assert_eq!(mcpd.api("PUT", "/api/v1/users/user/rob", mcpd.admin_token(), &same).status, 200);
    let rehearsed = json!({"kind": "User", "name": "eve"});
    let path = format!("{}?dryRun=server", paths::SUBJECTS);
    assert_eq!(mcpd.api("POST", &path, mcpd.admin_token(), &rehearsed).status, 201);

    let trail = sound_trail(&mcpd);
    let token_object = |token: &str| format!("Token/{}", token.split('_').nth(1).unwrap());
    let (first, second) = (token_object(&token), token_object(&second));
    let done: Vec<_> = trail.iter().map(|it| (of(it)[1], of(it)[2], it.object.clone().unwrap())).collect();
    let bootstrap_token = token_object(mcpd.admin_token());
    let expected: Vec<(&str, &str, &str)> = vec![
        ("-", "create", "User/admin"),
        ("-", "create", "Rbac/bootstrap-admin"),
        ("-", "create", &bootstrap_token),
        ("admin", "create", "Llm/chat"),
        ("admin", "create", "User/dana"),
        ("admin", "create", "Group/team"),
        ("admin", "create", "Rbac/uses"),
        ("admin", "create", &first),
        ("admin", "create", &second),
        ("admin", "edit", "Llm/chat"),
        ("admin", "delete", &first),
        // With a user go its memberships and its tokens.
        ("admin", "edit", "Group/team"),
        ("admin", "delete", if first < second { &first } else { &second }),
        ("admin", "delete", if first < second { &second } else { &first }),
        ("admin", "delete", "User/dana"),
        ("admin", "delete", "Llm/chat"),
        ("admin", "create", "User/rob"),
    ];
    let done: Vec<_> = done.iter().map(|(who, verb, object)| (*who, *verb, object.as_str())).collect();
    assert_eq!(done, expected);
    let detail =
        |at: usize| -> Value { serde_json::from_str(trail[at].detail.as_ref().unwrap().get()).unwrap() };
    assert_eq!((&detail(9)["from"]["model"], &detail(9)["to"]["model"]), (&json!("tiny"), &json!("other")));
    assert_eq!(
        detail(6)["to"]["roleBindings"][1],
        json!({"role": "run", "resource": "llms", "name": "chat"})
    );
    let revoked = detail(10)["to"]["revokedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(revoked, trail[10].at.parse().unwrap());
    assert!(trail[3..].iter().all(|it| it.request_id.is_some() && it.token_id.is_some()));
    assert_eq!(trail[6].binding.as_deref(), Some("bootstrap-admin"));
}

#[test]
fn a11_a_stream_that_is_cut_has_an_entry() {
    let one = [wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat();
    let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(one), Step::Hang]]);
    let mcpd = Mcpd::builder().arg("--stream-recheck").arg("1s").start();
    mcpd.create_llm("chat", &upstream.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let body = prompt(json!({"stream": true})).to_string();
    let headers = [("x-request-id", "stream-1")];
    let mut exchange = mcpd.open("POST", INFER, Some(&dana), &headers, body.as_bytes()).unwrap();
    exchange.read_until("one");
    mcpd.delete_binding("dana");
    let last = exchange.finish().events().pop().unwrap();
    assert!(last.contains("revoked"), "{last}");
    let cut = wait_for(&mcpd, "event=cut", 1).remove(0);
    assert_eq!(of(&cut), ["cut", "dana", "run", "-", "chat", "denied"]);
    assert_eq!(
        (cut.request_id.as_deref(), cut.token_id.as_deref()),
        (Some("stream-1"), dana.split('_').nth(1))
    );
    // The entry of the inference itself may come later than that of the change; that of the cut may not.
    let trail = sound_trail(&mcpd);
    let taken_away = trail.iter().rposition(|it| it.object.as_deref() == Some("Rbac/dana")).unwrap();
    assert!(taken_away < trail.iter().position(|it| it.event == "cut").unwrap());
}

#[test]
fn a09_who_may_not_view_the_audit_trail_sees_nothing_of_it() {
    let mcpd = Mcpd::start();
    let all =
        |verb| [(verb, "llms", None), (verb, "rbac", None), (verb, "users", None), (verb, "tokens", None)];
    let mut grants: Vec<_> = ["view", "run", "create", "edit", "delete"].map(all).concat();
    grants.extend([("run", "audit", None), ("admin", "audit", Some("dana")), ("admin", "secrets", None)]);
    let dana = mcpd.user_with("dana", &grants);
    let auditor = mcpd.user_with("auditor", &[("view", "audit", None)]);
    for path in [paths::AUDIT.to_owned(), paths::AUDIT_HEAD.to_owned(), format!("{}?user=dana", paths::AUDIT)]
    {
        let refused = mcpd.request("GET", &path, Some(&dana), &[], b"");
        assert_eq!(error_of(&refused), (403, "forbidden".into(), "policy".into()), "{path}");
        // Before anybody looks at the words of the query.
        let odd = mcpd.request("GET", &format!("{}?odd=1", paths::AUDIT), Some(&dana), &[], b"");
        assert_eq!(odd.status, 403);
        assert_eq!(mcpd.request("GET", &path, Some(&auditor), &[], b"").status, 200, "{path}");
    }
}

#[test]
fn a03_what_is_looked_for_is_text_and_never_a_pattern() {
    let mcpd = Mcpd::start();
    mcpd.create_user("dana+x@example.com");
    let token = mcpd.token_for("dana+x@example.com");
    probe(&mcpd, CHAT, &token);
    wait_for(&mcpd, "user=dana%2Bx%40example.com", 1);
    let whole = entries(&mcpd, "limit=1").len();
    assert_eq!(whole, entries(&mcpd, "limit=1000").len());
    for nothing in
        ["user=%25", "user=dana_x%40example.com", "llm=%25", "user=%27%20OR%20%271%27%3D%271", "llm=ch_t"]
    {
        assert_eq!(entries(&mcpd, nothing).len(), 0, "{nothing}");
    }
    for odd in ["who=dana", "limit=many", "after=-1", "since=1", "event=%25", "user=", "user=a&user=b"] {
        let path = format!("{}?{odd}", paths::AUDIT);
        let answer = mcpd.request("GET", &path, Some(mcpd.admin_token()), &[], b"");
        assert_eq!(error_of(&answer), (422, "invalid".into(), "gateway".into()), "{odd}");
    }
    assert_eq!(entries(&mcpd, "until=2026-01-01T00:00:00Z").len(), 0);
    assert_eq!(entries(&mcpd, "since=2020-01-01T00:00:00Z").len(), whole);
    assert_eq!(entries(&mcpd, "llm=chat&event=probe&user=dana%2Bx%40example.com").len(), 1);
}

#[test]
fn k09_the_audit_trail_holds_no_prompt_no_token_and_no_key() {
    let mut canary = Canary::new();
    let (key, text) = (canary.secret("upstream-key"), canary.secret("prompt"));
    let engine = Engine::builder().key(&key).start();
    let mcpd = Mcpd::builder().env("UPSTREAM_KEY", &key).start();
    canary.watch("admin-token", mcpd.admin_token());
    let mut spec = Mcpd::llm_spec("chat", &engine.url());
    spec.api_key_ref = Some(mcp_api::ApiKeyRef::Env("UPSTREAM_KEY".into()));
    mcpd.create_llm_from(&spec);
    let token = mcpd.user_with("dana", USES_CHAT);
    canary.watch("user-token", &token);
    let question = json!({"messages": [{"role": "user", "content": text}]});
    assert_eq!(mcpd.api("POST", INFER, &token, &question).status, 200);
    wait_for(&mcpd, "event=inference", 1);
    let trail = serde_json::to_string(&sound_trail(&mcpd)).unwrap();
    assert!(trail.contains("UPSTREAM_KEY"), "the reference is there");
    canary.sweep(&[&mcpd.data_dir()], &[("trail", trail.as_bytes()), ("log", mcpd.logs().as_bytes())]);
}

#[test]
fn d11_what_was_decided_before_a_stop_is_written_and_after_a_crash_the_trail_goes_on() {
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let token = mcpd.token_of(user("admin"), None);
    for _ in 0..50 {
        assert_eq!(probe(&mcpd, CHAT, &token).status, 200);
    }
    mcpd.stop();
    mcpd.restart();
    assert_eq!(entries(&mcpd, "event=probe").len(), 50, "a stop lost entries");
    for round in 1..=5 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                // The last of them find nobody.
                scope.spawn(|| while mcpd.open("HEAD", CHAT, Some(&token), &PROBE, b"").is_ok() {});
            }
            wait_until(LIMIT, "entries", || entries(&mcpd, "event=probe").len() > 50 * round);
            mcpd.signal(Signal::KILL);
        });
        mcpd.wait();
        mcpd.restart();
        sound_trail(&mcpd);
    }
}

const PROBE: [(&str, &str); 1] = [("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff")];
