//! `ETag` and `If-Match`: a change is made to what its author has seen, or not at all.

use super::{Thing, done, epoch, etag, send, send_as, things};
use crate::cases::error_of;
use fakes::Mcpd;
use mcp_api::paths;
use serde_json::{Value, json};
use std::{sync::Barrier, thread};

#[test]
fn every_answer_about_one_thing_has_its_version() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, other } in things() {
        let created = send(&mcpd, "POST", all, &body, None);
        assert_eq!(created.status, 201, "{}", created.text());
        let first = etag(&created);
        assert!(first.len() == 34 && first.starts_with('"') && first.ends_with('"'), "{first}");
        assert_eq!(etag(&send(&mcpd, "GET", one, &Value::Null, None)), first, "{one}");
        let changed = send(&mcpd, "PUT", one, &other, None);
        assert_eq!(changed.status, 200, "{}", changed.text());
        let second = etag(&changed);
        assert_ne!(first, second, "{one}");
        assert_eq!(etag(&send(&mcpd, "GET", one, &Value::Null, None)), second, "{one}");
        // As it was before: the version is of what is said, not of how often it was said.
        assert_eq!(etag(&send(&mcpd, "PUT", one, &body, None)), first, "{one}");
    }
    let head = send(&mcpd, "HEAD", "/api/v1/llms/thing", &Value::Null, None);
    let labelled = send(&mcpd, "PATCH", "/api/v1/llms/thing", &json!({"labels": {"a": "b"}}), None);
    assert_ne!(etag(&head), etag(&labelled));
    assert_eq!(labelled.json::<Value>()["labels"], json!({"a": "b"}));
}

#[test]
fn a_change_that_is_meant_for_another_version_is_refused_and_changes_nothing() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, other } in things() {
        let old = etag(&send(&mcpd, "POST", all, &body, None));
        let new = etag(&send(&mcpd, "PUT", one, &other, Some(&old)).expect_success(one));
        let before = epoch(&mcpd);
        for stale in [&*old, "\"0\"", "\"\"", "W/\"x\"", &format!("W/{new}"), &format!("{old}, \"x\"")] {
            for method in ["PUT", "DELETE"] {
                let refused = send(&mcpd, method, one, &body, Some(stale));
                let wanted = (412, "precondition_failed".into(), "gateway".into());
                assert_eq!(error_of(&refused), wanted, "{method} {one} {stale}");
            }
        }
        for malformed in ["x", "", "\"x", "\"a\" \"b\"", "*, \"a\""] {
            assert_eq!(send(&mcpd, "PUT", one, &body, Some(malformed)).status, 400, "{one} {malformed:?}");
        }
        assert_eq!(epoch(&mcpd), before, "{one}");
        assert_eq!(etag(&send(&mcpd, "GET", one, &Value::Null, None)), new, "{one}");
        // What fits: one of several, and anything.
        done(&mcpd, "PUT", one, &body, Some(&format!("\"x\", {new}")));
        done(&mcpd, "PUT", one, &other, Some("*"));
        done(&mcpd, "DELETE", one, &Value::Null, Some(&new));
        assert_eq!(send(&mcpd, "PUT", one, &body, Some("*")).status, 404, "{one}");
        // What is not there has no version that could be the expected one.
        assert_eq!(send(&mcpd, "POST", all, &body, Some("*")).status, 412, "{one}");
        // A later kind may mention this one.
        done(&mcpd, "POST", all, &body, None);
    }
}

#[test]
fn a_patch_has_versions_too() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("thing", "http://127.0.0.1:9/v1");
    let one = "/api/v1/llms/thing";
    let off = json!({"enabled": false});
    assert_eq!(send(&mcpd, "PATCH", one, &off, Some("\"x\"")).status, 412);
    let tag = etag(&send(&mcpd, "GET", one, &Value::Null, None));
    assert_eq!(send(&mcpd, "PATCH", one, &off, Some(&tag)).status, 200);
    assert_eq!(send(&mcpd, "PATCH", one, &off, Some(&tag)).status, 412);
}

