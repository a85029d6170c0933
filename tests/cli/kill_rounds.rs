//! Commands against each other, and blows against all of them, at random moments: after each round the next command
//! works, and a stop leaves nothing.

use crate::{
    engine_stage::server_without_upstream,
    kill_stage::{Family, Home, say},
    support::{Client, LIMIT, PROMPT, TEN_WORDS},
};
use fakes::{Mcpd, Refusing, required, wait_until};
use mcpctl::engine::{Condition, processes::Process};
use rustix::process::Signal;
use std::{
    cell::Cell,
    env, fs,
    ops::Range,
    process::{Child, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The seed is told, and can be given by `MCPCTL_SEED`; how many rounds there are by `MCPCTL_ROUNDS`.
fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(&mut self, range: Range<usize>) -> usize {
        let length = u64::try_from(range.len()).expect("small");
        range.start + usize::try_from(self.next() % length).expect("small")
    }

    fn one<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.of(0..from.len())]
    }

    fn time(&mut self, below: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.of(0..below)).expect("small"))
    }
}

use Step::{
    Infer, KillCommand, KillEngine, KillSupervisor, RemoveSocket, Start, StartUnattended, Stop, StopNow,
    TermEngine,
};

/// What a round is made of: commands that run at once, and blows against them and what they have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    StartUnattended,
    Infer,
    Stop,
    StopNow,
    KillCommand,
    KillSupervisor,
    KillEngine,
    TermEngine,
    RemoveSocket,
}

impl Step {
    fn is_blow(self) -> bool {
        matches!(self, KillCommand | KillSupervisor | KillEngine | TermEngine | RemoveSocket)
    }
}

#[derive(Debug)]
struct Round {
    number: u64,
    idle: &'static str,
    steps: Vec<(Duration, Step)>,
}

impl Round {
    fn new(number: u64, random: &mut Random) -> Self {
        let idle = random.one(&["", "", "", "    idleTimeoutMinutes: 0.002\n"]);
        let mut steps = Vec::new();
        for _ in 0..random.of(1..4) {
            let at = random.time(250);
            match random.one(&[Start, StartUnattended, Infer, Infer, Stop, StopNow, KillCommand]) {
                KillCommand => steps.extend([(at, Infer), (at, Infer), (at, Infer)]),
                step => steps.push((at, step)),
            }
        }
        for _ in 0..random.one(&[0, 0, 1, 1, 2, 3]) {
            let blow = random.one(&[KillCommand, KillSupervisor, KillEngine, TermEngine, RemoveSocket]);
            steps.push((random.time(400), blow));
        }
        steps.sort_by_key(|(at, _)| *at);
        Self { number, idle, steps }
    }

    fn has(&self, what: impl Fn(Step) -> bool) -> bool {
        self.steps.iter().any(|(_, step)| what(*step))
    }
}

struct Stage {
    home: Home,
    /// How many supervisors and engines were struck.
    struck: Cell<usize>,
    _mcpd: Mcpd,
    _upstream: Refusing,
}

impl Stage {
    fn new() -> Option<Self> {
        let (upstream, mcpd, dana_token) = server_without_upstream();
        let home = Home::new(Client::of(&mcpd.url(), &dana_token))?;
        Some(Self { home, struck: Cell::new(0), _mcpd: mcpd, _upstream: upstream })
    }

