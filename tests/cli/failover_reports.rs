//! What the server learns of a failover, afterwards: through outages, crashes and servers that do not want to know.

use crate::{
    scripts::{answer, close},
    support::{Client, LIMIT, PROMPT, Scripted, Stage, says},
};
use fakes::{
    Evild, Fault, Gate, Step, required,
    tracer::{Seen, Traced, Tracer, When, Who},
    wait_until,
};
use mcp_api::paths;
use serde_json::{Value, json};
use std::{
    env, fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

/// The failovers that the server knows of.
pub(crate) fn failovers(stage: &Stage) -> Vec<Value> {
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let output = boss.cmd(["audit", "list", "--failovers", "-o", "json"]).output().expect("it ran");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    document["items"].as_array().expect("a list").clone()
}

/// The reports that wait on Dana's machine, and the notes of what is under way.
pub(crate) fn waiting(dana: &Client) -> Vec<PathBuf> {
    let reports = dana.home().join(".local/state/mcpctl/v1/reports");
    let Ok(origins) = fs::read_dir(reports) else { return Vec::new() };
    let files = origins.flat_map(|origin| fs::read_dir(origin.expect("a folder").path()).expect("a folder"));
    files.map(|file| file.expect("a file").path()).collect()
}

/// What happened on Dana's machine.
fn history(dana: &Client) -> Vec<Value> {
    let text =
        fs::read_to_string(dana.home().join(".local/state/mcpctl/failovers.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn the_server_learns_what_was_answered_locally_and_nothing_else() {
    let stage = Stage::new();
    stage.dana.infer(&[]).code(0);
    assert_eq!((failovers(&stage).len(), waiting(&stage.dana).len(), history(&stage.dana).len()), (0, 0, 0));
    stage.upstream.stop();
    let (code, answered) = stage.dana.infer_json(&[]);
    assert_eq!((code, &answered["failover"]), (0, &json!(true)));
    let known = failovers(&stage);
    let detail = &known[0]["detail"];
    assert_eq!(
        (known.len(), &known[0]["llm"], &known[0]["subject"]["name"]),
        (1, &json!("chat-prod"), &json!("dana@example.com"))
    );
    assert_eq!(
        (
            &detail["reason"],
            &detail["provider"],
            &detail["providerType"],
            &detail["model"],
            &detail["outcome"]
        ),
        (&json!("http_502"), &json!("laptop"), &json!("openai"), &json!("laptop-model"), &json!("complete"))
    );
    // The same request, the same id: in the answer, in the permission that came before it, and in the report.
    assert_eq!(known[0]["requestId"], answered["requestId"]);
    assert!(known[0]["llmId"].as_str().is_some_and(|id| id.len() == 25));
    assert_eq!(waiting(&stage.dana).len(), 0, "what was taken does not wait");
    let history = history(&stage.dana);
    assert_eq!(
        (history.len(), &history[0]["id"], &history[0]["verdict"]),
        (1, &detail["id"], &json!("allowed"))
    );
    // A drill counts too.
    stage.dana.infer(&["--route", "local"]).code(0);
    assert_eq!(failovers(&stage)[1]["detail"]["reason"], "drill");
}

#[test]
fn what_failed_is_told_as_such_and_a_denial_is_no_failover() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.set_fault(Fault::CutAfter(2));
    stage.dana.infer(&[]).code(8);
    stage.local.set_fault(Fault::Html);
    stage.dana.infer(&[]).code(7);
    let outcomes =
        || -> Vec<Value> { failovers(&stage).iter().map(|it| it["detail"]["outcome"].clone()).collect() };
    assert_eq!(outcomes(), [json!("incomplete"), json!("failed")]);
    stage.mcpd.delete_binding("dana-chat");
    stage.dana.infer(&[]).code(5);
    assert_eq!((outcomes().len(), waiting(&stage.dana).len(), history(&stage.dana).len()), (2, 0, 2));
}

#[test]
fn p20_what_happened_while_the_server_was_away_is_told_when_it_is_back() {
    let mut stage = Stage::new();
    stage.upstream.stop();
    for round in 0..3 {
        let gate = Gate::new();
        stage.local.set_fault(Fault::WaitAt(gate.clone()));
        let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("it runs");
        stage.local.wait_for_request(round + 1, LIMIT);
        // Permitted, asked, and not yet answered.
        assert!(waiting(&stage.dana).iter().any(|path| path.extension().is_some_and(|it| it == "open")));
        stage.mcpd.stop();
        gate.open();
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(0), &b"Hello from the laptop.\n"[..])
        );
        assert!(!told.contains("report") && !told.contains("warning"), "{told}");
        assert_eq!(waiting(&stage.dana).len(), round + 1);
        stage.mcpd.restart();
    }
    assert_eq!(failovers(&stage).len(), 0);
    stage.local.set_fault(Fault::None);
    // A command that the server itself answers tells it as well.
    stage.upstream.resume();
    stage.dana.infer(&[]).code(0);
    assert_eq!((failovers(&stage).len(), waiting(&stage.dana).len(), history(&stage.dana).len()), (3, 0, 3));
}

