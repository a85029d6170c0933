//! `config`: which servers there are, and which one is meant.

use super::{Run, columns::ColumnArgs};
use crate::{
    config::{Config, Context},
    exit::Exit,
    render::{self, Columns, Format, Listing, Row},
};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// List the contexts
    GetContexts(ColumnArgs),
    /// Choose the context that is used when none is named
    UseContext {
        /// Its name
        name: String,
    },
    /// Add or change a context; the first one is selected at once
    #[command(after_help = "Example: mcpctl config set-context prod --server https://mcpd.example.com\n\
                            (--server is the global flag.)")]
    SetContext {
        /// Its name
        name: String,
        /// Trust these certificate authorities too (PEM)
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// Accept plain http to another machine: everybody on the way can read the token and all prompts
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        insecure_http: Option<bool>,
    },
    /// Show the config; it holds no secrets
    View,
    /// Show where the config file is
    Path,
}

pub(super) fn run(run: &mut Run<'_>, command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::GetContexts(columns) => get_contexts(run, &columns),
        ConfigCommand::UseContext { name } => use_context(run, &name),
        ConfigCommand::SetContext { name, ca_file, insecure_http } => {
            set_context(run, &name, ca_file, insecure_http)
        }
        ConfigCommand::View => view(run),
        ConfigCommand::Path => {
            run.takes_no_format()?;
            let path = Config::path(&run.env)?;
            run.say(path.display())?;
            Ok(Exit::Ok)
        }
    }
}

fn get_contexts(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, Columns { usual: &["CONTEXT", "SERVER"], wide: &[] })?;
    let (config, _) = run.config()?;
    let rows = config.contexts.iter().map(|context| {
        let current = config.current_context.as_deref() == Some(&context.name);
        let mut document = json!(context);
        document["current"] = json!(current);
        let shown = if current { format!("{} *", context.name) } else { context.name.clone() };
        Row { name: context.name.clone(), cells: vec![shown, context.server.clone()], document }
    });
    run.show(&Listing { kind: "ContextList", view, rows: rows.collect() })?;
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

fn set_context(
    run: &mut Run<'_>,
    name: &str,
    ca_file: Option<PathBuf>,
    insecure_http: Option<bool>,
) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let (mut config, path) = run.config()?;
    let known = config.context(name).ok().cloned();
    let server = run.global.server.clone().or_else(|| known.as_ref().map(|context| context.server.clone()));
    let server = server.ok_or_else(|| super::Usage("say where it is: --server URL".into()))?;
    let ca_file = match ca_file.or_else(|| known.as_ref().and_then(|context| context.ca_file.clone())) {
        // The file must mean the same from every folder.
        Some(path) => Some(
            path.canonicalize()
                .map_err(|error| super::Usage(format!("--ca-file {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let insecure_http =
        insecure_http.unwrap_or_else(|| known.as_ref().is_some_and(|context| context.insecure_http));
    config.put(Context { name: name.to_owned(), server, ca_file, insecure_http })?;
    let what = if known.is_some() { "changed" } else { "created" };
    let selected = if config.current_context.as_deref() == Some(name) { " and selected" } else { "" };
    config.save(&path)?;
    run.say(format_args!("Context \"{name}\" {what}{selected}."))?;
    if insecure_http {
        run.warn("plain http: everybody on the way to this server can read the token and all prompts");
    }
    Ok(Exit::Ok)
}

fn view(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let format = run.format(Format::Yaml, &[Format::Yaml, Format::Json])?;
    let (config, _) = run.config()?;
    // As YAML it is the file, which has no kind.
    let document =
        if format == Format::Json { render::document("Config", json!(config)) } else { json!(config) };
    run.print(&render::document_text(&document, format))?;
    Ok(Exit::Ok)
}
