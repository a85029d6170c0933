//! What a person sees at a terminal: what is waited for, and nothing that obeys a model. And Ctrl-C, whenever it comes.

use crate::{
    engine_stage::{EngineStage, wait_for_end},
    pty_stage::{Left, Terminal},
    scripts::{down, whole},
    support::{Client, PROMPT, Scripted, Stage, TEN_WORDS, assert_logged},
};
use fakes::{Evild, FakeEngine, Fault, Gate, Script, Step, alive, wait_until, wire};
use rexpect::process::WaitStatus;
use std::{
    fs, iter,
    process::Command,
    time::{Duration, Instant},
};

/// What a person may have to wait for on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

impl Scripted {
    fn at_a_terminal(&self, more: &[&str]) -> Terminal {
        Terminal::run(self.dana.raw([&["infer", "chat-prod", PROMPT], more].concat()))
    }
}

impl Stage {
    fn at_a_terminal(&self, more: &[&str]) -> Terminal {
        Terminal::run(self.dana.raw([&["infer", "chat-prod", PROMPT], more].concat()))
    }
}

/// Answers, once the gate is open.
fn gated(gate: &Gate, bytes: Vec<u8>) -> Script {
    vec![Step::ReadRequest, Step::WaitAt(gate.clone()), Step::Send(bytes), Step::Close]
}

/// Answers after twice the time that is waited for in silence.
fn late() -> Script {
    let answer = wire::sse_chunked(&wire::answer("Hello."));
    vec![Step::ReadRequest, Step::Pause(Duration::from_millis(600)), Step::Send(answer), Step::Close]
}

fn assert_ok(left: &Left, screen: &str) {
    assert!(matches!(left.status, WaitStatus::Exited(_, 0)), "{:?}: {:?}", left.status, left.written);
    assert_eq!(left.screen, screen, "{:?}", left.written);
}

#[test]
fn a_line_says_what_is_waited_for_and_is_gone_before_the_first_word() {
    let gate = Gate::new();
    let scene = Scripted::new(Evild::start([gated(&gate, wire::sse_chunked(&wire::answer(TEN_WORDS)))]));
    let mut terminal = scene.at_a_terminal(&[]);
    terminal.sees("waiting for central");
    gate.open();
    let left = terminal.ended();
    assert_ok(&left, TEN_WORDS);
    // From the first word on nothing is drawn any more.
    let (_, answer) = left.written.rsplit_once("The").unwrap();
    assert_eq!(answer, format!("{}\r\n", &TEN_WORDS[3..]));
}

#[test]
fn what_is_quick_is_not_announced() {
    let scene = Scripted::new(Evild::start([whole(wire::sse_chunked(&wire::answer("Hello.")))]));
    // A loaded machine is not always quick.
    let quick = |()| {
        let started = Instant::now();
        let left = scene.at_a_terminal(&[]).ended();
        (started.elapsed() < Duration::from_millis(300)).then_some(left.written)
    };
    let written = iter::repeat_n((), 100).find_map(quick).expect("one run of a hundred is quick");
    assert_eq!(written, "Hello.\r\n");
}

/// Ctrl-S holds a terminal: what is written to it waits. The answer goes elsewhere, and waits for nobody.
#[test]
fn a_terminal_that_is_held_does_not_hold_up_the_answer() {
    let gate = Gate::new();
    let scene = Scripted::new(Evild::start([gated(&gate, wire::sse_chunked(&wire::answer(TEN_WORDS)))]));
    let out = scene.dana.home().join("out");
    let inner = scene.dana.raw(["infer", "chat-prod", PROMPT]);
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-c", "\"$0\" \"$@\" > \"$HOME/out\""]).arg(inner.get_program()).args(inner.get_args());
    let mut terminal = Terminal::run(command);
    terminal.sees("waiting for central").press('s');
    gate.open();
    wait_until(SOON, "the answer", || fs::read_to_string(&out).is_ok_and(|text| text.contains("words.")));
    terminal.press('q');
    let left = terminal.ended();
    assert!(matches!(left.status, WaitStatus::Exited(_, 0)), "{:?}", left.status);
}

#[test]
fn nothing_moves_in_a_pipe_with_q_or_on_a_terminal_that_cannot() {
    let scene = Scripted::new(Evild::start([late()]));
    scene.dana.infer(&[]).code(0).stdout("Hello.\n").stderr("");
    assert_eq!(scene.at_a_terminal(&["-q"]).ended().written, "Hello.\r\n");
    let dumb = Terminal::of_type("dumb", scene.dana.raw(["infer", "chat-prod", PROMPT]));
    assert_eq!(dumb.ended().written, "Hello.\r\n");
    // The double is late enough for those whom it may be told.
    assert!(scene.at_a_terminal(&[]).ended().written.contains("waiting for central"));
}