/// Has the provider answer, and the server stop before it hears of it.
fn unheard(stage: &mut Stage) {
    let gate = Gate::new();
    stage.upstream.stop();
    stage.local.set_fault(Fault::WaitAt(gate.clone()));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it runs");
    stage.local.wait_for_request(1, LIMIT);
    stage.mcpd.stop();
    gate.open();
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(0));
    stage.local.set_fault(Fault::None);
    stage.mcpd.restart();
}

#[test]
fn p20_a_report_is_of_who_was_permitted_whoever_uses_the_same_home_next() {
    let mut stage = Stage::new();
    unheard(&mut stage);
    let ana = stage.mcpd.user_with("ana", &[("view", "llms", None), ("run", "llms", None)]);
    let later = stage.mcpd.token_for("dana@example.com");
    let asks = |token: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file for the token");
        fs::write(file.path(), token).expect("the token");
        let mut command = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
        command.env("MCPCTL_TOKEN_FILE", file.path()).assert().code(0);
    };
    let names =
        || -> Vec<Value> { failovers(&stage).iter().map(|it| it["subject"]["name"].clone()).collect() };
    // The upstream is still away: Ana has a failover of her own, which is told.
    asks(&ana);
    assert_eq!((names(), waiting(&stage.dana).len()), (vec![json!("ana")], 1), "Dana's waits for Dana");
    asks(&ana);
    assert_eq!((names().len(), waiting(&stage.dana).len()), (2, 1), "and is not lost");
    // Another token of the same person.
    stage.upstream.resume();
    asks(&later);
    assert_eq!(names(), [json!("ana"), json!("ana"), json!("dana@example.com")]);
    assert_eq!(waiting(&stage.dana).len(), 0);
    let id_of = |token: &str| json!(token.split('_').nth(1).expect("an id"));
    let told = failovers(&stage).pop().expect("Dana's");
    assert_eq!(
        (&told["detail"]["tokenId"], &told["tokenId"]),
        (&id_of(&stage.dana_token), &id_of(&later)),
        "permitted with one, delivered with the other"
    );
    let history = history(&stage.dana);
    assert_eq!((&history[0]["tokenId"], &history[1]["tokenId"]), (&id_of(&stage.dana_token), &id_of(&ana)));
}

#[test]
fn a_server_that_does_not_know_of_reports_is_left_alone_and_they_wait() {
    for status in [404, 405, 500] {
        let refused = answer(status, &[], "no");
        let scene = Scripted::new(Evild::start([answer(503, &[], "down"), answer(200, &[], ""), refused]));
        let output = scene.dana.cmd(["infer", "chat-prod", PROMPT]).output().expect("it ran");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(!told.contains("report"), "{told}");
        assert_eq!(waiting(&scene.dana).len(), 1);
        let sent = scene.central.requests().pop().expect("a request");
        assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", paths::FAILOVER_REPORTS));
        assert!(!String::from_utf8_lossy(&sent.body).contains(PROMPT), "the prompt was reported");
    }
}

