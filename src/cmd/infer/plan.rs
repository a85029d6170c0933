//! `infer --dry-run`: what would be asked, and of whom. Nothing is sent.

use super::{InferArgs, args::Route, question::Question};
use crate::{
    cmd::Run,
    config::Server,
    exit::Exit,
    failover::NoStandIn,
    gateway,
    providers_file::Provider,
    render::{Document, Format, unobeyed},
};
use mcp_api::{LlmKey, paths};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// What an inference would ask, and of whom.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InferencePlan<'a> {
    /// The LLM, as it was asked for.
    llm: &'a str,
    /// The call of the server; null with `--route local`.
    central: Option<CentralPlan>,
    /// Who would answer if the server's inference path fails.
    failover: FailoverPlan<'a>,
}

/// The call of the server.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CentralPlan {
    /// Where it goes.
    url: String,
    /// The request.
    body: Value,
}

/// Who would answer if the server's inference path fails.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", untagged)]
enum FailoverPlan<'a> {
    /// Somebody would, with the server's permission.
    #[serde(rename_all = "camelCase")]
    Declared {
        /// The local provider.
        provider: &'a str,
        /// Its type.
        #[serde(rename = "type")]
        kind: &'static str,
        /// Its name for the model.
        model: &'a str,
        /// The question that the server has to answer with a clear yes before.
        only_if: String,
        /// The request.
        body: Value,
        /// Fields of the request that it does not get.
        left_out: Vec<&'a str>,
    },
    /// Nobody would.
    Nobody {
        /// Null: there is nobody.
        provider: (),
        /// Why not.
        why: String,
    },
}

impl Document for InferencePlan<'_> {
    const KIND: &'static str = "InferencePlan";
}

/// Shows the plan.
pub(super) fn show(
    run: &mut Run<'_>,
    format: Format,
    args: &InferArgs,
    server: &Server,
    llm: &LlmKey,
    question: &Question,
    stand_in: &Result<&Provider, NoStandIn>,
) -> anyhow::Result<Exit> {
    let request = &question.request;
    let central = (args.route != Route::Local).then(|| CentralPlan {
        url: format!("{}{}", server.origin(), paths::infer(llm)),
        body: request.body(gateway::model(llm)),
    });
    let failover = match stand_in {
        Ok(provider) => FailoverPlan::Declared {
            provider: &provider.name,
            kind: provider.kind.as_str(),
            model: &provider.model,
            only_if: format!("HEAD {}{} allows it", server.origin(), paths::llm(llm)),
            body: request.for_local().body(Some(&provider.model)),
            left_out: request.kept_from_local().collect(),
        },
        Err(none) => FailoverPlan::Nobody { provider: (), why: none.to_string() },
    };
    let plan = InferencePlan { llm: llm.as_str(), central, failover };
    match format {
        Format::Json | Format::Yaml => run.show_document(&plan, format)?,
        _ => run.say(&plan)?,
    }
    Ok(Exit::Ok)
}

/// For people; the request is shown once.
impl fmt::Display for InferencePlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.central {
            Some(central) => writeln!(f, "ask         POST {}", central.url)?,
            None => writeln!(f, "ask         nobody: --route local")?,
        }
        let local_body = match &self.failover {
            FailoverPlan::Declared { provider, kind, model, only_if, body, left_out } => {
                writeln!(f, "failover    provider \"{provider}\" ({kind}), model {model}")?;
                writeln!(f, "only if     {only_if}")?;
                if !left_out.is_empty() {
                    writeln!(f, "without     {}", left_out.join(", "))?;
                }
                Some(body)
            }
            FailoverPlan::Nobody { why, .. } => {
                writeln!(f, "failover    none: {why}")?;
                None
            }
        };
        match self.central.as_ref().map(|central| &central.body).or(local_body) {
            Some(body) => write!(f, "request\n{}\nnothing was sent", unobeyed(&format!("{body:#}"))),
            None => f.write_str("nothing was sent"),
        }
    }
}
