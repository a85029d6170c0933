//! What `infer` can be told: tools, schemas, conversations, formats; and what it refuses before anything is sent.

use crate::{
    scripts::{answer, whole},
    shipped,
    support::{Client, PROMPT, Scripted, Stage, TEN_WORDS, assert_logged, says},
};
use assert_cmd::assert::Assert;
use fakes::{Evild, Fault, wire};
use predicates::prelude::*;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

impl Client {
    /// A file in the home.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.home().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn stdout(run: &Assert) -> String {
    String::from_utf8(run.get_output().stdout.clone()).unwrap()
}

/// The lines of `-o jsonl`, each one held against its schema.
fn lines(run: &Assert) -> Vec<Value> {
    stdout(run).lines().map(|line| shipped::checked(serde_json::from_str(line).unwrap())).collect()
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap_or_else(|| line["kind"].as_str().unwrap())).collect()
}

/// The server streams these events.
fn streaming(events: &[String]) -> Scripted {
    Scripted::new(Evild::start([whole(wire::sse_chunked(events))]))
}

/// The server answers with this text.
fn saying(text: &str) -> Scripted {
    streaming(&wire::answer(text))
}

const WEATHER: &str =
    r#"[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]"#;

fn call(arguments: &str) -> Vec<String> {
    let piece = |delta: Value| json!({ "choices": [{ "index": 0, "delta": delta }] }).to_string();
    let function = json!({ "name": "weather", "arguments": arguments });
    vec![
        piece(json!({ "tool_calls": [{ "index": 0, "id": "c1", "function": function }] })),
        wire::finish("tool_calls"),
        wire::DONE.to_owned(),
    ]
}

#[test]
fn tools_go_out_untouched_and_a_call_comes_back_as_a_line_of_json() {
    let scene = streaming(&call(r#"{"city": "Oslo"}"#));
    let tools = scene.dana.file("tools.json", WEATHER);
    let call = json!({ "id": "c1", "name": "weather", "arguments": "{\"city\": \"Oslo\"}" });
    let shown = scene.dana.infer(&["--tools", &tools]).code(0).stderr("");
    assert_eq!(serde_json::from_str::<Value>(&stdout(&shown)).unwrap(), call);
    assert_eq!(stdout(&shown).lines().count(), 1);
    let sent = scene.central.requests()[0].json();
    assert_eq!(sent["tools"], serde_json::from_str::<Value>(WEATHER).unwrap());
    let (code, document) = scene.dana.infer_json(&["--tools", &tools]);
    assert_eq!((code, &document["toolCalls"]), (0, &json!([call])));
    let events = lines(&scene.dana.infer(&["--tools", &tools, "-o", "jsonl"]).code(0));
    assert_eq!(types(&events), ["start", "answering", "toolCall", "attempt", "end"]);
    assert_eq!(events[2]["name"], "weather");
}

#[test]
fn tools_reach_a_permitted_provider_too() {
    let stage = Stage::new();
    stage.upstream.stop();
    let tools = stage.dana.file("tools.yaml", "- type: function\n  function: { name: weather }\n");
    stage.dana.infer(&["--tools", &tools]).code(0);
    let wanted = json!([{ "type": "function", "function": { "name": "weather" } }]);
    assert_eq!(stage.local.bodies()[0]["tools"], wanted);
}

#[test]
fn a_conversation_passes_through_untouched() {
    let stage = Stage::new();
    let conversation = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low" } },
        ] },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "look", "arguments": "{\"x\": 1.50}" } },
        ] },
        { "role": "tool", "tool_call_id": "c1", "content": "a crab 🦀" },
        { "role": "user", "name": "dana", "content": "And now?" },
    ]);
    let ascii = conversation.to_string().replace('🦀', r"\ud83e\udd80");
    let as_yaml = conversation.to_string().replace("}]", "}]\n");
    for (name, text) in [("m.json", conversation.to_string()), ("a.json", ascii), ("m.yaml", as_yaml)] {
        let path = stage.dana.file(name, text);
        let run = stage.dana.cmd(["infer", "chat-prod", "--messages", &path]).write_stdin("").assert();
        run.code(0).stdout(format!("{TEN_WORDS}\n"));
        assert_eq!(stage.upstream.bodies().pop().unwrap()["messages"], conversation, "{name}");
    }
    let piped = stage
        .dana
        .cmd(["infer", "chat-prod", "--messages", "-"])
        .write_stdin(conversation.to_string())
        .assert();
    piped.code(0);
    assert_eq!(stage.upstream.bodies().pop().unwrap()["messages"], conversation);
    let twice = stage.dana.cmd(["infer", "chat-prod", "-", "--messages", "-"]).write_stdin("[]").assert();
    twice.code(2).stderr(says("there is one stdin"));
    // What is asked besides comes after it.
    let path = stage.dana.file("m.json", json!([{ "role": "user", "content": "one" }]).to_string());
    stage.dana.infer(&["--messages", &path]).code(0);
    let sent = stage.upstream.bodies().pop().unwrap()["messages"].clone();
    assert_eq!(sent[1]["content"], PROMPT);
}

