//! The provider file, and whether each provider could answer.

use super::finding::{Check, Report, edit, quoted, word};
use crate::{
    cmd::{Run, run::providers},
    config::Server,
    engine::{Unfit, launch},
    gateway::Gateway,
    limit::within,
    provider::{self, Readiness},
    providers_file::{Kind, Provider, ProvidersError, ProvidersFile},
    yaml::Mistakes,
};
use mcp_api::FailoverPolicy;
use std::{path::Path, thread, time::Duration};

/// For one provider: a question over HTTP has three seconds of its own.
const LIMIT: Duration = Duration::from_secs(10);

/// The provider file, if there is one that can be used.
pub(super) fn file(run: &Run<'_>, report: &mut Report) -> Option<ProvidersFile> {
    let (env, named) = (run.env.clone(), run.global.providers.clone());
    let Some(looked) = within(LIMIT, move || providers(&env, named)) else {
        report.wrong(Check::ProviderFile, "it does not answer");
        return None;
    };
    match looked {
        Ok(Some(file)) => {
            let (providers, failovers) =
                (file.registry.providers().count(), file.registry.failovers().count());
            let finding = format!(
                "{}: {}, {}",
                file.path.display(),
                counted(providers, "provider"),
                counted(failovers, "failover")
            );
            report.ok(Check::ProviderFile, finding);
            Some(file)
        }
        Ok(None) => {
            report.ok(Check::ProviderFile, "there is none, and so there are no failovers");
            None
        }
        Err(ProvidersError::File(error)) => {
            report.unusable(Check::ProviderFile, &error);
            None
        }
        Err(ProvidersError::Content(Mistakes { path, problems, .. })) => {
            for problem in &problems {
                let finding = format!("{}:{problem}; failover is off until it is mended", path.display());
                report.wrong(Check::ProviderFile, finding).mend(edit(&path, problem.place.line));
            }
            None
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Asks all providers at once: one that hangs holds up no other.
pub(super) fn each(
    run: &Run<'_>,
    file: Option<&ProvidersFile>,
    server: Option<&Server>,
    report: &mut Report,
) {
    let Some(file) = file else { return };
    let asked: Vec<_> = file.registry.providers().collect();
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = |provider: &Provider| {
            let (provider, env) = (provider.clone(), run.env.clone());
            scope.spawn(move || {
                within(LIMIT, move || {
                    let readiness = provider::readiness(&provider, &env);
                    (readiness, mend(&provider, &env))
                })
            })
        };
        let asking: Vec<_> = asked.iter().map(|provider| ask(provider)).collect();
        asking.into_iter().map(|one| one.join().ok().flatten()).collect()
    });
    for (provider, answer) in asked.into_iter().zip(answers) {
        if server.is_some_and(|server| provider::is_at(provider, &server.url)) {
            let finding = "this is the central server itself; it cannot stand in for itself";
            report
                .wrong(Check::Provider, finding)
                .about(&provider.name)
                .mend(edit(&file.path, provider.line));
            continue;
        }
        tell(report, &file.path, provider, answer);
    }
}

fn tell(report: &mut Report, path: &Path, provider: &Provider, answer: Option<(Readiness, Option<String>)>) {
    let name = &provider.name;
    let (readiness, mend) =
        answer.unwrap_or_else(|| (Readiness::Down(format!("no answer within {} s", LIMIT.as_secs())), None));
    let model = &provider.model;
    match readiness {
        Readiness::Running => {
            report.ok(Check::Provider, format!("it answers ({model})")).about(name);
        }
        Readiness::Startable(state) => {
            let finding = format!("its engine is {state} and can be started ({model})");
            report.ok(Check::Provider, finding).about(name);
        }
        Readiness::Down(why) => {
            let finding = report.wrong(Check::Provider, why).about(name);
            finding.mend(edit(path, provider.line)).mend_if(mend);
        }
    }
}

/// What to look at if a provider cannot answer, where that is not its entry.
fn mend(provider: &Provider, env: &crate::environment::Environment) -> Option<String> {
    match &provider.kind {
        Kind::OpenAi(spec) => {
            Some(format!("curl -v {}/models", word(spec.url.as_str().trim_end_matches('/'))))
        }
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => match launch::check(provider, env, true) {
            Err(Unfit::PortTaken(port)) => Some(format!("ss -ltnp 'sport = :{port}'")),
            Err(Unfit::NotRunnable(path, _)) => Some(format!("ls -l {}", quoted(&path))),
            Err(
                Unfit::NotManaged(_)
                | Unfit::NoProgram { .. }
                | Unfit::NotOnPath { .. }
                | Unfit::Model { .. },
            )
            | Ok(()) => None,
        },
    }
}

/// Whether the server has the LLMs that providers are declared for, as far as the caller may see.
pub(super) fn failovers(file: Option<&ProvidersFile>, gateway: Option<&Gateway>, report: &mut Report) {
    let (Some(file), Some(gateway)) = (file, gateway) else { return };
    if file.registry.failovers().next().is_none() {
        return;
    }
    let llms = match gateway.llms() {
        Ok(llms) => llms.items,
        Err(failure) => {
            let finding = format!("the server does not list its LLMs: {}", failure.told_of("the server"));
            report.remark(Check::Failover, finding).mend("mcpctl llm list");
            return;
        }
    };
    for (llm, provider) in file.registry.failovers() {
        let by = format!("{llm} by {}", provider.name);
        match llms.iter().find(|known| known.name == *llm) {
            None => {
                let finding =
                    "the server has no such LLM, or does not let you view it: no failover will be permitted";
                report.remark(Check::Failover, finding).about(by).mend("mcpctl llm list");
            }
            Some(known) if known.failover == FailoverPolicy::Forbidden => {
                let finding = "the server forbids failovers of this LLM";
                report.remark(Check::Failover, finding).about(by).mend(format!("mcpctl llm get {llm}"));
            }
            Some(known) if !known.verbs.contains(&mcp_api::Verb::Run) => {
                let finding = "you may view this LLM and not run it: no failover will be permitted";
                let mend = format!("mcpctl auth can-i run llm/{llm}");
                report.remark(Check::Failover, finding).about(by).mend(mend);
            }
            Some(_) => {
                report.ok(Check::Failover, "you may run this LLM").about(by);
            }
        }
    }
}
