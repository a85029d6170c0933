//! Rights come and go on two servers while both are asked all the time.

use super::{Pair, uses};
use crate::{
    cases::{LIMIT, is_full_run, user},
    history::{Asked, Judgement, Right, Span, Without},
};
use fakes::{Mcpd, Response, required};
use mcp_api::{SubjectKind, paths};
use serde_json::{Value, json};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What can be taken away, each from a user of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Binding,
    Token,
    Membership,
    Switch,
}

const WAYS: [Way; 4] = [Way::Binding, Way::Token, Way::Membership, Way::Switch];

impl Way {
    /// The user, the LLM that it uses, and its binding.
    fn name(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Token => "token",
            Self::Membership => "membership",
            Self::Switch => "switch",
        }
    }
}

/// The token that a way's user has now, with its number.
struct Holder {
    token: Mutex<(u64, String)>,
    /// How many requests began and ended, on each server.
    answered: [AtomicUsize; 2],
}

struct Play<'a> {
    pair: &'a Pair,
    holders: Vec<Holder>,
    unavailable: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends what goes on until the end, also if the test fails before.
struct Curtain<'a>(&'a AtomicBool);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn d09_no_run_that_begins_after_an_acknowledged_revocation_succeeds_on_any_replica() {
    let Some(pair) = Pair::start() else { return required("PostgreSQL") };
    let rounds = if is_full_run() { 1000 } else { 160 } / WAYS.len();
    let play = Play::prepare(&pair);
    let begun = Instant::now();
    let (asked, without) = play.act(rounds);
    let took = begun.elapsed();

    let unavailable = play.unavailable.load(Ordering::Relaxed);
    let judgement = Judgement::of(&asked, &without);
    println!(
        "{} revocations in {took:.1?}: {} requests and {unavailable} without a verdict; {} had to be denied and were, \
         {} had to be allowed and were",
        without.len(),
        asked.len(),
        judgement.denied_rightly,
        judgement.allowed_rightly
    );
    assert!(judgement.broken.is_empty(), "allowed after the revocation: {:#?}", judgement.broken);
    assert!(judgement.denied_wrongly.is_empty(), "denied with the right: {:#?}", judgement.denied_wrongly);
    assert_eq!(without.len(), rounds * WAYS.len());
    // Every revocation was looked at on both servers: `act` waits for that.
    assert!(judgement.denied_rightly + unavailable >= 2 * without.len(), "{}", judgement.denied_rightly);
    assert!(unavailable < asked.len() / 20, "{unavailable} without a verdict");
    assert!(judgement.allowed_rightly >= without.len(), "{}", judgement.allowed_rightly);
}