#[test]
fn every_part_of_a_failover_says_what_it_waits_for() {
    let (permission, words) = (Gate::new(), Gate::new());
    let scene = Scripted::new(Evild::start([down(), gated(&permission, wire::http(200, &[], ""))]));
    scene.local.set_fault(Fault::WaitAt(words.clone()));
    let mut terminal = scene.at_a_terminal(&[]);
    terminal.sees("asking for permission");
    permission.open();
    terminal.sees("waiting for \"laptop\"");
    words.open();
    let left = terminal.ended();
    let lines: Vec<&str> = left.screen.lines().collect();
    let [central, permission, failover, answer] = lines[..] else { panic!("{lines:?}") };
    assert!(central.starts_with("note: central answered 503 after"), "{central}");
    assert!(permission.starts_with("note: permission for \"chat-prod\" confirmed"), "{permission}");
    assert_eq!(failover, "note: failover: answering from local provider \"laptop\", model laptop-model");
    assert_eq!(answer, "Hello from the laptop.");
}

#[test]
fn an_engine_that_starts_says_how_far_it_is() {
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "");
    let mut terminal = Terminal::run(stage.raw(&["infer", "chat-prod", PROMPT]));
    terminal.sees("laptop: starting");
    assert!(terminal.screen().lines().last().unwrap().contains("laptop: starting"), "{}", terminal.screen());
    engine.open_gate();
    let left = terminal.ended();
    let lines: Vec<&str> = left.screen.lines().collect();
    let told = lines.iter().filter(|line| line.starts_with("note: laptop: starting")).count();
    assert_eq!((told, lines.last()), (1, Some(&TEN_WORDS)), "{lines:#?}");
}

#[test]
fn a_document_is_waited_for_to_its_end() {
    let gate = Gate::new();
    let first = [wire::sse_chunked_head(), wire::chunk(&wire::event(&wire::content("Hel")))].concat();
    let rest: Vec<u8> = [wire::content("lo."), wire::finish("stop"), wire::DONE.to_owned()]
        .iter()
        .flat_map(|data| wire::chunk(&wire::event(data)))
        .collect();
    let script = vec![
        Step::ReadRequest,
        Step::Send(first),
        Step::WaitAt(gate.clone()),
        Step::Send([&rest, wire::LAST_CHUNK].concat()),
    ];
    let scene = Scripted::new(Evild::start([script]));
    let mut terminal = scene.at_a_terminal(&["-o", "json"]);
    terminal.sees("waiting for central");
    gate.open();
    let left = terminal.ended();
    let document: serde_json::Value = serde_json::from_str(&left.screen).unwrap_or_else(|error| {
        panic!("the document is not alone on the screen ({error}): {}", left.screen);
    });
    assert_eq!(document["content"], "Hello.");
}

#[test]
fn g01_ctrl_c_while_the_server_is_waited_for() {
    let scene = Scripted::new(Evild::start([vec![Step::ReadRequest, Step::Hang]]));
    let mut terminal = scene.at_a_terminal(&[]);
    terminal.sees("waiting for central");
    terminal.interrupt();
    scene.central.wait_for_close(0, SOON);
    assert_eq!((scene.central.connections(), scene.local.connections()), (1, 0));
}

#[test]
fn g01_ctrl_c_while_the_server_streams() {
    let begun = wire::event(&wire::content("Once upon"));
    let script = vec![Step::ReadRequest, Step::Send([wire::sse_head(), begun].concat()), Step::Hang];
    let scene = Scripted::new(Evild::start([script]));
    let mut terminal = scene.at_a_terminal(&[]);
    terminal.sees("Once upon");
    terminal.interrupt();
    scene.central.wait_for_close(0, SOON);
    assert_eq!((scene.central.connections(), scene.local.connections()), (1, 0));
}

#[test]
fn g01_ctrl_c_while_permission_is_asked_for() {
    let scene = Scripted::new(Evild::start([down(), vec![Step::ReadRequest, Step::Hang]]));
    let mut terminal = scene.at_a_terminal(&[]);
    terminal.sees("asking for permission");
    terminal.interrupt();
    scene.central.wait_for_close(1, SOON);
    assert_eq!((scene.central.connections(), scene.local.connections()), (2, 0));
}

#[test]
fn g01_ctrl_c_while_an_engine_starts() {
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "");
    let mut terminal = Terminal::run(stage.raw(&["infer", "chat-prod", PROMPT]));
    terminal.sees("laptop: starting");
    let pid = engine.wait_for_start();
    terminal.interrupt();
    // Nobody waits for it any more.
    wait_for_end(pid);
    assert!(engine.chats().is_empty());
    stage.assert_asked(1, 1);
}

#[test]
fn g01_ctrl_c_while_an_engine_answers() {
    let engine = FakeEngine::vllm().pausing_in_chat();
    let stage = EngineStage::of(&engine, "");
    let mut terminal = Terminal::run(stage.raw(&["infer", "chat-prod", PROMPT]));
    terminal.sees("The");
    terminal.interrupt();
    // The engine is well, and free for the next one: Ctrl-C at the terminal is not meant for it.
    assert!(alive(stage.pid_of("engine")));
    engine.open_chat_gate();
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    assert_eq!((engine.starts().len(), engine.chats().len()), (1, 2));
}

