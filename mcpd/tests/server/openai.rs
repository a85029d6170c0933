//! `/v1/...`, byte by byte: what goes to an upstream, what comes back, and who is refused when.

mod streams;

use crate::{
    audit::wait_for,
    cases::{LIMIT, NONCE, USES_CHAT, error_of, log_line, prompt},
};
use fakes::{Engine, Evild, Exchange, Mcpd, Response, Step, wire};
use mcp_api::paths;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

const MODELS: &str = "/v1/models";
/// The paths whose body names an LLM, each with what its upstream is asked for.
const ASKS: [(&str, &str); 4] = [
    (paths::OPENAI_CHAT, "/base/chat/completions"),
    (paths::OPENAI_COMPLETIONS, "/base/completions"),
    (paths::OPENAI_EMBEDDINGS, "/base/embeddings"),
    (paths::OPENAI_RESPONSES, "/base/responses"),
];

fn ask(mcpd: &Mcpd, path: &str, token: &str, body: &Value) -> Response {
    mcpd.api("POST", path, token, body)
}

/// An upstream that answers everything with this document.
fn answering(document: &str) -> Evild {
    let answer = wire::http(200, &[("content-type", "application/json")], document);
    Evild::start([vec![Step::ReadRequest, Step::Send(answer)]])
}