impl<'a> Play<'a> {
    fn prepare(pair: &'a Pair) -> Self {
        let mcpd = &pair.mcpds[0];
        let holders = WAYS.map(|way| {
            let name = way.name();
            mcpd.create_llm(name, &pair.engine.url());
            mcpd.create_user(name);
            match way {
                Way::Membership => {
                    mcpd.create_subject(SubjectKind::Group, name, &[name]);
                    let subject = json!({"kind": "Group", "name": name});
                    change(mcpd, "POST", paths::RBACS, &binding(name, &subject));
                }
                Way::Binding | Way::Token | Way::Switch => {
                    let subject = json!({"kind": "User", "name": name});
                    change(mcpd, "POST", paths::RBACS, &binding(name, &subject));
                }
            }
            let token = Mutex::new((0, mcpd.token_of(user(name), None)));
            Holder { token, answered: [AtomicUsize::new(0), AtomicUsize::new(0)] }
        });
        Self {
            pair,
            holders: holders.into(),
            unavailable: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Takes every way's right and gives it back, so many times, while both servers are asked for it.
    fn act(&self, rounds: usize) -> (Vec<Asked>, Vec<Without>) {
        thread::scope(|scope| {
            let askers: Vec<_> = (0..WAYS.len())
                .flat_map(|way| [0, 1].map(|replica| scope.spawn(move || self.ask(way, replica))))
                .collect();
            let _ends_them = Curtain(&self.is_over);
            let takers: Vec<_> = (0..WAYS.len())
                .map(|way| {
                    scope.spawn(move || (0..rounds).map(|_| self.take_and_give(way)).collect::<Vec<_>>())
                })
                .collect();
            let without = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
            self.is_over.store(true, Ordering::SeqCst);
            (askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect(), without)
        })
    }

    /// Uses one LLM on one server until the end.
    fn ask(&self, way: usize, replica: usize) -> Vec<Asked> {
        let (holder, mcpd) = (&self.holders[way], &self.pair.mcpds[replica]);
        let mut asked: Vec<Asked> = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            let (number, token) = holder.token.lock().unwrap().clone();
            let begun = Instant::now();
            let status = uses(mcpd, WAYS[way].name(), &token, asked.len().is_multiple_of(2));
            let ended = Instant::now();
            holder.answered[replica].fetch_add(1, Ordering::SeqCst);
            match status {
                200 | 401 | 403 => {
                    asked.push(Asked { right: (way, number), replica, begun, ended, allowed: status == 200 });
                }
                // No verdict, and no entry: the machine is too busy for the server's patience.
                503 => {
                    self.unavailable.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("{:?} on {replica}: {other}", WAYS[way]),
            }
        }
        asked
    }

    fn take_and_give(&self, way: usize) -> Without {
        let holder = &self.holders[way];
        let (number, token) = holder.token.lock().unwrap().clone();
        let right: Right = (way, number);
        let taken = timed(|| take(WAYS[way], self.pair.either(), &token));
        self.wait_for_askers(holder);
        let given = timed(|| {
            let new = give(WAYS[way], self.pair.either());
            if let Some(new) = new {
                *holder.token.lock().unwrap() = (number + 1, new);
            }
        });
        self.wait_for_askers(holder);
        let given_back = (WAYS[way] != Way::Token).then_some(given);
        Without {
            right,
            revocation_sent: taken.sent,
            revocation_acknowledged: taken.acknowledged,
            given_back,
        }
    }

    /// Until on both servers a request that has begun after now has ended.
    fn wait_for_askers(&self, holder: &Holder) {
        let seen = || [0, 1].map(|replica| holder.answered[replica].load(Ordering::SeqCst));
        // The one under way may have begun before.
        let enough = seen().map(|answered| answered + 2);
        let deadline = Instant::now() + LIMIT;
        while seen().iter().zip(enough).any(|(answered, enough)| *answered < enough) {
            assert!(Instant::now() < deadline && !self.is_over.load(Ordering::SeqCst), "nobody asks");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn timed(change: impl FnOnce()) -> Span {
    let sent = Instant::now();
    change();
    Span { sent, acknowledged: Instant::now() }
}

fn take(way: Way, mcpd: &Mcpd, token: &str) {
    let name = way.name();
    match way {
        Way::Binding => change(mcpd, "DELETE", &format!("{}/{name}", paths::RBACS), &json!({})),
        Way::Token => {
            let id = token.split('_').nth(1).unwrap();
            change(mcpd, "DELETE", &paths::token(id), &json!({}))
        }
        Way::Membership => change(mcpd, "PUT", &group(name), &members(name, &json!([]))),
        Way::Switch => change(mcpd, "PATCH", &format!("{}/{name}", paths::LLMS), &json!({"enabled": false})),
    };
}

/// The new token, if there has to be one.
fn give(way: Way, mcpd: &Mcpd) -> Option<String> {
    let name = way.name();
    match way {
        Way::Binding => {
            let subject = json!({"kind": "User", "name": name});
            change(mcpd, "POST", paths::RBACS, &binding(name, &subject))
        }
        Way::Token => {
            let body = json!({"subject": user(name)});
            let made: mcp_api::TokenCreated = change(mcpd, "POST", paths::TOKENS, &body).json();
            return Some(made.token);
        }
        Way::Membership => {
            let all = json!([{"kind": "User", "name": name}]);
            change(mcpd, "PUT", &group(name), &members(name, &all))
        }
        Way::Switch => change(mcpd, "PATCH", &format!("{}/{name}", paths::LLMS), &json!({"enabled": true})),
    };
    None
}

/// Makes a change, again if the server says that it was not made because the database did not answer in time.
fn change(mcpd: &Mcpd, method: &str, path: &str, body: &Value) -> Response {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = mcpd.api(method, path, mcpd.admin_token(), body);
        let was_not_made = answer.header("mcpd-error-code") == Some("database_unavailable");
        if !was_not_made || Instant::now() > deadline {
            return answer.expect_success(&format!("{method} {path}"));
        }
    }
}

fn binding(name: &str, subject: &Value) -> Value {
    let roles = ["view", "run"].map(|role| json!({"role": role, "resource": "llms", "name": name}));
    json!({"name": name, "subjects": [subject], "roleBindings": roles})
}

fn group(name: &str) -> String {
    paths::subject(SubjectKind::Group, &name.parse().unwrap())
}

fn members(group: &str, members: &Value) -> Value {
    json!({"kind": "Group", "name": group, "members": members})
}