/// A condition that cannot be met or missed is refused, not passed over.
#[test]
fn what_has_no_versions_takes_no_condition() {
    let mcpd = Mcpd::start();
    let token = mcpd.user_with("dana", &[]);
    let one = format!("{}/{}", paths::TOKENS, token.split('_').nth(1).unwrap());
    let new = json!({"subject": {"kind": "User", "name": "dana"}});
    let before = epoch(&mcpd);
    for if_match in ["\"x\"", "*", "x"] {
        assert_eq!(send(&mcpd, "DELETE", &one, &Value::Null, Some(if_match)).status, 422, "{if_match}");
        assert_eq!(send(&mcpd, "POST", paths::TOKENS, &new, Some(if_match)).status, 422, "{if_match}");
        let reports = json!({"reports": []});
        let answer = send(&mcpd, "POST", paths::FAILOVER_REPORTS, &reports, Some(if_match));
        assert_eq!(answer.status, 422, "{if_match}");
    }
    assert_eq!(epoch(&mcpd), before);
    assert_eq!(mcpd.request("GET", paths::WHOAMI, Some(&token), &[], b"").status, 200);
}

#[test]
fn what_is_so_already_is_not_written() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, .. } in things() {
        let created = send(&mcpd, "POST", all, &body, None).expect_success(one);
        let (before, shown) = (epoch(&mcpd), send(&mcpd, "GET", one, &Value::Null, None).text());
        let again = send(&mcpd, "PUT", one, &body, None);
        assert_eq!((again.status, etag(&again)), (200, etag(&created)), "{one}");
        assert_eq!(epoch(&mcpd), before, "{one}: something was written");
        assert_eq!(send(&mcpd, "GET", one, &Value::Null, None).text(), shown, "{one}");
    }
    let before = epoch(&mcpd);
    done(&mcpd, "PATCH", "/api/v1/llms/thing", &json!({"model": "m"}), None);
    // The members of a group are a set.
    let admin = json!({"kind": "User", "name": "admin"});
    let twice = json!({"kind": "Group", "name": "thing", "members": [admin, admin]});
    done(&mcpd, "PUT", "/api/v1/users/group/thing", &twice, None);
    assert_eq!(epoch(&mcpd), before);
}

#[test]
fn of_two_who_change_the_same_at_once_one_is_told() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, .. } in things() {
        let tag = etag(&send(&mcpd, "POST", all, &body, None).expect_success(one));
        let (started, appliers) = (Barrier::new(4), 0..4);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let one_of_them = |number: i32| {
                let (mut mine, mcpd, started, tag) = (body.clone(), &mcpd, &started, &tag);
                mine["labels"] = json!({"by": number.to_string()});
                move || {
                    started.wait();
                    send(mcpd, "PUT", one, &mine, Some(tag)).status
                }
            };
            let threads: Vec<_> = appliers.map(|number| scope.spawn(one_of_them(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let count = |status| statuses.iter().filter(|it| **it == status).count();
        assert_eq!((count(200), count(412)), (1, 3), "{one}: {statuses:?}");
    }
}

#[test]
fn a02_without_the_right_a_version_tells_nothing() {
    let mcpd = Mcpd::start();
    let nobody = mcpd.user_with("nobody", &[]);
    for Thing { all, one, body, other } in things() {
        let tag = etag(&send(&mcpd, "POST", all, &body, None).expect_success(one));
        for (method, path) in [("PUT", one), ("DELETE", one), ("POST", all)] {
            for path in [path.to_owned(), format!("{path}?dryRun=server")] {
                let seen = |if_match| {
                    let answer = send_as(&mcpd, &nobody, method, &path, &other, if_match);
                    assert!(answer.header("etag").is_none() && answer.header("mcpd-dry-run").is_none());
                    let error: Value = answer.json();
                    (answer.status, error["error"]["message"].clone(), error["error"]["code"].clone())
                };
                let plain = seen(None);
                assert_eq!(plain.0, 403, "{method} {path}");
                for if_match in [&*tag, "\"x\"", "*"] {
                    assert_eq!(seen(Some(if_match)), plain, "{method} {path} {if_match}");
                }
            }
        }
    }
}