#[test]
fn each_path_goes_to_its_own_and_not_a_byte_is_lost_on_either_way() {
    let upstream = answering(r#"{ "odd" : [1.0e2, 12345678901234567890123] }"#);
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &format!("{}/base", upstream.url())).id;
    let dana = mcpd.user_with("dana", USES_CHAT);
    // What old and new clients send: images, tools, schemas, names of people, numbers that no float can hold.
    let rest = r#""messages":[ {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]} ],"max_tokens":20,"user":"dana","stream_options":{"include_usage":true},"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto","response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"a":1.10}}},"seed":12345678901234567890123,"input":["a",[1,2]],"encoding_format":"base64","x_unheard_of":{"\u00e9":null}"#;
    for (number, (path, target)) in ASKS.into_iter().enumerate() {
        for name in ["chat", id.as_str()] {
            let body = format!(r#"{{ {rest} , "model" : "{name}" }}"#);
            let answer = mcpd.request("POST", path, Some(&dana), &[], body.as_bytes());
            assert_eq!(
                (answer.status, &*answer.text()),
                (200, r#"{ "odd" : [1.0e2, 12345678901234567890123] }"#)
            );
            let decision = answer.header("mcpd-decision").unwrap();
            assert!(
                decision.starts_with("allow; llm=chat; ") && decision.contains(id.as_str()),
                "{decision}"
            );
            assert_eq!(answer.header("mcpd-failover"), Some("allowed"));
        }
        for sent in &upstream.requests()[2 * number..] {
            assert_eq!((&*sent.method, &*sent.target), ("POST", target));
            assert_eq!(String::from_utf8_lossy(&sent.body), format!(r#"{{"model":"tiny",{rest}}}"#));
        }
    }
}

#[test]
fn x02_the_body_names_an_llm_and_nothing_else_of_the_target() {
    let (engine, elsewhere) = (Engine::start(), Engine::start());
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let token = mcpd.admin_token();
    for (path, _) in ASKS {
        for key in ["api_base", "base_url", "api_key", "url", "organization", "headers", "extra_headers"] {
            let answer = ask(&mcpd, path, token, &prompt(json!({"model": "chat", key: elsewhere.url()})));
            assert_eq!(error_of(&answer), (422, "invalid".into(), "gateway".into()), "{path} {key}");
            assert!(answer.text().contains(key));
        }
        for odd in [
            json!({}),
            json!({"model": null}),
            json!({"model": ["chat"]}),
            json!({"model": {"name": "chat"}}),
        ] {
            assert_eq!(error_of(&ask(&mcpd, path, token, &odd)).0, 422, "{path} {odd}");
        }
        for twice in [r#"{"model":"chat","model":"chat"}"#, r#"{"model":"chat","mod\u0065l":"other"}"#] {
            let answer = mcpd.request("POST", path, Some(token), &[], twice.as_bytes());
            assert_eq!(error_of(&answer).0, 422, "{path} {twice}");
        }
        // The upstream's own name, a path, a URL: no LLM can be called like that.
        for name in ["tiny2", "Qwen/Qwen3-8B", "../chat", "http://127.0.0.1/v1", "CHAT", " chat", ""] {
            let answer = ask(&mcpd, path, token, &json!({"model": name}));
            assert_eq!(error_of(&answer), (404, "not_found".into(), "gateway".into()), "{path} {name:?}");
        }
    }
    // Nor does the query, nor a header.
    let headers = [("x-model", "other"), ("host", "elsewhere"), ("x-forwarded-host", "elsewhere")];
    let body = prompt(json!({"model": "chat"})).to_string();
    let path = format!("{}?model=other&base_url={}", paths::OPENAI_CHAT, elsewhere.url());
    assert_eq!(mcpd.request("POST", &path, Some(token), &headers, body.as_bytes()).status, 200);
    assert_eq!((engine.requests(), engine.chats()[0].target.as_str()), (1, "/v1/chat/completions"));
    assert_eq!((engine.connections(), elsewhere.connections()), (1, 0));
}

#[test]
fn x03_of_what_sdks_say_about_themselves_the_upstream_hears_nothing() {
    let upstream = answering("{}");
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &format!("{}/base", upstream.url()));
    let headers = [
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("openai-beta", "assistants=v2"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("api-key", "mcpd_canary"),
        ("x-api-key", "mcpd_canary"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("via", "1.1 nginx"),
        ("http-referer", "https://chat.example"),
        ("x-title", "chat"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("idempotency-key", "k"),
        ("accept-encoding", "gzip, br"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("accept", "application/json"),
        ("x-request-id", "mine"),
        ("connection", "close, authorization, x-hop"),
        ("x-hop", "1"),
    ];
    let body = json!({"model": "chat"}).to_string();
    for (path, _) in ASKS {
        let answer = mcpd.request("POST", path, Some(mcpd.admin_token()), &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{path}");
    }
    for sent in upstream.requests() {
        let mut names: Vec<_> = sent.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        assert_eq!(names, ["accept", "content-length", "content-type", "host", "user-agent", "x-request-id"]);
        assert_eq!(
            (sent.header("accept"), sent.header("x-request-id")),
            (Some("application/json"), Some("mine"))
        );
    }
    for connection in 0..upstream.connections() {
        assert!(!String::from_utf8_lossy(&upstream.received(connection)).contains("mcpd_"));
    }
}

#[test]
fn x03_of_what_an_upstream_says_about_itself_the_caller_hears_nothing() {
    let headers = [
        ("content-type", "application/json"),
        ("set-cookie", "a=b"),
        ("openai-organization", "secret-org"),
        ("openai-processing-ms", "12"),
        ("x-ratelimit-remaining-tokens", "5"),
        ("x-request-id", "theirs"),
        ("x-should-retry", "true"),
        ("mcpd-decision", "allow; forged"),
        ("access-control-allow-origin", "*"),
        ("location", "http://evil/"),
    ];
    let upstream = Evild::answering(wire::http(200, &headers, "{}"));
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &upstream.url());
    for (path, _) in ASKS {
        let answer = ask(&mcpd, path, mcpd.admin_token(), &json!({"model": "chat"}));
        let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        let ours = ["cache-control", "connection", "content-length", "content-type", "date"];
        assert_eq!(
            names,
            [&ours[..], &["mcpd-decision", "mcpd-failover", "x-request-id"]].concat(),
            "{path}"
        );
        assert_ne!(answer.header("x-request-id"), Some("theirs"));
    }
}

/// All that a caller can see of an answer, but for the date.
fn seen(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    (answer.status, headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(), answer.text())
}

#[test]
fn a02_here_too_nobody_learns_what_exists() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &engine.url()).id;
    mcpd.create_llm("other", &engine.url());
    let absent_id = format!("c{}", "0".repeat(24));
    let callers = [
        mcpd.user_with("nothing", &[]),
        mcpd.user_with("another", &[("run", "llms", Some("other"))]),
        mcpd.user_with("viewer", &[("view", "llms", Some("other"))]),
    ];
    for caller in &callers {
        for (there, absent) in [("chat", "nope"), (id.as_str(), absent_id.as_str())] {
            for (path, _) in ASKS {
                let ask = |name: &str| {
                    let body = json!({"model": name}).to_string();
                    let headers = [("x-request-id", "same"), ("mcpd-probe", &*format!("run; nonce={NONCE}"))];
                    seen(&mcpd.request("POST", path, Some(caller), &headers, body.as_bytes()))
                };
                assert_eq!(ask(there), ask(absent), "{path}");
                assert_eq!(ask(there).0, 403, "{path}");
            }
            let show = |name: &str| {
                let path = format!("{MODELS}/{name}");
                seen(&mcpd.request("GET", &path, Some(caller), &[("x-request-id", "same")], b""))
            };
            assert_eq!(show(there), show(absent));
            assert_eq!(show(there).0, 403);
        }
    }
    // Who may view all of them is told, also without a right to run the one that they name.
    let sees_all = mcpd.user_with("ana", &[("view", "llms", None), ("run", "llms", Some("other"))]);
    for (path, _) in ASKS {
        assert_eq!(ask(&mcpd, path, &sees_all, &json!({"model": "nope"})).status, 404, "{path}");
        assert_eq!(ask(&mcpd, path, &sees_all, &json!({"model": "chat"})).status, 403, "{path}");
    }
    assert_eq!(engine.connections(), 0);
}

/// The head of a request with a body of so many bytes.
fn head(path: &str, token: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         x-request-id: slow-1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The status and the decision in answer to a head, of whose body not a byte is sent.
fn answer_to_head(mcpd: &Mcpd, path: &str, token: &str, length: usize) -> (u16, String) {
    let answer = Exchange::open(mcpd.addr(), head(path, token, length).as_bytes()).unwrap();
    (answer.status, answer.headers.first("mcpd-decision").unwrap_or("-").to_owned())
}

#[test]
fn a02_a_name_that_no_llm_can_have_is_answered_like_one_that_it_could_and_written_down() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let same = |name: &str| {
        let body = json!({"model": name}).to_string();
        let headers = [("x-request-id", "same")];
        seen(&mcpd.request("POST", paths::OPENAI_CHAT, Some(&dana), &headers, body.as_bytes()))
    };
    for odd in ["gpt 4", "Qwen/Qwen3-8B", "", "a\u{1b}[2J"] {
        assert_eq!(same(odd), same("nope"), "{odd:?}");
        assert_eq!(ask(&mcpd, paths::OPENAI_CHAT, mcpd.admin_token(), &json!({"model": odd})).status, 404);
    }
    let rows = wait_for(&mcpd, "user=dana&event=inference", 8);
    assert_eq!(rows.iter().filter(|row| row.llm.is_none()).count(), 4, "{rows:#?}");
    assert!(rows.iter().all(|row| row.verdict.as_deref() == Some("denied")), "{rows:#?}");
}

#[test]
fn x02_on_responses_nothing_is_asked_for_that_the_upstream_would_keep_or_run_for_all_callers() {
    let engine = answering("{}");
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let token = mcpd.admin_token();
    let with = |more: &str| format!(r#"{{"model":"chat",{more}}}"#);
    let send = |path: &str, more: &str| mcpd.request("POST", path, Some(token), &[], with(more).as_bytes());
    for (key, value) in [
        ("previous_response_id", r#""resp_1""#),
        ("conversation", r#"{"id":"conv_1"}"#),
        ("prompt", r#"{"id":"pmpt_1"}"#),
        ("background", "true"),
        ("store", "true"),
        ("store", "1"),
        ("tools", r#"[{"type":"function","name":"f"},{"type":"mcp","server_url":"http://a/"}]"#),
        ("tools", r#"[{"ty\u0070e":"file_search","vector_store_ids":["vs_1"]}]"#),
        ("tools", r#"[{"name":"f"}]"#),
        ("tools", r#"[{"type":"function","type":"mcp"}]"#),
        ("tools", r#"{"type":"mcp"}"#),
    ] {
        let answer = send(paths::OPENAI_RESPONSES, &format!("\"{key}\":{value}"));
        assert_eq!(error_of(&answer), (422, "invalid".into(), "gateway".into()), "{key} {value}");
        assert!(answer.text().contains(key), "{}", answer.text());
    }
    assert_eq!(engine.connections(), 0);
    for more in [
        r#""store":false,"background":false,"previous_response_id":null,"conversation":null,"prompt":null,"tools":null"#,
        r#""store":null,"tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"}],"tool_choice":"auto""#,
    ] {
        assert_eq!(send(paths::OPENAI_RESPONSES, more).status, 200, "{more}");
    }
    assert_eq!(send(paths::OPENAI_COMPLETIONS, r#""prompt":"hi""#).status, 200);
}

#[test]
fn x05_who_could_run_nothing_is_refused_before_the_body_is_read() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let nobody = mcpd.user_with("nobody", &[("view", "llms", None), ("run", "users", None)]);
    for (path, _) in ASKS {
        assert_eq!(answer_to_head(&mcpd, path, &nobody, 1000), (403, "deny".into()), "{path}");
        assert_eq!(answer_to_head(&mcpd, path, "mcpd_none", 1000).0, 401, "{path}");
        // Who is heard is heard to the limit of this server and no further.
        assert_eq!(answer_to_head(&mcpd, path, mcpd.admin_token(), (8 << 20) + 1).0, 413, "{path}");
    }
    let rows = wait_for(&mcpd, "user=nobody&event=inference", ASKS.len());
    assert!(
        rows.iter().all(|row| row.verdict.as_deref() == Some("denied") && row.llm.is_none()),
        "{rows:#?}"
    );
}

/// Sends a request in two parts, and does something in between: once the server has asked for the body, and so has let
/// this caller be heard.
fn answer_after(mcpd: &Mcpd, token: &str, meanwhile: impl FnOnce()) -> String {
    let body = json!({"model": "chat", "messages": []}).to_string();
    let head =
        head(paths::OPENAI_CHAT, token, body.len()).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let mut client = TcpStream::connect(mcpd.addr()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    meanwhile();
    // Who is refused meanwhile need not hear all of it.
    let _refused = client.write_all(body.as_bytes());
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a11_what_counts_is_the_right_when_the_prompt_has_arrived() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let run: &[fakes::Grant<'_>] = &[("run", "llms", None)];
    let answer = answer_after(&mcpd, &mcpd.user_with("granted", run), || {});
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let revoked = answer_after(&mcpd, &mcpd.user_with("revoked", run), || mcpd.delete_binding("revoked"));
    assert!(revoked.starts_with("HTTP/1.1 403"), "{revoked}");
    let deleted = answer_after(&mcpd, &mcpd.user_with("deleted", run), || mcpd.delete_user("deleted"));
    assert!(deleted.starts_with("HTTP/1.1 401"), "{deleted}");
    assert_eq!(engine.requests(), 1);
}

#[test]
fn d11_a_prompt_that_never_comes_does_not_keep_the_server_from_stopping() {
    let mut mcpd = Mcpd::builder().arg("--drain").arg("100ms").start();
    let token = mcpd.admin_token().to_owned();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let answer = answer_after(&mcpd, &token, || {
        mcpd.signal(Signal::TERM);
        fakes::wait_until(LIMIT, "the drain is over", || mcpd.logs().contains("slow-1"));
    });
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(mcpd.wait().success());
}

#[test]
fn models_are_what_one_may_view_and_use_in_the_shape_of_openai() {
    let mcpd = Mcpd::start();
    let spec =
        mcp_api::LlmSpec { context_length: Some(8192), ..Mcpd::llm_spec("chat", "http://127.0.0.1:9/v1") };
    let id = mcpd.create_llm_from(&spec).id;
    mcpd.create_llm("off", "http://127.0.0.1:9/v1");
    mcpd.create_llm("other", "http://127.0.0.1:9/v1");
    mcpd.patch_llm("off", &serde_json::from_value(json!({"enabled": false})).unwrap());
    let dana = mcpd.user_with("dana", &[("view", "llms", Some("chat")), ("view", "llms", Some("off"))]);
    let get = |path: &str, token: &str| mcpd.request("GET", path, Some(token), &[], b"");
    let list: Value = get(MODELS, &dana).expect_success("models").json();
    let created = list["data"][0]["created"].as_i64().unwrap();
    let model = json!({"id": "chat", "object": "model", "created": created, "owned_by": "mcpd", "max_model_len": 8192});
    assert_eq!(list, json!({"object": "list", "data": [model]}));
    assert!(created > 1_700_000_000);
    for key in ["chat", id.as_str()] {
        let one = get(&format!("{MODELS}/{key}"), &dana);
        assert_eq!(one.json::<Value>(), model);
        assert!(one.header("mcpd-decision").unwrap().starts_with("allow; llm=chat; "), "{one:?}");
    }
    let off = get(&format!("{MODELS}/off"), &dana);
    assert_eq!(error_of(&off), (403, "llm_disabled".into(), "policy".into()));
    let all: Value = get(MODELS, mcpd.admin_token()).json();
    let names: Vec<_> = all["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["chat", "other"]);
    assert_eq!(get(&format!("{MODELS}/Qwen%2FQwen3-8B"), mcpd.admin_token()).status, 404);
    // A probe is asked of the other path: this one never says a nonce again.
    let headers = [("mcpd-probe", &*format!("run; nonce={NONCE}"))];
    let probed = mcpd.request("GET", &format!("{MODELS}/chat"), Some(mcpd.admin_token()), &headers, b"");
    assert!(!probed.header("mcpd-decision").unwrap().contains("nonce"), "{probed:?}");
}

#[test]
fn an_upstream_without_an_endpoint_is_another_thing_than_no_llm() {
    let mcpd = Mcpd::start();
    for theirs in [404, 405, 501] {
        let upstream = Evild::answering(wire::json_answer(theirs, &json!({"detail": "Not Found"})));
        let name = format!("without-{theirs}");
        mcpd.create_llm(&name, &upstream.url());
        for (path, _) in &ASKS[1..] {
            let answer = ask(&mcpd, path, mcpd.admin_token(), &json!({"model": name}));
            assert_eq!(error_of(&answer), (501, "upstream_unsupported".into(), "upstream".into()), "{path}");
            assert_eq!(answer.header("x-should-retry"), Some("false"));
        }
        // Without chats it is no upstream.
        let chat = ask(&mcpd, paths::OPENAI_CHAT, mcpd.admin_token(), &json!({"model": name}));
        assert_eq!(error_of(&chat).1, "upstream_error");
    }
    for (path, _) in ASKS {
        let absent = ask(&mcpd, path, mcpd.admin_token(), &json!({"model": "nope"}));
        assert_eq!(error_of(&absent), (404, "not_found".into(), "gateway".into()), "{path}");
        assert_eq!(absent.header("x-should-retry"), None);
    }
}

#[test]
fn log_and_trail_say_who_asked_which_llm() {
    let upstream = answering("{}");
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &upstream.url()).id;
    let dana = mcpd.user_with("dana", USES_CHAT);
    for (number, (path, _)) in ASKS.into_iter().enumerate() {
        let request_id = format!("ask-{number}");
        let body = json!({"model": id}).to_string();
        mcpd.request("POST", path, Some(&dana), &[("x-request-id", &request_id)], body.as_bytes());
        let line = log_line(&mcpd, &request_id);
        assert_eq!(
            (&line["route"], &line["status"], &line["outcome"]),
            (&json!(path), &json!(200), &json!("done"))
        );
        assert_eq!((&line["user"], &line["binding"]), (&json!("User/dana"), &json!("dana")));
    }
    let rows = wait_for(&mcpd, "user=dana&event=inference", ASKS.len());
    for row in rows {
        assert_eq!((row.llm.as_deref(), row.verdict.as_deref()), (Some("chat"), Some("allowed")));
        assert_eq!((row.llm_id.as_deref(), row.binding.as_deref()), (Some(id.as_str()), Some("dana")));
    }
}