#[test]
fn g01_ctrl_c_while_a_local_provider_is_waited_for_and_while_it_streams() {
    for (fault, seen) in
        [(Fault::WaitAt(Gate::new()), "waiting for \"laptop\""), (Fault::HangAfter(2), "Hello from")]
    {
        let stage = Stage::new();
        stage.upstream.stop();
        stage.local.set_fault(fault);
        let mut terminal = stage.at_a_terminal(&[]);
        terminal.sees(seen);
        terminal.interrupt();
        stage.local.wait_for_cancel(SOON);
        assert_eq!(stage.local.requests(), 1);
        assert_logged(&stage.mcpd, "HEAD", 1);
    }
}

/// Colours the text, names the window, goes up a line, clears the screen, turns the direction: by 7 and by 8 bits.
const OBEYED: &str = "a\x1b[31mb\x1b]0;title\x07c\x1b[1Ad\x1b[2Je\u{9b}31mf\u{202e}g\x7fh\rz";

fn obeys(written: &str) -> bool {
    let told = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let bare_return = written.replace("\r\n", "\n").contains('\r');
    written.chars().any(|c| told(c) || matches!(c, '\u{202e}')) || bare_return
}

#[test]
fn s10_a_models_text_is_shown_and_not_obeyed() {
    assert!(obeys(OBEYED));
    let thought = serde_json::json!({ "choices": [{ "delta": { "reasoning": OBEYED } }] }).to_string();
    let tool = serde_json::json!({ "choices": [{ "delta": { "tool_calls": [
        { "index": 0, "id": "c1", "function": { "name": OBEYED, "arguments": OBEYED } }] } }] });
    let events = [
        vec![thought, wire::content(OBEYED), tool.to_string()],
        vec![wire::finish("stop"), wire::DONE.to_owned()],
    ]
    .concat();
    let scene = Scripted::new(Evild::start([whole(wire::sse_chunked(&events))]));
    let offered = ["--param", "tools=[]"];
    for more in [&[][..], &["--usage"], &["-o", "json"], &["-o", "jsonl"]] {
        let left = scene.at_a_terminal(&[more, &offered, &["--color", "never"]].concat()).ended();
        assert!(!obeys(&left.written), "{more:?}: {:?}", left.written);
        assert!(left.written.contains("31mb"), "{more:?}: it was not shown: {:?}", left.written);
    }
    // A pipe gets what the model said, and so does a terminal that was asked for it.
    let piped = scene.dana.infer(&offered).code(0).get_output().stdout.clone();
    assert!(piped.starts_with(OBEYED.as_bytes()), "{:?}", String::from_utf8_lossy(&piped));
    assert!(obeys(&scene.at_a_terminal(&[&["-o", "raw"][..], &offered].concat()).ended().written));
}

#[test]
fn s10_errors_models_and_prompts_are_not_obeyed_either() {
    let error = wire::json_answer(400, &wire::error(OBEYED, 400));
    let scene = Scripted::new(Evild::start([whole(error)]));
    let left = scene.at_a_terminal(&["--color", "never"]).ended();
    assert!(left.written.contains("31mb") && !obeys(&left.written), "{:?}", left.written);
    scene.dana.infer(&[]).code(9).stderr(predicates::function::function(|text: &str| !obeys(text)));
    // What one types oneself comes back in a plan only.
    for format in ["text", "json", "yaml"] {
        let args = ["infer", "chat-prod", OBEYED, "--dry-run", "-o", format, "--color", "never"];
        let left = Terminal::run(scene.dana.raw(args)).ended();
        assert!(left.written.contains("31mb") && !obeys(&left.written), "{format}: {:?}", left.written);
    }
    let left = Terminal::run(scene.dana.raw(["infer", OBEYED, "hi", "--color", "never"])).ended();
    assert!(left.written.contains("is no LLM") && !obeys(&left.written), "{:?}", left.written);
}

#[test]
fn what_is_told_breaks_between_words() {
    let dana = Client::stranger("http://127.0.0.1:9");
    let left = Terminal::run(dana.bash("stty rows 24 cols 60; mcpctl get lm")).ended();
    let lines: Vec<&str> = left.screen.lines().collect();
    assert_eq!(
        lines,
        [
            "error: unknown kind \"lm\" (did you mean llm?); there are:",
            "  user, serviceaccount, group, llm, rbac"
        ]
    );
}

#[test]
fn who_is_waited_for_at_the_keyboard_is_told() {
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    let mut terminal = Terminal::run(dana.raw(["apply", "-f", "-"]));
    terminal.sees("reading from the terminal; Ctrl-D ends").press('d');
    assert!(terminal.ended().screen.contains("there is no document in what was given"));
}
