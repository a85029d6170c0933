//! Those who work: one run after the other, each judged as soon as it is over.

use super::{
    judge::{Expected, Route, judge},
    stage::{CENTRAL, CHAT, DEAD, Local, PROMPT, Somebody, Stage},
    tally::Breach,
    writes::Writer,
};
use crate::{
    chance::Chance,
    child::{End, Finished, Underway, finish},
    person::Person,
};
use serde_json::Value;
use std::time::Duration;

/// No run takes longer, on a loaded machine and with everything that is done to it.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy)]
enum Step {
    Infer,
    List,
    Status,
    Start,
    Stop,
    Events,
    Token,
    Document,
}

const STEPS: &[(u64, Step)] = &[
    (60, Step::Infer),
    (5, Step::List),
    (6, Step::Status),
    (4, Step::Start),
    (3, Step::Stop),
    (5, Step::Events),
    (8, Step::Token),
    (9, Step::Document),
];

/// One who works until it is over. Gives what has to be true of the server's data then.
pub(super) fn work(stage: &Stage, underway: &Underway, seed: u64, number: u64) -> anyhow::Result<Writer> {
    let mut chance = Chance::new(seed, 100 + number);
    let mut writer = Writer::new(number);
    while !stage.is_over() {
        let somebody = &stage.people[chance.below(stage.people.len())];
        match chance.weighted(STEPS) {
            Some(Step::Infer) => infer(stage, underway, somebody, &mut chance)?,
            Some(Step::List) => list(stage, underway, somebody, &mut chance)?,
            Some(step @ (Step::Status | Step::Start | Step::Stop)) => {
                engine(stage, underway, somebody, step)?;
            }
            Some(Step::Events) => events(stage, underway, somebody)?,
            Some(Step::Token) => writer.token(stage, underway, &mut chance)?,
            Some(Step::Document) => writer.document(stage, underway, &mut chance)?,
            None => {}
        }
    }
    Ok(writer)
}

/// Runs `mcpctl` for somebody, at any of the servers, and counts it.
pub(super) fn run(
    stage: &Stage,
    underway: Option<&Underway>,
    person: &Person,
    server: usize,
    args: &[&str],
) -> anyhow::Result<Finished> {
    let url = &stage.servers[server % stage.servers.len()].url;
    let all: Vec<&str> = args.iter().copied().chain(["--server", url]).collect();
    // What is asked when all is over is about everything at once.
    let limit = if underway.is_some() { LIMIT } else { LIMIT * 6 };
    let run = finish(person.command(all), limit, underway)?;
    let end = match run.end {
        End::Code(code) => code.to_string(),
        other => format!("{other:?}"),
    };
    let words = if args[0] == "infer" { &args[..1] } else { &args[..args.len().min(2)] };
    stage.tally.ended(&words.join(" "), &end);
    Ok(run)
}

/// A violation unless the run ended with one of these codes, or was killed by us.
pub(super) fn expect_code(stage: &Stage, who: &str, run: &Finished, codes: &[i32]) {
    stage.tally.judged();
    let is_fine = match run.end {
        End::Code(code) => codes.contains(&code),
        End::Killed => true,
        End::Signal(_) | End::Hung => false,
    };
    if !is_fine {
        stage.tally.violation(Breach::Other, &format!("{who}: not one of {codes:?}: {}", run.told()));
    }
}

fn infer(stage: &Stage, underway: &Underway, somebody: &Somebody, chance: &mut Chance) -> anyhow::Result<()> {
    let llm = if chance.below(3) == 0 { DEAD } else { CHAT };
    let json = chance.below(3) == 0;
    let routes = [(16, Route::Auto), (2, Route::Central), (2, Route::Local)];
    let route = chance.weighted(&routes).unwrap_or(Route::Auto);
    let mut args = vec!["infer", llm, PROMPT, "--first-token-timeout", "5s", "--idle-timeout", "5s"];
    args.extend(json.then_some(["-o", "json"]).into_iter().flatten());
    args.extend((chance.below(5) == 0).then_some("--no-stream"));
    args.extend(match route {
        Route::Auto => &[][..],
        Route::Central => &["--route", "central"],
        Route::Local => &["--route", "local"],
    });
    let run = run(stage, Some(underway), &somebody.person, chance.below(2), &args)?;
    let expected = Expected { central: CENTRAL, local: &somebody.says, right: &somebody.right, route, json };
    stage.tally.judged();
    for (breach, what) in judge(&run, expected) {
        stage.tally.violation(breach, &format!("{}: {what}: {}", somebody.name, run.told()));
    }
    Ok(())
}

/// What a list shows is what may be seen, or nothing because nobody could say.
fn list(stage: &Stage, underway: &Underway, somebody: &Somebody, chance: &mut Chance) -> anyhow::Result<()> {
    let run = run(stage, Some(underway), &somebody.person, chance.below(2), &["llm", "list", "-o", "name"])?;
    expect_code(stage, somebody.name, &run, &[0, 7]);
    let shows = run.stdout.lines().any(|line| line.contains(CHAT) || line.contains(DEAD));
    let may_view = somebody.name == "gus";
    if shows && !may_view && somebody.right.was_surely_absent(run.began, run.ended) {
        stage.tally.violation(Breach::Unauthorised, &format!("{}: {}", somebody.name, run.told()));
    }
    let is_held = may_view || somebody.right.was_surely_held(run.began, run.ended);
    if run.is(0) && !shows && is_held {
        stage.tally.violation(Breach::Other, &format!("{}: an empty list: {}", somebody.name, run.told()));
    }
    Ok(())
}

fn engine(stage: &Stage, underway: &Underway, somebody: &Somebody, step: Step) -> anyhow::Result<()> {
    if let Local::Running(_) = somebody.local {
        return Ok(());
    }
    let (verb, codes) = match step {
        Step::Start => ("start", &[0, 7][..]),
        Step::Stop => ("stop", &[0][..]),
        _ => ("status", &[0, 3][..]),
    };
    let run = run(stage, Some(underway), &somebody.person, 0, &["providers", verb, "laptop"])?;
    expect_code(stage, somebody.name, &run, codes);
    Ok(())
}

fn events(stage: &Stage, underway: &Underway, somebody: &Somebody) -> anyhow::Result<()> {
    let args = ["providers", "failovers", "--events", "-o", "json"];
    let run = run(stage, Some(underway), &somebody.person, 0, &args)?;
    expect_code(stage, somebody.name, &run, &[0]);
    let document: Option<Value> = serde_json::from_str(&run.stdout).ok();
    if run.is(0) && document.is_none_or(|it| it["kind"] != "FailoverEventList") {
        stage.tally.violation(Breach::Other, &format!("{}: no list: {}", somebody.name, run.told()));
    }
    Ok(())
}
