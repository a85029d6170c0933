//! `llm`: what the server has, and whether one of them may be used.

use super::{
    Failure, Run, Usage,
    columns::ColumnArgs,
    completion::Names,
    meant,
    permission::{self, Known},
};
use crate::{
    documents::Key,
    exit::Exit,
    failover::{Denial, Doubt, Verdict, Why},
    gateway::Gateway,
    providers_file::ProvidersFile,
    render::{Columns, Document, Format, Item, Listing, Row},
};
use clap::Subcommand;
use mcp_api::{Llm, LlmKey, LlmSpec};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub(super) enum LlmCommand {
    /// List the LLMs you may view, and who stands in for them
    #[command(
        after_help = "Examples:\n  mcpctl llm list -o wide\n  mcpctl llm list -o json | jq -r '.items[].name'"
    )]
    List(ColumnArgs),
    /// Show LLMs in full, by name or id
    #[command(
        after_help = "Examples:\n  mcpctl llm get chat-prod\n  mcpctl llm get chat-prod -o json | jq .contextLength"
    )]
    Get {
        /// Names or ids
        #[arg(required = true, add = Names::Llms)]
        names: Vec<String>,
    },
    /// Ask whether you may use an LLM now: the question that comes before every failover
    #[command(
        after_help = "Examples:\n  mcpctl llm head chat-prod\n  mcpctl llm head chat-prod -o json | jq -r .verdict\n\n\
                            Exit codes: 0 allowed, 5 denied, 4 not logged in, 9 no such LLM, 6 cannot tell."
    )]
    Head {
        /// Name or id
        #[arg(add = Names::Llms)]
        name: String,
    },
}

pub(super) fn run(run: &mut Run<'_>, command: LlmCommand) -> anyhow::Result<Exit> {
    match command {
        LlmCommand::List(columns) => list(run, &columns),
        LlmCommand::Get { names } => get(run, &names),
        LlmCommand::Head { name } => head(run, &key(&name)?),
    }
}

const COLUMNS: Columns = Columns {
    usual: &["NAME", "MODEL", "VERBS", "FAILOVER", "LOCAL PROVIDER"],
    wide: &["ID", "TYPE", "URL", "ENABLED"],
};

fn list(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let llms = run.gateway()?.llms().map_err(Failure)?.items;
    let providers = match run.providers() {
        Ok(file) => file,
        Err(error) => {
            run.warn(format_args!("{error}; failover is off until it is mended"));
            None
        }
    };
    let rows = llms.into_iter().map(|llm| row(llm, providers.as_ref())).collect();
    run.show(&Listing { view, rows })?;
    Ok(Exit::Ok)
}

/// An LLM, and who stands in for it on this machine.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LlmItem {
    #[serde(flatten)]
    llm: Llm,
    /// The provider that is declared as its failover here.
    local_provider: Option<String>,
}

impl Item for LlmItem {
    const LIST: &'static str = "LlmList";
}

/// An LLM in full.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum LlmDocument {
    /// As the server shows it to this caller: `llm get`.
    Shown(Box<Llm>),
    /// As it is described, and as `apply` takes it: `get llm`.
    #[expect(dead_code, reason = "`get` shows the documents of all kinds; this is its part of the schema")]
    Described(Box<LlmSpec>),
}

impl Document for LlmDocument {
    const KIND: &'static str = "Llm";
}

/// What the server says to the question that comes before every failover.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerdictDocument {
    /// The LLM, as it was asked for.
    llm: String,
    /// One word: `allowed`, or why it is not.
    verdict: &'static str,
    /// The same for people.
    why: String,
}

impl Document for VerdictDocument {
    const KIND: &'static str = "Verdict";
}

fn row(llm: Llm, providers: Option<&ProvidersFile>) -> Row<LlmItem> {
    let provider = providers.and_then(|file| file.registry.stand_in_for(&llm.name)).map(|p| p.name.clone());
    let verbs: Vec<_> = llm.verbs.iter().map(|verb| verb.as_str()).collect();
    Row {
        name: llm.name.to_string(),
        cells: vec![
            llm.name.to_string(),
            llm.model.clone(),
            verbs.join(","),
            llm.failover.to_string(),
            provider.clone().unwrap_or_default(),
            llm.id.to_string(),
            llm.kind.clone(),
            llm.url.clone(),
            if llm.enabled { "yes".into() } else { "no".into() },
        ],
        document: LlmItem { llm, local_provider: provider },
    }
}

fn get(run: &mut Run<'_>, names: &[String]) -> anyhow::Result<Exit> {
    let format = run.format(Format::Yaml, &[Format::Yaml, Format::Json, Format::Jsonl, Format::Name])?;
    let keys = names.iter().map(|name| key(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let gateway = run.gateway()?;
    let one = |key: &LlmKey| {
        gateway.llm(key).map_err(|failure| meant::failed(&gateway, &Key::Llm(key.clone()), failure))
    };
    let llms = keys.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
    if format == Format::Name {
        for llm in &llms {
            run.say(&llm.name)?;
        }
        return Ok(Exit::Ok);
    }
    for (i, llm) in llms.into_iter().enumerate() {
        if i > 0 && format == Format::Yaml {
            run.say("---")?;
        }
        run.show_document(&LlmDocument::Shown(Box::new(llm)), format)?;
    }
    Ok(Exit::Ok)
}

fn head(run: &mut Run<'_>, llm: &LlmKey) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let server = run.server()?;
    let token = run.credential(&server)?.token;
    let gateway = Gateway::for_calls(&server, token)?;
    let verdict = permission::ask(run, &gateway, &server.origin(), llm, Known::default()).verdict;
    match format {
        Format::Json => {
            let (llm, why) = (llm.as_str().to_owned(), verdict.to_string());
            run.show_document(&VerdictDocument { llm, verdict: verdict.word(), why }, format)?;
        }
        _ => run.say(&verdict)?,
    }
    advise(run, &gateway, llm, &verdict);
    Ok(exit(&verdict))
}

/// What to do next, where it is not for an administrator to do it.
fn advise(run: &mut Run<'_>, gateway: &Gateway, llm: &LlmKey, verdict: &Verdict) {
    match verdict.outcome() {
        Err(Why::Denied(Denial::Status(401))) => run.tip("mcpctl auth login --token-stdin"),
        Err(Why::Denied(Denial::Status(403 | 404))) => {
            if let Some(meant) = meant::llm(gateway, llm) {
                run.note(format_args!("did you mean \"{meant}\"?"));
            }
        }
        Err(Why::Unverified(Doubt::NoAnswer(_))) => run.tip("mcpctl doctor"),
        Ok(()) | Err(_) => {}
    }
}

fn exit(verdict: &Verdict) -> Exit {
    match verdict.outcome() {
        Ok(()) => Exit::Ok,
        Err(Why::Denied(Denial::Status(401))) => Exit::Login,
        Err(Why::Denied(Denial::Status(404))) => Exit::Rejected,
        Err(Why::Denied(_)) => Exit::Denied,
        Err(Why::Unverified(_) | Why::Final | Why::NoStandIn(_)) => Exit::Unverified,
    }
}

/// An LLM's name or id, checked before anything is sent.
pub(super) fn key(text: &str) -> anyhow::Result<LlmKey> {
    text.parse().map_err(|error| Usage(format!("\"{}\" is no LLM: {error}", text.escape_debug())).into())
}