    fn begin(&self, step: Step) -> Child {
        let mut command = match step {
            Start => self.home.providers("start", &[]),
            StartUnattended => self.home.providers("start", &["--wait=false"]),
            Stop => self.home.providers("stop", &[]),
            StopNow => self.home.providers("stop", &["--now"]),
            _ => self.home.raw(["infer", "chat-prod", PROMPT, "--first-token-timeout", "10s"]),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("mcpctl can be run")
    }

    fn strike(&self, blow: Step, random: &mut Random, commands: &mut [(Step, Child)]) {
        // What is to be struck may be about to begin.
        let alive = |(_, command): &mut (Step, Child)| matches!(command.try_wait(), Ok(None));
        let patience = Instant::now() + Duration::from_millis(700);
        let is_there = |family: &Family| match blow {
            KillSupervisor => !family.supervisors.is_empty(),
            KillEngine | TermEngine => !family.engines.is_empty(),
            RemoveSocket => !self.home.sockets().is_empty(),
            _ => true,
        };
        let mut family = self.home.family();
        while !is_there(&family) && Instant::now() < patience && commands.iter_mut().any(alive) {
            family = self.home.family();
        }
        thread::sleep(random.time(60));
        let (pids, signal) = match blow {
            KillCommand if commands.is_empty() => return,
            KillCommand => {
                let one = random.of(0..commands.len());
                return commands[one].1.kill().expect("it is ours");
            }
            RemoveSocket => {
                return self.home.sockets().iter().for_each(|socket| drop(fs::remove_file(socket)));
            }
            KillSupervisor => (family.supervisors, Signal::KILL),
            KillEngine => (family.engines, Signal::KILL),
            _ => (family.engines, Signal::TERM),
        };
        if !pids.is_empty() {
            let pid = random.one(&pids).cast_signed();
            self.struck.set(self.struck.get() + 1);
            let _gone = Process::find(pid).is_some_and(|process| process.signal(signal));
        }
    }

    fn play(&self, round: &Round, random: &mut Random) {
        let (home, when) = (&self.home, format!("round {}: {round:?}", round.number));
        home.declare(round.idle);
        let started = Instant::now();
        let mut commands = Vec::new();
        for (at, step) in &round.steps {
            thread::sleep(at.saturating_sub(started.elapsed()));
            if step.is_blow() {
                self.strike(*step, random, &mut commands);
            } else {
                commands.push((*step, self.begin(*step)));
            }
        }
        let quiet = !round.has(|step| step.is_blow() || matches!(step, Stop | StopNow));
        for (step, mut child) in commands {
            wait_until(LIMIT, &format!("{when}: the end of {step:?}"), || {
                child.try_wait().expect("it is ours").is_some()
            });
            let output = child.wait_with_output().expect("it is ours");
            assert!(fits(step, &output, quiet), "{when}: {step:?}: {output:?}\n{}", home.told());
        }
        home.assert_truthful(&when);
        let next = self.begin(Infer).wait_with_output().expect("it is ours");
        assert!(fits(Infer, &next, true), "{when}: then: {next:?}\n{}", home.told());
        if random.of(0..4) > 0 {
            home.stop(&when);
            assert_eq!(home.status().condition, Condition::Stopped, "{when}\n{}", home.told());
            assert!(home.sockets().is_empty(), "{when}: {}", home.told());
        }
        home.assert_never_two(&when);
        home.assert_logged(&when);
    }
}

/// A command may be killed, or fail where something was done to its engine; a stop never fails.
fn fits(step: Step, output: &Output, quiet: bool) -> bool {
    let code = output.status.code();
    let well = code == Some(0);
    let answered = output.stdout == format!("{TEN_WORDS}\n").into_bytes();
    match step {
        Infer if well => answered,
        Infer => !quiet && matches!(code, None | Some(7 | 8)),
        Start | StartUnattended => well || (!quiet && matches!(code, None | Some(7))),
        _ => well || code.is_none(),
    }
}

#[test]
fn e05_rounds_of_commands_and_kills_at_random() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = setting("MCPCTL_SEED", u64::from(now.subsec_nanos()));
    let (from, rounds) = (setting("MCPCTL_ROUND", 1), setting("MCPCTL_ROUNDS", 60));
    let Some(stage) = Stage::new() else { return required("llama-server") };
    let started = Instant::now();
    say(&format!("MCPCTL_SEED={seed} MCPCTL_ROUNDS={rounds}"));
    for number in from..from + rounds {
        // Every round can be played alone.
        let mut random = Random(seed ^ (number << 32));
        let round = Round::new(number, &mut random);
        if env::var_os("MCPCTL_SHOW").is_some() {
            say(&format!("{round:?}"));
        }
        stage.play(&round, &mut random);
    }
    stage.home.stop("at the end");
    let (starts, took) = (stage.home.starts().len(), started.elapsed());
    let struck = stage.struck.get();
    say(&format!("{rounds} rounds, {starts} starts, {struck} blows on supervisors and engines, {took:.1?}"));
}