const LABEL: &str = r#"{"title": "Issue label", "type": "object", "required": ["label"],
    "properties": {"label": {"enum": ["bug", "feature"]}}, "additionalProperties": false}"#;

#[test]
fn an_answer_that_its_schema_lets_pass_is_an_answer() {
    let scene = saying(r#"{"label": "bug"}"#);
    let schema = scene.dana.file("label.json", LABEL);
    scene.dana.infer(&["--schema", &schema]).code(0).stdout("{\"label\": \"bug\"}\n").stderr("");
    scene.dana.infer(&["--schema", &schema, "-o", "raw"]).code(0).stdout("{\"label\": \"bug\"}").stderr("");
    let wanted = json!({ "type": "json_schema",
        "json_schema": { "name": "Issue-label", "schema": serde_json::from_str::<Value>(LABEL).unwrap() } });
    assert_eq!(scene.central.requests()[0].json()["response_format"], wanted);
    let (code, document) = scene.dana.infer_json(&["--schema", &schema]);
    assert_eq!((code, &document["content"]), (0, &"{\"label\": \"bug\"}".into()));
}

/// A program that reads stdout never sees what it did not ask for.
#[test]
fn an_answer_that_is_something_else_is_not_written() {
    for (text, why) in [
        (r#"{"label": "question"}"#, "at /label: \"question\" is not one of"),
        (r#"{"label": "bug", "why": "it crashes"}"#, "'why' was unexpected"),
        (r#"["bug"]"#, "is not of type \"object\""),
        ("It is a bug.", "the answer is no JSON"),
        ("```json\n{\"label\": \"bug\"}\n```", "the answer is no JSON"),
        ("", "the answer is no JSON"),
    ] {
        let scene = saying(text);
        let schema = scene.dana.file("label.json", LABEL);
        for format in ["text", "raw"] {
            let run = scene.dana.infer(&["--schema", &schema, "-o", format]);
            run.code(8).stdout("").stderr(says(why).and(says("it was not written")));
        }
        let (code, document) = scene.dana.infer_json(&["--schema", &schema]);
        assert_eq!((code, &document["kind"], &document["exitCode"]), (8, &"Error".into(), &8.into()));
        assert_eq!(document["partialContent"].as_str().unwrap_or_default(), text);
        let run = scene.dana.infer(&["--schema", &schema, "-o", "jsonl"]).code(8);
        let events = lines(&run);
        assert_eq!((types(&events).last(), types(&events).contains(&"end")), (Some(&"Error"), false));
        // It is an answer: nobody else is asked for a better one.
        assert_eq!((scene.probes(), scene.local.connections()), (0, 0));
    }
}

#[test]
fn a_cut_answer_for_a_schema_is_not_written_either() {
    let scene = streaming(&[wire::content("{\"label\": ")]);
    let schema = scene.dana.file("label.json", LABEL);
    let told = says("the answer broke off after 10 bytes").and(says("nothing of it was written"));
    scene.dana.infer(&["--schema", &schema]).code(8).stdout("").stderr(told);
}

#[test]
fn the_answer_of_a_local_provider_is_held_against_the_schema_too() {
    let stage = Stage::new();
    stage.upstream.stop();
    let schema = stage.dana.file("label.json", LABEL);
    let told = says("failover: answering from local provider").and(says("the answer is no JSON"));
    stage.dana.infer(&["--schema", &schema]).code(8).stdout("").stderr(told);
    assert_eq!(stage.local.bodies()[0]["response_format"]["type"], "json_schema");
    stage.local.set_text("{\"label\": \"bug\"}");
    stage.dana.infer(&["--schema", &schema]).code(0).stdout("{\"label\": \"bug\"}\n");
}

/// Complete, and of the right shape by accident.
#[test]
fn only_an_answer_that_was_done_is_held_against_a_schema() {
    for reason in ["length", "content_filter"] {
        let events = [wire::content("12"), wire::finish(reason), wire::DONE.to_owned()];
        let scene = streaming(&events);
        let schema = scene.dana.file("number.json", r#"{"type": "integer"}"#);
        scene.dana.infer(&["--schema", &schema]).code(8).stdout("").stderr(says(reason));
        scene.dana.infer(&[]).code(0).stdout("12\n");
    }
}

/// Readers of JSON do not agree which of two values of a key counts.
#[test]
fn an_answer_that_says_a_thing_twice_does_not_pass() {
    let scene = saying(r#"{"label": "evil", "label": "bug"}"#);
    let schema = scene.dana.file("label.json", LABEL);
    scene.dana.infer(&["--schema", &schema]).code(8).stdout("").stderr(says("\"label\" comes twice"));
}

#[test]
fn a_small_schema_that_is_endless_work_is_given_up() {
    let defs: Value = (0..40)
        .map(|n| {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            (format!("d{n}"), json!({ "allOf": [next, next] }))
        })
        .chain([("d40".to_owned(), json!({ "type": "integer" }))])
        .collect();
    let scene = saying("12");
    let schema = scene.dana.file("bomb.json", json!({ "$defs": defs, "$ref": "#/$defs/d0" }).to_string());
    let told = says("the answer could not be held against the schema within");
    scene.dana.infer(&["--schema", &schema, "--timeout", "2s"]).code(8).stdout("").stderr(told);
}

/// A program that is handed a call will do what it says.
#[test]
fn a_call_that_was_not_offered_or_is_not_whole_is_no_answer() {
    let piece = |call: Value| json!({ "choices": [{ "delta": { "tool_calls": [call] } }] }).to_string();
    let weather =
        json!({ "index": 0, "id": "c1", "function": { "name": "weather", "arguments": "{\"city\": \"Os" } });
    let ended = |first: String, reason: &str| vec![first, wire::finish(reason), wire::DONE.to_owned()];
    let elsewhere = json!({ "index": 3, "id": "c1", "function": { "name": "weather", "arguments": "{}" } });
    for (events, offers, why) in [
        (call("{}"), false, "it calls a tool, and none was offered"),
        (ended(piece(weather.clone()), "length"), true, "ended too early (finish_reason: length)"),
        (ended(piece(weather), "content_filter"), true, "ended too early (finish_reason: content_filter)"),
        (ended(piece(elsewhere), "tool_calls"), true, "it calls a tool without a name"),
    ] {
        let scene = streaming(&events);
        let tools = scene.dana.file("tools.json", WEATHER);
        let schema = scene.dana.file("label.json", LABEL);
        let offer = if offers { vec!["--tools", &tools] } else { vec![] };
        for more in [&[][..], &["--strict"], &["--schema", &schema], &["-o", "raw"]] {
            let args = [&offer[..], more].concat();
            scene.dana.infer(&args).code(8).stdout("").stderr(says(why));
        }
        let run = scene.dana.infer(&[&offer[..], &["-o", "jsonl"]].concat()).code(8);
        assert!(!types(&lines(&run)).contains(&"toolCall"));
        assert_eq!((scene.probes(), scene.local.connections()), (0, 0));
    }
}

#[test]
fn a_call_beside_an_answer_is_not_what_a_schema_asked_for() {
    let events = [&[wire::content("{\"label\": \"bug\"}")], &call("{}")[..]].concat();
    let scene = streaming(&events);
    let (schema, tools) = (scene.dana.file("label.json", LABEL), scene.dana.file("tools.json", WEATHER));
    scene.dana.infer(&["--schema", &schema, "--tools", &tools]).code(8).stdout("");
}

#[test]
fn a_variable_for_lists_does_not_turn_an_answer_into_events() {
    let stage = Stage::new();
    for format in ["jsonl", "raw", "table"] {
        let mut infer = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
        infer.env("MCPCTL_OUTPUT", format).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
        let mut unknown = stage.dana.cmd(["infer", "none", PROMPT]);
        unknown.env("MCPCTL_OUTPUT", format).assert().code(5).stdout("");
    }
    let mut infer = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
    infer.env("MCPCTL_OUTPUT", "json").assert().code(0).stdout(says("\"kind\": \"Inference\""));
}

#[test]
fn a_model_that_calls_a_tool_has_not_come_to_its_answer_yet() {
    let scene = streaming(&call("{}"));
    let (schema, tools) = (scene.dana.file("label.json", LABEL), scene.dana.file("tools.json", WEATHER));
    scene.dana.infer(&["--schema", &schema, "--tools", &tools]).code(0).stdout(says("weather"));
}

/// Exit 2, and nobody was asked: neither the server nor whoever a schema names.
fn assert_nothing_sent(scene: &Scripted, args: &[&str], why: &str) {
    scene.dana.infer(args).code(2).stdout("").stderr(says(why));
    assert_eq!((scene.central.connections(), scene.local.connections()), (0, 0), "{args:?}");
}

#[test]
fn a_schema_is_checked_before_anything_is_sent_and_nothing_is_fetched_for_it() {
    let elsewhere = Evild::answering(wire::http(200, &[("content-type", "application/json")], "{}"));
    let scene = saying("{}");
    let remote = json!({ "properties": { "a": { "$ref": format!("{}/a.json", elsewhere.url()) } } });
    for (text, why) in [
        (remote.to_string(), "and nothing is fetched"),
        (r#"{"$ref": "file:///etc/passwd"}"#.into(), "and nothing is fetched"),
        (r##"{"$ref": "#/$defs/a"}"##.into(), "'/$defs/a' does not exist"),
        (r#"{"type": "objekt"}"#.into(), "at /type: \"objekt\""),
        (r#"{"properties": {"a": {"pattern": "("}}}"#.into(), "at /properties/a/pattern"),
        ("true".into(), "it is no object"),
        ("[]".into(), "it is no object"),
        ("{\"type\": ".into(), "schema.json:"),
        (r#"{"type": "object", "type": "array"}"#.into(), "comes twice"),
        (r#"{"title": "\ud83d\ude00", "type": "object", "type": "array"}"#.into(), "comes twice"),
        ("type: object\ntype: array\n".into(), "schema.json:2:1: duplicate key"),
    ] {
        let path = scene.dana.file("schema.json", text);
        assert_nothing_sent(&scene, &["--schema", &path], why);
    }
    assert_nothing_sent(&scene, &["--schema", "/no/such/file"], "/no/such/file");
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let scene = saying("Hello.");
    let (schema, tools) = (scene.dana.file("label.json", LABEL), scene.dana.file("tools.json", WEATHER));
    let bare = scene.dana.file("bare.json", r#"[{"name": "weather"}]"#);
    for (args, why) in [
        (&["--schema", &schema, "--param", "response_format={}"][..], "--param response_format and --schema"),
        (&["--tools", &tools, "--param", "tools=[]"], "--param tools and --tools exclude each other"),
        (&["--max-tokens", "3", "--param", "max_tokens=4"], "--param max_tokens and --max-tokens"),
        (&["--max-tokens", "3", "--param", "max_completion_tokens=4"], "exclude each other"),
        (&["--temperature", "0", "--param", "temperature=1"], "--param temperature and --temperature"),
        (&["--param", "seed=1", "--param", "seed=2"], "--param sets \"seed\" twice"),
        (&["--param", "n=2"], "an answer of mcpctl is one"),
        (&["--param", "model=other"], "--param cannot set \"model\""),
        (&["--param", "top_p"], "--param takes KEY=VALUE"),
        (&["--tools", &bare], "tool 1: missing field `type`"),
        (&["--tools", &schema], "it is no list"),
        (&["--messages", &schema], "--messages takes a list of messages"),
        (&["--messages", "/no/such/file"], "--messages: /no/such/file"),
        (&["-f", "/no/such/file"], "-f: /no/such/file"),
        (&["-f", "-"], "what is piped in is added to the question anyway"),
        (&["-o", "table"], "this command has no -o table; it has: text, json, jsonl, raw"),
        (&["--dry-run", "-o", "raw"], "this command has no -o raw; it has: text, json, yaml"),
    ] {
        assert_nothing_sent(&scene, args, why);
    }
    // One answer is what there is anyway.
    scene.dana.infer(&["--param", "n=1"]).code(0);
}

#[test]
fn events_tell_what_happens_as_it_happens() {
    let stage = Stage::new();
    let events = lines(&stage.dana.infer(&["-o", "jsonl"]).code(0).stderr(""));
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!((text.as_str(), types(&events)[0], types(&events)[1]), (TEN_WORDS, "start", "answering"));
    let [.., attempt, end] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&attempt["target"], &attempt["outcome"]), (&"central".into(), &"ok".into()));
    assert_eq!(
        (&end["type"], &end["failover"], &end["route"]),
        (&"end".into(), &false.into(), &"central".into())
    );
    assert_eq!((&end["finishReason"], &end["usage"]["completionTokens"]), (&"stop".into(), &10.into()));
    assert_eq!(events[0]["requestId"], end["requestId"]);

    stage.upstream.stop();
    let run = stage.dana.infer(&["-o", "jsonl"]).code(0);
    let events = lines(&run);
    let seen = types(&events);
    assert_eq!(&seen[..5], ["start", "attempt", "attempt", "answering", "content"]);
    let told: Vec<_> = events[1..3].iter().map(|event| &event["outcome"]).collect();
    assert_eq!(told, ["http", "allowed"]);
    assert_eq!((&events[3]["failover"], &events[3]["provider"]), (&true.into(), &"laptop".into()));
    let end = events.last().unwrap();
    assert_eq!((&end["provider"], &end["model"]), (&"laptop".into(), &"laptop-model".into()));

    stage.mcpd.delete_binding("dana-chat");
    let events = lines(&stage.dana.infer(&["-o", "jsonl"]).code(5));
    assert_eq!(types(&events), ["start", "attempt", "Error"]);
}

#[test]
fn s01_events_of_a_cut_answer_end_with_an_error_and_not_with_an_end() {
    let scene = Scripted::new(Evild::start([
        whole(wire::sse_chunked(&[wire::role(), wire::content("Hel")])),
        answer(403, &[], ""),
    ]));
    let events = lines(&scene.dana.infer(&["-o", "jsonl"]).code(8));
    assert_eq!(types(&events), ["start", "answering", "content", "attempt", "Error"]);
    assert_eq!((&events[3]["outcome"], &events[4]["exitCode"]), (&"cut".into(), &8.into()));
    scene.assert_local_untouched();
}

#[test]
fn reasoning_goes_where_it_is_wanted() {
    let thought = json!({ "choices": [{ "index": 0, "delta": { "reasoning": "Hm." } }] }).to_string();
    let scene = streaming(&[&[thought], &wire::answer("Yes.")[..]].concat());
    scene.dana.infer(&[]).code(0).stdout("Yes.\n").stderr("");
    scene.dana.infer(&["--reasoning", "show"]).code(0).stdout("Yes.\n").stderr("Hm.\n");
    assert_eq!(scene.dana.infer_json(&[]).1["reasoning"], "Hm.");
    assert_eq!(scene.dana.infer_json(&["--reasoning", "hide"]).1["reasoning"], Value::Null);
    let reasoned = |more: &[&str]| {
        let run = scene.dana.infer(&[&["-o", "jsonl"], more].concat()).code(0);
        types(&lines(&run)).contains(&"reasoning")
    };
    assert!(reasoned(&[]) && !reasoned(&["--reasoning", "hide"]));
}

#[test]
fn s01_an_answer_that_is_cut_in_its_reasoning_says_so_and_is_final() {
    let thought = json!({ "choices": [{ "index": 0, "delta": { "reasoning": "Hm." } }] }).to_string();
    let scene = streaming(&[thought]);
    let told = says("the answer broke off after 3 bytes of reasoning (connection closed by central)")
        .and(says("nothing of the answer was written"));
    scene.dana.infer(&[]).code(8).stdout("").stderr(told);
    assert_eq!((scene.probes(), scene.local.connections()), (0, 0));
}

#[test]
fn raw_is_the_text_and_nothing_else() {
    let text = "Two\n\nlines\x1b[0m";
    let scene = saying(text);
    scene.dana.infer(&["-o", "raw"]).code(0).stdout(text).stderr("");
    scene.dana.infer(&[]).code(0).stdout(format!("{text}\n")).stderr("");
}

#[test]
fn usage_is_told_whatever_the_format() {
    let stage = Stage::new();
    for format in ["text", "json", "jsonl", "raw"] {
        let told = predicate::str::is_match(
            r"^note: chat-prod, central \(tiny\), \d+ tokens in, 10 out, first token \d+\.\d\d s, total \d+\.\d\d s\n$",
        );
        stage.dana.infer(&["--usage", "-q", "-o", format]).code(0).stderr(told.unwrap());
    }
}

#[test]
fn strict_takes_nothing_but_a_model_that_was_done() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::FinishReason("length".into()));
    let told = says("--max-tokens 10 and is truncated (finish_reason: length); --strict makes this exit 8");
    stage.dana.infer(&["--max-tokens", "10"]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(told);
    let refused = says("the answer is truncated (finish_reason: length)");
    stage.dana.infer(&["--max-tokens", "10", "--strict"]).code(8).stderr(refused);
    stage.upstream.set_fault(Fault::FinishReason("content_filter".into()));
    stage
        .dana
        .infer(&["--strict"])
        .code(8)
        .stderr(says("the model was not done (finish_reason: content_filter)"));
    let events = lines(&stage.dana.infer(&["--strict", "-o", "jsonl"]).code(8));
    assert_eq!(types(&events).last(), Some(&"Error"));
    stage.upstream.set_fault(Fault::None);
    stage.dana.infer(&["--strict"]).code(0);
}

#[test]
fn a_dry_run_shows_the_plan_and_sends_nothing() {
    let stage = Stage::new();
    let args = ["--dry-run", "--param", "guided_regex=x", "--temperature", "0"];
    let shown = says("ask         POST http://")
        .and(says("failover    provider \"laptop\" (openai), model laptop-model"))
        .and(says("only if     HEAD http://"))
        .and(says("without     guided_regex"))
        .and(says("\"temperature\": 0"))
        .and(predicate::str::ends_with("nothing was sent\n"));
    stage.dana.infer(&args).code(0).stdout(shown).stderr("");
    let (code, plan) = stage.dana.infer_json(&args);
    assert_eq!((code, &plan["kind"]), (0, &"InferencePlan".into()));
    assert_eq!(plan["failover"]["leftOut"], json!(["guided_regex"]));
    assert_eq!(plan["failover"]["body"]["guided_regex"], Value::Null);
    assert_eq!(plan["central"]["body"]["guided_regex"], "x");
    let local = stage.dana.infer_json(&["--dry-run", "--route", "local"]).1;
    assert_eq!((&local["central"], &local["failover"]["provider"]), (&Value::Null, &"laptop".into()));
    stage.dana.providers("providers: []\n");
    let none = stage.dana.infer_json(&["--dry-run"]).1;
    assert_eq!(none["failover"]["why"], "no provider declared for this LLM");
    assert_logged(&stage.mcpd, "HEAD", 0);
    assert_eq!(stage.upstream.requests(), 0);
    stage.assert_local_untouched();
    // Nobody needs to be somebody for it.
    let stranger = Client::stranger(&stage.mcpd.url());
    stranger.infer(&["--dry-run"]).code(0).stdout(says("nothing was sent"));
}

#[test]
fn a_failover_says_who_would_have_answered_and_what_the_provider_is_not_told() {
    let stage = Stage::new();
    stage.upstream.stop();
    let told =
        says("model laptop-model (central: tiny)").and(says("the provider does not get: guided_regex"));
    stage.dana.infer(&["--param", "guided_regex=x"]).code(0).stderr(told);
    assert_eq!(stage.local.bodies()[0]["guided_regex"], Value::Null);
}

/// Who answers is told when somebody does, and not before.
#[test]
fn a_provider_that_does_not_answer_is_not_said_to() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.stop();
    let failed = says("failover: provider \"laptop\" failed").and(says("answering from").not());
    stage.dana.infer(&[]).code(7).stdout("").stderr(failed);
    stage.local.resume();
    for format in ["text", "raw", "json", "jsonl"] {
        let told = predicate::str::contains("note: failover: answering from").count(1);
        stage.dana.infer(&["-o", format]).code(0).stderr(told);
    }
    stage.dana.infer(&["-q"]).code(0).stderr("");
}

#[test]
fn a_web_server_is_not_taken_for_mcpd() {
    let scene =
        Scripted::new(Evild::start([answer(404, &[("content-type", "text/html")], "<h1>Not found</h1>")]));
    let told =
        says("does not speak as mcpd does").and(says("tip: mcpctl doctor")).and(says("llm list").not());
    scene.dana.infer(&[]).code(9).stdout("").stderr(told);
}

#[test]
fn a_denial_says_who_asks_and_a_wrong_name_which_one_was_meant() {
    let stage = Stage::with_rights(&["view"]);
    let told = says("  user: dana@example.com      needs: run on llms/chat-prod\n");
    stage.dana.infer(&[]).code(5).stdout("").stderr(told);
    // Whether it exists is told only to who may view all; so is what else there is.
    let wrong = |code: i32, told: &str| {
        let run = stage.dana.cmd(["infer", "chat-pord", "hi"]).assert();
        let others = predicate::str::contains("chat-prod").count(usize::from(code == 9));
        run.code(code).stdout("").stderr(says(told).and(others));
    };
    wrong(5, "user: dana@example.com      needs: run on llms/chat-pord");
    stage.mcpd.grant("dana-all", "dana@example.com", &[("view", "llms", None), ("run", "llms", None)]);
    wrong(9, "  did you mean \"chat-prod\"?\n");
    stage.dana.cmd(["infer", "zzz", "hi"]).assert().code(9).stderr(says("did you mean").not());
    stage.assert_local_untouched();
}

/// A box before the server is not asked anything more: its 403 and 404 are none of mcpd's.
#[test]
fn p04_only_mcpds_own_refusal_is_worth_another_question() {
    for (status, code) in [(403, 5), (404, 9)] {
        let scene = Scripted::new(Evild::start([answer(status, &[], "")]));
        scene.dana.infer(&[]).code(code).stdout("");
        assert_eq!(scene.central.connections(), 1, "{status}");
    }
    // One that hangs does not keep the error back for long, nor change it.
    let headers = [("mcpd-error-origin", "policy"), ("mcpd-error-code", "forbidden")];
    let hangs = vec![fakes::Step::ReadRequest, fakes::Step::Hang];
    let scene = Scripted::new(Evild::start([answer(403, &headers, ""), hangs]));
    scene.dana.infer(&[]).code(5).stdout("").stderr(says("  needs: run on llms/chat-prod"));
    assert_eq!(scene.central.connections(), 2);
}