#[test]
fn a_server_that_says_nothing_holds_a_command_up_for_two_seconds_and_not_longer() {
    let silent = vec![Step::ReadRequest, Step::Hang];
    let scene = Scripted::new(Evild::start([answer(503, &[], "down"), answer(200, &[], ""), silent]));
    let began = Instant::now();
    scene.dana.infer(&["-v"]).code(0).stderr(says("reports of failovers wait for the next command"));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(waiting(&scene.dana).len(), 1);
    let scene = Scripted::new(Evild::start([
        answer(503, &[], "down"),
        answer(200, &[], ""),
        close(vec![Step::ReadRequest]),
    ]));
    scene.dana.infer(&[]).code(0);
    assert_eq!(waiting(&scene.dana).len(), 1);
}

#[test]
fn where_nothing_can_be_written_the_answer_comes_all_the_same() {
    let stage = Stage::new();
    stage.upstream.stop();
    let state = stage.dana.home().join(".local/state/mcpctl");
    fs::create_dir_all(state.parent().expect("a folder")).expect("a folder");
    fs::write(&state, "in the way").expect("a file");
    stage
        .dana
        .infer(&[])
        .code(0)
        .stdout("Hello from the laptop.\n")
        .stderr(says("the server will not hear of this"));
    fs::remove_file(state).expect("it is there");
}

#[test]
fn a_command_that_is_killed_while_it_is_answered_is_told_of_by_the_next_one() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.set_fault(Fault::HangAfter(1));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    stage.local.wait_for_request(1, LIMIT);
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    assert_eq!((waiting(&stage.dana).len(), failovers(&stage).len()), (1, 0));
    stage.local.set_fault(Fault::None);
    stage.dana.infer(&[]).code(0);
    let outcomes: Vec<_> = failovers(&stage).iter().map(|it| it["detail"]["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("incomplete"), json!("complete")]);
    assert_eq!((waiting(&stage.dana).len(), history(&stage.dana).len()), (0, 2));
}

/// Kills before every third system call that changes something, until there is none left; with `MCPCTL_KILLS`
/// before every one.
#[test]
fn a_command_that_is_killed_at_any_call_leaves_a_report_of_what_the_provider_got() {
    if !Tracer::is_allowed() {
        return required("permission to trace");
    }
    let stage = Stage::new();
    stage.upstream.stop();
    let mut missed = 0;
    let mut kills = 0;
    let step = if env::var_os("MCPCTL_KILLS").is_some() { 1 } else { 3 };
    for number in (1..).step_by(step) {
        let before = (failovers(&stage).len(), stage.local.requests());
        let command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
        let traced = Traced {
            program: command.get_program().into(),
            args: command.get_args().map(Into::into).collect(),
            env: command.get_envs().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect(),
            output: tempfile::tempfile().expect("a file"),
        };
        let tracer = Tracer::start(traced, Who::Itself, When::Change(number), true);
        let seen = tracer.next(LIMIT).expect("it ends");
        drop(tracer);
        let asked = stage.local.requests() - before.1;
        // The next command tells of both.
        stage.dana.infer(&[]).code(0);
        wait_until(LIMIT, "reports", || waiting(&stage.dana).iter().all(|path| is_old_or_partial(path)));
        let told = failovers(&stage).len() - before.0;
        match seen {
            Seen::Killed(call) => {
                kills += 1;
                assert!(
                    (asked + 1..=2).contains(&told),
                    "killed at change {number}, call {call}: the provider was asked {asked} times, {told} reports"
                );
            }
            Seen::Ended(_) => {
                assert_eq!((asked, told), (1, 2));
                missed += 1;
                if missed == 3 {
                    break;
                }
            }
        }
    }
    assert!(kills > 5, "{kills}");
    eprintln!("{kills} kills, each followed by a command that told of it");
}

/// What is left of a write that was cut short: it is no report, and nobody has seen a prompt then.
fn is_old_or_partial(path: &std::path::Path) -> bool {
    let is_beside = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    is_beside || fs::metadata(path).is_ok_and(|meta| meta.len() == 0)
}
