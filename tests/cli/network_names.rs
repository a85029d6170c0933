//! Names and their addresses: a name server that fails, lies low or knows of dead addresses, each in a network of its
//! own. What is decided about a right is what the real server says, once it can be reached.

use crate::support::{LIMIT, PROMPT, Stage, TEN_WORDS, assert_logged};
use fakes::{
    OwnNetwork,
    own_network::{Answer, LOST, LOST_V6, NO_ROUTE, Ran},
    required,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

const PORT: u16 = 3100;
/// Where the server is, if a name leads there.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Of this machine, and nobody listens there.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// How many POSTs make a stage: LLM, user, binding, token.
const POSTS_OF_STAGE: usize = 4;

/// A stage whose server is known by its name only, and that has no way out but to the doubles.
struct Named(Stage);

impl Named {
    /// None where nobody may have a network of their own.
    fn new() -> Option<Self> {
        if !OwnNetwork::can_be_had() {
            required("user and network namespaces, and ip");
            return None;
        }
        let stage = Stage::new();
        let url = format!("http://mcpd.example:{PORT}");
        let context = ["config", "set-context", "prod", "--server", &url, "--insecure-http"];
        stage.dana.cmd(context).assert().code(0);
        Some(Self(stage))
    }

    /// Asks where the n-th lookup of the server's name gets the n-th answer.
    fn infer(&self, answers: &[Answer], more: &[&str]) -> Ran {
        let network = OwnNetwork::answering(answers.iter().cloned())
            .way((HERE, PORT), self.0.mcpd.addr())
            .way(self.0.local.addr(), self.0.local.addr());
        let mut command = self.0.dana.raw(["infer", "chat-prod", PROMPT].iter().chain(more));
        command.env_remove("MCPCTL_SERVER");
        network.run(&command)
    }
}

fn at(addresses: &[IpAddr]) -> Answer {
    Answer::Addresses(addresses.to_vec())
}

fn assert_told(ran: &Ran, code: i32, stdout: &str, told: &[&str]) {
    assert_eq!((ran.code(), ran.stdout().as_str()), (Some(code), stdout), "{ran:?}");
    let stderr = ran.stderr();
    assert!(told.iter().all(|text| stderr.contains(text)), "{told:?} in {stderr}");
}

/// What a name server does that knows of no server, and how the program tells it.
fn outages() -> [(Answer, &'static str); 3] {
    [
        (Answer::NoSuchName, "cannot reach mcpd.example:3100: no address"),
        (Answer::Failure, "cannot reach mcpd.example:3100: no address"),
        (Answer::Silence, "cannot reach mcpd.example:3100: no connection within 0.5 s"),
    ]
}

const SHORT: [&str; 2] = ["--connect-timeout", "500ms"];

#[test]
fn n01_a_name_that_leads_nowhere_is_an_outage_in_which_nobody_can_confirm_a_right() {
    let Some(named) = Named::new() else { return };
    for (answer, told) in outages() {
        let started = Instant::now();
        let ran = named.infer(&[answer], &SHORT);
        assert!(started.elapsed() < LIMIT / 4, "{:?}", started.elapsed());
        let refused = "failover refused: cannot confirm that you may use \"chat-prod\"";
        assert_told(&ran, 6, "", &[told, refused]);
        assert_eq!(ran.lookups, ["mcpd.example"; 2], "the primary and the probe");
    }
    assert_logged(&named.0.mcpd, "POST", POSTS_OF_STAGE);
    named.0.assert_local_untouched();
}

#[test]
fn n01_a_name_that_is_found_again_for_the_probe_opens_what_the_server_permits() {
    let Some(named) = Named::new() else { return };
    for (answer, told) in outages() {
        let ran = named.infer(&[answer, at(&[HERE])], &SHORT);
        assert_told(&ran, 0, "Hello from the laptop.\n", &[told, "confirmed by the server"]);
    }
    let asked = named.0.local.connections();
    named.0.mcpd.delete_binding("dana-chat");
    for (answer, told) in outages() {
        let ran = named.infer(&[answer, at(&[HERE])], &SHORT);
        assert_told(&ran, 5, "", &[told, "failover refused: run is not granted (403)"]);
    }
    assert_logged(&named.0.mcpd, "POST", POSTS_OF_STAGE);
    assert_eq!(named.0.local.connections(), asked, "a denial was passed over");
}

#[test]
fn n01_a_name_server_that_is_silent_is_not_waited_for_beyond_the_limit_for_everything() {
    let Some(named) = Named::new() else { return };
    let started = Instant::now();
    let ran = named.infer(&[Answer::Silence], &["--timeout", "700ms"]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_told(&ran, 7, "", &["--timeout 0.7 s is over"]);
    named.0.assert_local_untouched();
}

#[test]
fn n03_an_address_that_refuses_or_swallows_is_an_outage_and_the_servers_word_decides() {
    let Some(named) = Named::new() else { return };
    let outages = [
        (NOBODY, "cannot reach mcpd.example:3100: connection refused"),
        (LOST, "cannot reach mcpd.example:3100: no connection within 0.5 s"),
    ];
    for (dead, told) in outages {
        let ran = named.infer(&[at(&[dead])], &SHORT);
        assert_told(&ran, 6, "", &[told, "failover refused: cannot confirm that you may use"]);
        named.0.assert_local_untouched();
    }
    for (dead, told) in outages {
        let ran = named.infer(&[at(&[dead]), at(&[HERE])], &SHORT);
        assert_told(&ran, 0, "Hello from the laptop.\n", &[told, "confirmed by the server"]);
    }
    let asked = named.0.local.connections();
    named.0.mcpd.delete_binding("dana-chat");
    for (dead, told) in outages {
        let ran = named.infer(&[at(&[dead]), at(&[HERE])], &SHORT);
        assert_told(&ran, 5, "", &[told, "failover refused: run is not granted (403)"]);
    }
    assert_eq!(named.0.local.connections(), asked, "a denial was passed over");
}

#[test]
fn n04_an_address_that_is_dead_is_passed_over_for_the_next_one() {
    let Some(named) = Named::new() else { return };
    let dead = [&[NOBODY][..], &[LOST], &[NO_ROUTE], &[LOST_V6], &[NOBODY, LOST_V6]];
    let mut answered = 0;
    for dead in dead {
        for addresses in [[dead, &[HERE]].concat(), [&[HERE], dead].concat()] {
            let ran = named.infer(&[at(&addresses)], &["--connect-timeout", "2s"]);
            assert_told(&ran, 0, &format!("{TEN_WORDS}\n"), &[]);
            assert_eq!(ran.stderr(), "", "{addresses:?}");
            assert_eq!(ran.lookups, ["mcpd.example"], "{addresses:?}");
            answered += 1;
        }
    }
    assert_logged(&named.0.mcpd, "POST", POSTS_OF_STAGE + answered);
    named.0.assert_local_untouched();
}

#[test]
fn n04_many_dead_addresses_take_no_longer_than_one() {
    let Some(named) = Named::new() else { return };
    let lost: Vec<IpAddr> = (1..=8).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))).collect();
    let dead = [&lost[..], &[LOST_V6]].concat();
    let started = Instant::now();
    let ran = named.infer(&[at(&dead)], &SHORT);
    assert_told(&ran, 6, "", &["no connection within 0.5 s", "failover refused: cannot confirm"]);
    let ran = named.infer(&[at(&dead)], &["--timeout", "700ms"]);
    assert_told(&ran, 7, "", &["--timeout 0.7 s is over"]);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    named.0.assert_local_untouched();
}
