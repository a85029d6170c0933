//! `providers`: what the provider file declares, and whether it would hold when it is needed.

use super::{
    Run, Usage,
    permission::{self, Known},
};
use crate::{
    config::Server,
    exit::Exit,
    gateway::Gateway,
    provider::{self, Readiness},
    providers_file::{ApiKey, Kind, Managed, Provider, ProvidersFile},
    render::{self, Format, Listing, Row},
    yaml,
};
use clap::Subcommand;
use mcp_api::{LlmKey, LlmName};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum ProvidersCommand {
    /// List the providers
    List,
    /// Show one provider in full
    Get {
        /// Its name
        name: String,
    },
    /// List which provider stands in for which LLM
    #[command(
        after_help = "Exit codes with --probe: 0 if every failover could take over now, 3 if one could not."
    )]
    Failovers {
        /// Ask the server for permission and the providers for readiness, now
        #[arg(long)]
        probe: bool,
    },
    /// Check the provider file, and say which line to change
    Validate,
}

pub(super) fn run(run: &mut Run<'_>, command: &ProvidersCommand) -> anyhow::Result<Exit> {
    let file = run.providers()?;
    match command {
        ProvidersCommand::List => list(run, file.as_ref()),
        ProvidersCommand::Get { name } => get(run, file.as_ref(), name),
        ProvidersCommand::Failovers { probe: false } => failovers(run, file.as_ref()),
        ProvidersCommand::Failovers { probe: true } => probe(run, file.as_ref()),
        ProvidersCommand::Validate => validate(run, file.as_ref()),
    }
}

fn list(run: &mut Run<'_>, file: Option<&ProvidersFile>) -> anyhow::Result<Exit> {
    let rows = file.into_iter().flat_map(|file| file.registry.providers()).map(|provider| {
        let llms: Vec<_> = provider.failover_for.iter().map(LlmName::as_str).collect();
        let cells = vec![
            provider.name.clone(),
            provider.kind.as_str().into(),
            provider.model.clone(),
            llms.join(","),
            endpoint(provider),
        ];
        Row { name: provider.name.clone(), cells, document: document(provider) }
    });
    let columns = &["NAME", "TYPE", "MODEL", "FAILOVER FOR"];
    let listing = Listing { kind: "ProviderList", columns, wide: &["ENDPOINT"], rows: rows.collect() };
    run.show(&listing)?;
    Ok(Exit::Ok)
}

fn get(run: &mut Run<'_>, file: Option<&ProvidersFile>, name: &str) -> anyhow::Result<Exit> {
    let format = run.format(Format::Yaml, &[Format::Yaml, Format::Json])?;
    let known: Vec<_> =
        file.into_iter().flat_map(|f| f.registry.providers()).map(|p| p.name.as_str()).collect();
    let Some(provider) = file.and_then(|file| file.registry.provider(name)) else {
        let near =
            yaml::nearest(name, &known).map_or(String::new(), |near| format!(" (did you mean \"{near}\"?)"));
        return Err(Usage(format!("no provider is named \"{name}\"{near}")).into());
    };
    run.print(&render::document_text(&render::document("Provider", document(provider)), format))?;
    Ok(Exit::Ok)
}

fn failovers(run: &mut Run<'_>, file: Option<&ProvidersFile>) -> anyhow::Result<Exit> {
    let home = run.env.home();
    let rows = file.into_iter().flat_map(|file| {
        let path = match home.as_deref().and_then(|home| file.path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => file.path.display().to_string(),
        };
        file.registry.failovers().map(move |(llm, provider)| {
            let line = file.lines.get(llm).copied().unwrap_or_default();
            let mut row = failover_row(llm, provider);
            row.document["declaredAt"] = json!({ "file": file.path, "line": line });
            row.cells.push(format!("{path}:{line}"));
            row.cells.push(endpoint(provider));
            row
        })
    });
    let columns = &["LLM", "PROVIDER", "TYPE", "MODEL", "DECLARED AT"];
    let listing = Listing { kind: "FailoverList", columns, wide: &["ENDPOINT"], rows: rows.collect() };
    run.show(&listing)?;
    Ok(Exit::Ok)
}

