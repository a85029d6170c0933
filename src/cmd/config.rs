//! `config`: which servers there are, and which one is meant.

use super::{Run, Usage, columns::ColumnArgs, completion::Names};
use crate::{
    config::{self, Config, Context},
    credential::TokenCommand,
    exit::Exit,
    render::{self, Columns, Document, Format, Item, Listing, Row},
};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// List the contexts
    #[command(after_help = "Examples:\n  mcpctl config get-contexts\n  mcpctl config get-contexts -o name")]
    GetContexts(ColumnArgs),
    /// Choose the context that is used when none is named
    #[command(
        after_help = "Examples:\n  mcpctl config use-context prod\n  mcpctl llm list --context staging   \
                            # for one command only"
    )]
    UseContext {
        /// Its name
        #[arg(add = Names::Contexts)]
        name: String,
    },
    SetContext(SetContextArgs),
    /// Remove a context; a stored token of its server stays
    #[command(
        after_help = "Examples:\n  mcpctl config delete-context staging\n  mcpctl auth logout --context staging && mcpctl \
                            config delete-context staging"
    )]
    DeleteContext {
        /// Its name
        #[arg(add = Names::Contexts)]
        name: String,
    },
    /// Show the config; it holds no secrets
    #[command(after_help = "Examples:\n  mcpctl config view\n  mcpctl config view -o json")]
    View,
    /// Show where the config file is
    #[command(after_help = "Examples:\n  mcpctl config path\n  ls -l \"$(mcpctl config path)\"")]
    Path,
}

/// Add or change a context; the first one is selected at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl config set-context prod --server https://mcpd.example.com\n  \
                        mcpctl config set-context prod --token-command pass show mcpd/prod\n\n\
                        --server is the global flag. A tokenCommand is run without a shell, and for this context \
                        only: with another server it has to be given anew. See docs/credentials.md.")]
pub(super) struct SetContextArgs {
    /// Its name
    #[arg(add = Names::Contexts)]
    name: String,
    /// Trust these certificate authorities too (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Accept plain http to another machine: everybody on the way can read the token and all prompts
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    insecure_http: Option<bool>,
    /// Get the token from what this program prints; it and its arguments come last on the line
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "WORD")]
    token_command: Option<Vec<String>>,
    /// Get the token from `auth login` again
    #[arg(long, conflicts_with = "token_command")]
    no_token_command: bool,
}

pub(super) fn run(run: &mut Run<'_>, command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::GetContexts(columns) => get_contexts(run, &columns),
        ConfigCommand::UseContext { name } => use_context(run, &name),
        ConfigCommand::SetContext(args) => set_context(run, args),
        ConfigCommand::DeleteContext { name } => delete_context(run, &name),
        ConfigCommand::View => view(run),
        ConfigCommand::Path => {
            run.takes_no_format()?;
            let path = Config::path(&run.env)?;
            run.say(path.display())?;
            Ok(Exit::Ok)
        }
    }
}

/// A context, and whether it is used when none is named.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ContextItem {
    #[serde(flatten)]
    context: Context,
    /// It is used when none is named.
    current: bool,
}

impl Item for ContextItem {
    const LIST: &'static str = "ContextList";
}

fn get_contexts(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, Columns { usual: &["CONTEXT", "SERVER"], wide: &["TOKEN FROM"] })?;
    let (Config { current_context, contexts }, _) = run.config()?;
    let rows = contexts.into_iter().map(|context| {
        let current = current_context.as_ref() == Some(&context.name);
        let name = context.name.clone();
        let shown = if current { format!("{name} *") } else { name.clone() };
        let source = if context.token_command.is_some() { "command" } else { "login" };
        let cells = vec![shown, context.server.clone(), source.into()];
        Row { name, cells, document: ContextItem { context, current } }
    });
    run.show(&Listing { view, rows: rows.collect() })?;
    Ok(Exit::Ok)
}

fn use_context(run: &mut Run<'_>, name: &str) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let (mut config, path) = run.config()?;
    config.context(name)?;
    config.current_context = Some(name.to_owned());
    config.save(&path)?;
    run.say(format_args!("Context \"{name}\" selected."))?;
    Ok(Exit::Ok)
}

fn set_context(run: &mut Run<'_>, args: SetContextArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let path = Config::path(&run.env)?;
    // It may be made here, whoever has named it.
    let mut config = Config::load(&path)?;
    let name = args.name;
    let known = config.context(&name).ok().cloned();
    let is_known = known.is_some();
    let mut context = known.clone().unwrap_or_else(|| Context::new(name.clone(), String::new()));
    if let Some(server) = run.global.server.clone() {
        context.server = server;
    } else if !is_known {
        return Err(Usage("say where it is: --server URL".into()).into());
    }
    if let Some(path) = args.ca_file.or(context.ca_file.take()) {
        // The file must mean the same from every folder.
        let full = path.canonicalize();
        context.ca_file =
            Some(full.map_err(|error| Usage(format!("--ca-file {}: {error}", path.display())))?);
    }
    context.insecure_http = args.insecure_http.unwrap_or(context.insecure_http);
    if let Some([word]) = args.token_command.as_deref()
        && !word.starts_with('/')
        && let words @ [_, _, ..] = word.split_whitespace().collect::<Vec<_>>().as_slice()
    {
        let words = words.join(" ");
        return Err(
            Usage(format!("these are words: --token-command {words} (without quotes around them)")).into()
        );
    }
    let command = args.token_command.map(TokenCommand::try_from).transpose();
    let command = command.map_err(|error| Usage(format!("--token-command: {error}")))?;
    let dropped = known.is_some_and(|known| {
        known.token_command.is_some() && command.is_none() && !config::is_same_origin(&known, &context)
    });
    if args.no_token_command || dropped {
        context.token_command = None;
    }
    context.token_command = command.or(context.token_command);
    let insecure_http = context.insecure_http;
    config.put(context)?;
    let what = if is_known { "changed" } else { "created" };
    let selected = if config.current_context.as_ref() == Some(&name) { " and selected" } else { "" };
    config.save(&path)?;
    run.say(format_args!("Context \"{name}\" {what}{selected}."))?;
    if insecure_http {
        run.warn("plain http: everybody on the way to this server can read the token and all prompts");
    }
    if dropped {
        run.warn(
            "its tokenCommand was dropped, because the server is another one: give it anew if it is meant",
        );
    }
    Ok(Exit::Ok)
}

fn delete_context(run: &mut Run<'_>, name: &str) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let (mut config, path) = run.config()?;
    let was_current = config.remove(name)?;
    config.save(&path)?;
    run.say(format_args!("Context \"{name}\" deleted."))?;
    if was_current {
        run.note("it was the selected one; now none is: mcpctl config use-context NAME");
    }
    Ok(Exit::Ok)
}

impl Document for Config {
    const KIND: &'static str = "Config";
}

/// As YAML it is the file itself.
fn view(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let format = run.format(Format::Yaml, &[Format::Yaml, Format::Json])?;
    let (config, _) = run.config()?;
    // As YAML it is the file, which has no kind.
    match format {
        Format::Json => run.show_document(&config, format)?,
        _ => run.print(&render::document_text(&json!(config), format))?,
    }
    Ok(Exit::Ok)
}
