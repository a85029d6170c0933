//! A08: whatever several people do in whatever order, no call gives anybody a right that its caller did not hold, and
//! none takes one away that its caller did not hold. Random walks on the real server, against [`World`].

mod steps;

use crate::{
    cases::times,
    rights::{Right, World},
};
use fakes::{Mcpd, Response};
use mcp_api::{CanI, CanIAnswer, Labels, Rbac, Resource, Subject, SubjectKind, TokenCreated, Verb, paths};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use std::{cell::Cell, collections::BTreeSet};
use steps::{ACTORS, BOSS, Call, ID_OF_CHAT, SUBJECTS, Step, THINGS, Walk, any_walk, subject};

#[test]
fn a08_no_sequence_of_calls_gives_anybody_what_its_caller_did_not_hold() {
    let cases = times(60, 1000);
    let (done, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&any_walk(), |walk| {
        let mut player = Player::new(&walk);
        for step in &walk.steps {
            let answer = player.play(step)?;
            match answer.status {
                200..=299 => done.set(done.get() + 1),
                403 if answer.text().contains("do not hold") => refused.set(refused.get() + 1),
                401 | 403 | 404 | 409 | 412 | 422 => {}
                other => prop_assert!(false, "{step:?}: {other} {}", answer.text()),
            }
        }
        player.ask_all()
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Else all of this says little.
    assert!(
        done.get() > 3 * cases && refused.get() > cases / 2,
        "{} done, {} refused",
        done.get(),
        refused.get()
    );
}

/// A server, the tokens that each actor has, and the tokens that are no longer good.
struct Player {
    mcpd: Mcpd,
    tokens: Vec<Vec<(Subject, String)>>,
    dead: Vec<String>,
    /// Every name that a right can be about, ids of LLMs included.
    names: Vec<String>,
    world: World,
}

impl Player {
    fn new(walk: &Walk) -> Self {
        let mcpd = Mcpd::start();
        let mut tokens = Vec::new();
        for (actor, grants) in ACTORS.iter().zip(&walk.initial) {
            mcpd.create_user(actor);
            let who = subject(SubjectKind::User, actor);
            let name = format!("initial-{actor}").parse().unwrap();
            let rbac = Rbac {
                name,
                labels: Labels::default(),
                subjects: vec![who.clone()],
                role_bindings: grants.clone(),
            };
            let _made =
                mcpd.api("POST", paths::RBACS, mcpd.admin_token(), &rbac).expect_success("a first binding");
            tokens.push(vec![(who, mcpd.token_for(actor))]);
        }
        let names = THINGS.iter().map(ToString::to_string).collect();
        Self { world: World::seen_by_admin(&mcpd), mcpd, tokens, dead: Vec::new(), names }
    }

    /// Makes one call and looks at what became of everybody.
    fn play(&mut self, step: &Step) -> Result<Response, TestCaseError> {
        let (caller, token) = step.caller.get(&self.tokens[step.actor]).clone();
        let before = self.world.clone();
        let answer = self.send(&token, step);
        self.world = World::seen_by_admin(&self.mcpd);
        self.names.extend(
            self.world
                .llms
                .iter()
                .map(|llm| llm.id.to_string())
                .filter(|id| !self.names.contains(id))
                .collect::<Vec<_>>(),
        );
        prop_assert_eq!(answer.status == 401, !before.knows(&token), "{:?}", step);
        let held = before.rights(&caller, &self.names);
        if answer.status >= 300 || step.rehearsal {
            prop_assert!(
                before == self.world,
                "{step:?} was refused with {} and changed something",
                answer.status
            );
        }
        for who in SUBJECTS.iter().map(|(kind, name)| subject(*kind, name)) {
            let (had, has) = (before.rights(&who, &self.names), self.world.rights(&who, &self.names));
            let given: BTreeSet<_> =
                has.difference(&had).filter(|right| !self.is_of_newcomer(&before, right)).collect();
            let lacking: Vec<_> = given.into_iter().filter(|right| !held.contains(*right)).collect();
            prop_assert!(lacking.is_empty(), "{step:?} by {caller:?} gave {who:?} {lacking:?}");
            let is_of_gone = |right: &&Right| matches!(step.call, Call::Drop(_)) && right.1 == Resource::Llms;
            let taken = had.difference(&has).filter(|right| !is_of_gone(right) && !held.contains(*right));
            let taken: Vec<_> = taken.collect();
            prop_assert!(taken.is_empty(), "{step:?} by {caller:?} took from {who:?} {taken:?}");
        }
        if let Call::Token(owner) = &step.call
            && answer.status == 201
        {
            let owners = self.world.rights(owner, &self.names);
            let lacking: Vec<_> = owners.difference(&held).collect();
            prop_assert!(lacking.is_empty(), "{caller:?} speaks for {owner:?}, who has {lacking:?}");
            let made = answer.json::<TokenCreated>().token;
            self.tokens[step.actor].push((owner.clone(), made));
        }
        self.bury();
        self.ask(step.caller)?;
        Ok(answer)
    }

    /// A right by the id of an LLM that was made in this step belongs to who had it by the name already.
    fn is_of_newcomer(&self, before: &World, (_, kind, name): &Right) -> bool {
        let is_new = |id: &str| !before.llms.iter().any(|llm| llm.id.as_str() == id);
        let of = self.world.llms.iter().find(|llm| Some(llm.id.as_str()) == name.as_deref());
        *kind == Resource::Llms && of.is_some_and(|llm| is_new(llm.id.as_str()))
    }

    fn send(&self, token: &str, step: &Step) -> Response {
        let (method, mut path, body) = self.request(&step.call);
        if step.rehearsal {
            path.push_str("?dryRun=server");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.mcpd.request(method, &path, Some(token), &[], body.as_bytes())
    }

    fn request(&self, call: &Call) -> (&'static str, String, Option<Value>) {
        let delete = |path: String| ("DELETE", path, None);
        let put = |there: bool, all: &str, own: String, body: Value| {
            if there { ("PUT", own, Some(body)) } else { ("POST", all.to_owned(), Some(body)) }
        };
        let llm = |name: &str| format!("{}/{name}", paths::LLMS);
        match call {
            Call::Bind { rbac, odd } => {
                let there = self.world.bindings.iter().any(|known| known.name == rbac.name);
                put(there != *odd, paths::RBACS, paths::rbac(&rbac.name), json!(self.with_id(rbac)))
            }
            Call::Unbind(name) => delete(format!("{}/{name}", paths::RBACS)),
            Call::Subject { spec, odd } => {
                let who = Subject { kind: spec.kind, name: spec.name.clone() };
                let there = self.world.members.contains_key(&who);
                let mut spec = spec.clone();
                // One who is not there would be a reason to refuse before any other.
                spec.members.retain(|member| *odd || self.world.members.contains_key(member));
                put(there != *odd, paths::SUBJECTS, paths::subject(spec.kind, &spec.name), json!(spec))
            }
            Call::Forget(who) => delete(paths::subject(who.kind, &who.name)),
            Call::Token(owner) => ("POST", paths::TOKENS.to_owned(), Some(json!({"subject": owner}))),
            Call::Revoke(which) => {
                // Not that of the administrator, without whom nobody sees what happens.
                let others = self.world.tokens.iter().filter(|token| token.subject.name.as_str() != "admin");
                let others: Vec<_> =
                    others.filter(|token| token.subject.name.as_str() != ACTORS[BOSS]).collect();
                let id = if others.is_empty() { "aaaaaaaaaaaaaaaa" } else { &which.get(&others).id };
                delete(paths::token(id))
            }
            Call::Llm { name, odd } => {
                let spec = json!(Mcpd::llm_spec(name, "http://127.0.0.1:9/v1"));
                put(self.world.id_of(name).is_some() != *odd, paths::LLMS, llm(name), spec)
            }
            Call::Patch { name, patch } => ("PATCH", llm(name), Some(json!(patch))),
            Call::Drop(name) => delete(llm(name)),
        }
    }

    /// The binding with the id of the LLM that it means.
    fn with_id(&self, rbac: &Rbac) -> Rbac {
        let mut rbac = rbac.clone();
        for name in rbac.role_bindings.iter_mut().filter_map(|what| what.name.as_mut()) {
            if name.as_str() == ID_OF_CHAT {
                *name = self.world.id_of("chat").unwrap_or("chat").parse().unwrap();
            }
        }
        rbac
    }

    /// Puts tokens that can no longer be good among the dead; a namesake who comes later does not revive them.
    fn bury(&mut self) {
        for own in &mut self.tokens {
            // Their first one stays with them, so that they always have something to show.
            for at in (1..own.len()).rev() {
                if !self.world.knows(&own[at].1) {
                    self.dead.push(own.remove(at).1);
                }
            }
        }
    }

    /// Compares a few answers of the server with what the documents say.
    fn ask(&self, seed: Index) -> Result<(), TestCaseError> {
        let questions = self.questions();
        for number in 0..ACTORS.len() {
            let (who, token) = &self.tokens[number][0];
            let at = (seed.index(questions.len()) + number * 37) % questions.len();
            self.compare(who, token, &questions[at])?;
        }
        Ok(())
    }

    /// Compares all of them, for everybody, and has every dead token tried.
    fn ask_all(&self) -> Result<(), TestCaseError> {
        for (who, token) in self.tokens.iter().flatten() {
            for question in self.questions().iter().step_by(7) {
                self.compare(who, token, question)?;
            }
        }
        for token in &self.dead {
            prop_assert_eq!(self.mcpd.request("GET", paths::WHOAMI, Some(token), &[], b"").status, 401);
        }
        Ok(())
    }

    fn compare(&self, who: &Subject, token: &str, right: &Right) -> Result<(), TestCaseError> {
        let (verb, resource, name) = right.clone();
        let asked = CanI { verb, resource, name: name.map(|name| name.parse().unwrap()) };
        let answer = self.mcpd.api("POST", paths::CAN_I, token, &asked);
        if !self.world.knows(token) {
            prop_assert_eq!(answer.status, 401);
            return Ok(());
        }
        let may = self.world.rights(who, &self.names).contains(right);
        prop_assert_eq!(answer.json::<CanIAnswer>().allowed, may, "{:?} {:?}", who, asked);
        Ok(())
    }

    fn questions(&self) -> Vec<Right> {
        let names: Vec<_> = [None].into_iter().chain(self.names.iter().cloned().map(Some)).collect();
        let kinds = Resource::ALL.iter().flat_map(|kind| Verb::ALL.iter().map(move |verb| (*verb, *kind)));
        kinds.flat_map(|(verb, kind)| names.iter().map(move |name| (verb, kind, name.clone()))).collect()
    }
}