/// Every failover as it would go now: is it permitted, and does the provider answer?
fn probe(run: &mut Run<'_>, file: Option<&ProvidersFile>) -> anyhow::Result<Exit> {
    let server = run.server()?;
    let gateway = Gateway::for_calls(&server, run.credential(&server)?.token)?;
    let mut rows = Vec::new();
    let mut all_ready = true;
    for (llm, provider) in file.into_iter().flat_map(|file| file.registry.failovers()) {
        let key = LlmKey::Name(llm.clone());
        let verdict = permission::ask(run, &gateway, &server.origin(), &key, Known::default()).verdict;
        let readiness = readiness(run, provider, &server);
        let can_answer = matches!(readiness, Readiness::Running | Readiness::Startable(_));
        let ready = verdict.outcome().is_ok() && can_answer;
        all_ready &= ready;
        let engine = match &readiness {
            Readiness::Running => "running".to_owned(),
            Readiness::Startable(state) => (*state).to_owned(),
            Readiness::Down(_) => "not ready".to_owned(),
        };
        let mut row = failover_row(llm, provider);
        row.document["permission"] = json!({ "verdict": verdict.word(), "why": verdict.to_string() });
        row.document["ready"] = json!(ready);
        row.document["engine"] = match &readiness {
            Readiness::Running => json!({ "state": "running" }),
            Readiness::Startable(state) => json!({ "state": state, "startable": true }),
            Readiness::Down(why) => json!({ "state": "not_ready", "why": why }),
        };
        row.cells.extend([verdict.to_string(), engine, if ready { "yes" } else { "no" }.into()]);
        if let Readiness::Down(why) = readiness {
            run.note(format_args!("{}: {why}", provider.name));
        }
        rows.push(row);
    }
    let columns = &["LLM", "PROVIDER", "TYPE", "MODEL", "PERMISSION", "ENGINE", "READY"];
    run.show(&Listing { kind: "FailoverProbeList", columns, wide: &[], rows })?;
    Ok(if all_ready { Exit::Ok } else { Exit::No })
}

fn readiness(run: &Run<'_>, provider: &Provider, server: &Server) -> Readiness {
    if provider::is_at(provider, &server.url) {
        return Readiness::Down("this is the central server itself; it cannot stand in for itself".into());
    }
    provider::readiness(provider, &run.env)
}

fn validate(run: &mut Run<'_>, file: Option<&ProvidersFile>) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let Some(file) = file else {
        run.say("there is no provider file, so there are no failovers")?;
        return Ok(Exit::Ok);
    };
    // Which server is meant may be unknown here; then this one check has to wait until it is.
    if let Ok(server) = run.server()
        && let Some(provider) =
            file.registry.providers().find(|provider| provider::is_at(provider, &server.url))
    {
        let (path, line) = (file.path.display(), provider.line);
        let message =
            format!("{path}:{line}: provider \"{}\" is the central server {server} itself", provider.name);
        return Err(Usage(message).into());
    }
    let (providers, failovers) = (file.registry.providers().count(), file.registry.failovers().count());
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (providers, failovers) = (plural(providers, "provider"), plural(failovers, "failover"));
    run.say(format_args!("{}: {providers}, {failovers}", file.path.display()))?;
    Ok(Exit::Ok)
}

fn failover_row(llm: &LlmName, provider: &Provider) -> Row {
    let mut document = json!({ "llm": llm, "provider": provider.name, "type": provider.kind.as_str(), "model": provider.model });
    document["remote"] = json!(is_remote(provider));
    let cells =
        vec![llm.to_string(), provider.name.clone(), provider.kind.as_str().into(), provider.model.clone()];
    Row { name: llm.to_string(), cells, document }
}

fn is_remote(provider: &Provider) -> bool {
    match &provider.kind {
        Kind::OpenAi(spec) => !crate::http::is_loopback(&spec.url),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => false,
    }
}

fn endpoint(provider: &Provider) -> String {
    match &provider.kind {
        Kind::OpenAi(spec) if is_remote(provider) => {
            format!("{} (remote: prompts leave this machine)", spec.url)
        }
        Kind::OpenAi(spec) => spec.url.to_string(),
        Kind::VllmManaged(spec) => managed_endpoint(&spec.managed),
        Kind::LlamacppManaged(spec) => managed_endpoint(&spec.managed),
    }
}

fn managed_endpoint(managed: &Managed) -> String {
    match managed.port {
        None => "unix socket".into(),
        Some(0) => "a free port of 127.0.0.1".into(),
        Some(port) => format!("127.0.0.1:{port}"),
    }
}

/// A provider as a document. Values of its environment are left out: they may be secrets.
fn document(provider: &Provider) -> Value {
    let mut document = json!({
        "name": provider.name,
        "type": provider.kind.as_str(),
        "model": provider.model,
        "failoverFor": provider.failover_for,
        "line": provider.line,
    });
    let managed = |managed: &Managed| {
        json!({
            "idleTimeoutMinutes": managed.idle_timeout_minutes,
            "startTimeoutSeconds": managed.start_timeout_seconds,
            "endpoint": managed_endpoint(managed),
            "env": managed.env.keys().collect::<Vec<_>>(),
            "extraArgs": managed.extra_args.len(),
        })
    };
    let more = match &provider.kind {
        Kind::OpenAi(spec) => json!({
            "url": spec.url.as_str(),
            "remote": is_remote(provider),
            "apiKey": spec.api_key.as_ref().map(|key| match key {
                ApiKey::Env(name) => json!({ "env": name }),
                ApiKey::File(path) => json!({ "file": path }),
            }),
        }),
        Kind::VllmManaged(spec) => {
            let mut more = managed(&spec.managed);
            more["venvPath"] = json!(spec.venv);
            more["gpuMemoryUtilization"] = json!(spec.gpu_memory_utilization);
            more["maxModelLen"] = json!(spec.max_model_len);
            more
        }
        Kind::LlamacppManaged(spec) => {
            let mut more = managed(&spec.managed);
            more["binaryPath"] = json!(spec.binary);
            more["contextSize"] = json!(spec.context_size);
            more
        }
    };
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}
