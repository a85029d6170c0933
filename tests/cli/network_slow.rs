//! A network that is slow, uneven, or carries one byte at a time: what is decided is the same, and the answer is whole.

use crate::{
    scripts::{answer, down},
    support::{Client, PROMPT, Scripted, Stage, TEN_WORDS, says},
};
use fakes::{Evild, Link, Pace};
use predicates::prelude::*;
use std::time::{Duration, Instant};

/// Once in each direction, and still well within what a probe may take.
const LATE: Duration = Duration::from_millis(120);

/// The same stage, with such a network on both ways: to the server and to the local provider.
struct Far {
    stage: Stage,
    to_mcpd: Link,
    to_local: Link,
    dana: Client,
}

impl Far {
    fn new(pace: Pace) -> Self {
        let stage = Stage::new();
        let to_mcpd = Link::before(stage.mcpd.addr(), pace);
        let to_local = Link::before(stage.local.addr(), pace);
        let dana = Client::of(&to_mcpd.url(), &stage.dana_token);
        dana.failover("chat-prod", &format!("{}/v1", to_local.url()));
        Self { stage, to_mcpd, to_local, dana }
    }
}

fn all_verdicts_are_the_same(pace: Pace) {
    let far = Far::new(pace);
    far.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr("");
    far.dana.infer(&["--no-stream"]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr("");
    assert_eq!(far.to_mcpd.connections(), 2, "one try each");
    far.stage.upstream.stop();
    let told = says("permission for \"chat-prod\" confirmed by the server");
    far.dana.infer(&[]).code(0).stdout("Hello from the laptop.\n").stderr(told);
    assert_eq!(far.to_local.connections(), 1);
    far.stage.mcpd.delete_binding("dana-chat");
    far.dana.infer(&[]).code(5).stdout("");
    assert_eq!((far.to_local.connections(), far.stage.local.requests()), (1, 1), "a denial was passed over");
}

#[test]
fn n10_a_network_that_is_late_changes_no_verdict_and_no_answer() {
    let began = Instant::now();
    let far = Far::new(Pace::Late(LATE));
    far.stage.upstream.stop();
    far.dana.infer(&[]).code(0).stdout("Hello from the laptop.\n").stderr(says("confirmed by the server"));
    assert!(began.elapsed() > 6 * LATE, "three questions there and back took {:?}", began.elapsed());
    far.stage.mcpd.delete_binding("dana-chat");
    far.dana.infer(&[]).code(5).stdout("");
    assert_eq!(far.to_local.connections(), 1, "a denial was passed over");
}

#[test]
fn n10_what_the_probe_says_is_what_counts_however_it_arrives() {
    for pace in [Pace::Late(LATE), Pace::Crumbs, Pace::Jitter] {
        for (said, code) in [(200, 0), (401, 5), (403, 5), (404, 5), (503, 6)] {
            let scene = Scripted::new(Evild::start([down(), answer(said, &[], ""), answer(404, &[], "")]));
            let link = Link::before(scene.central.addr(), pace);
            let mut infer = scene.dana.cmd(["infer", "chat-prod", PROMPT]);
            let stdout = if code == 0 { "Hello from the laptop.\n" } else { "" };
            let told = says("central answered 503");
            infer.env("MCPCTL_SERVER", link.url()).assert().code(code).stdout(stdout).stderr(told);
            assert_eq!((scene.asked(), scene.probes()), (2, 1), "{pace:?}, {said}");
            assert_eq!(scene.local.requests(), usize::from(code == 0), "{pace:?}, {said}");
        }
    }
}

#[test]
fn n10_a_network_that_carries_one_byte_at_a_time_changes_no_verdict_and_no_answer() {
    all_verdicts_are_the_same(Pace::Crumbs);
}

#[test]
fn n10_a_network_that_stutters_changes_no_verdict_and_no_answer() {
    all_verdicts_are_the_same(Pace::Jitter);
}

/// Later than a probe may be: nobody has said yes, whatever the answer that is still on its way.
#[test]
fn n10_a_yes_that_comes_too_late_is_none() {
    let far = Far::new(Pace::Late(Duration::from_millis(1_600)));
    far.stage.upstream.stop();
    let refused = says("central answered 502").and(says("no content within 3 s"));
    far.dana.infer(&[]).code(6).stdout("").stderr(refused);
    assert_eq!((far.to_local.connections(), far.stage.local.connections()), (0, 0));
}
