//! `auth`: log in, log out, and see what you may do.

use super::{Failure, Run, Usage, columns::ColumnArgs};
use crate::{
    config::{Config, Server},
    credential,
    environment::Environment,
    exit::Exit,
    gateway::Gateway,
    render::{self, Columns, Format, Listing, Row},
};
use clap::{Args, Subcommand};
use jiff::{SpanRound, Timestamp, Unit};
use mcp_api::{CanI, CanIAnswer, Resource, Secret, Verb, Whoami, paths};
use reqwest::Method;
use serde_json::json;
use std::time::Instant;

#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Check a token with the server and keep it in a file of your own
    #[command(after_help = "Examples:\n  mcpctl auth login --token-stdin < token.txt\n  \
                            mcpctl auth login --token-file token.txt\n\n\
                            A token is never a flag: process lists and shell histories would show it.")]
    Login(LoginArgs),
    /// Forget the stored token of this server
    Logout,
    /// Show for each context who you are and whether the server answers
    Status(ColumnArgs),
    /// Show who the server takes you for
    Whoami,
    /// Ask whether you may do something; exit 3 if not
    #[command(
        after_help = "Examples:\n  mcpctl auth can-i run llm/chat-prod\n  mcpctl auth can-i create llms"
    )]
    CanI {
        /// view, run, create, edit or delete
        verb: String,
        /// llm/NAME for one, llms, rbac, users, tokens, secrets or audit for all
        what: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// Read the token from stdin (or name a file with --token-file)
    #[arg(long)]
    token_stdin: bool,
}

pub(super) fn run(run: &mut Run<'_>, command: AuthCommand) -> anyhow::Result<Exit> {
    match command {
        AuthCommand::Login(args) => login(run, &args),
        AuthCommand::Logout => logout(run),
        AuthCommand::Status(columns) => status(run, &columns),
        AuthCommand::Whoami => whoami(run),
        AuthCommand::CanI { verb, what } => can_i(run, &verb, &what),
    }
}

fn login(run: &mut Run<'_>, args: &LoginArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let server = run.server()?;
    let token = match (args.token_stdin, run.global.token_file.clone()) {
        (true, None) => credential::parse(run.read_input(16 << 10)?.trim_end(), "standard input")?,
        (false, Some(path)) => credential::read_file(&path)?,
        (false, None) | (true, Some(_)) => {
            return Err(
                Usage("say where the token comes from: --token-stdin, or --token-file FILE".into()).into()
            );
        }
    };
    let who = ask_whoami(&server, token.clone())?;
    credential::store(&run.env, &server.origin(), &token)?;
    run.say(format_args!("Logged in to {server} as {}", who.subject.name))?;
    if run.env.var("MCPCTL_TOKEN").is_some() || run.env.var("MCPCTL_TOKEN_FILE").is_some() {
        run.warn("MCPCTL_TOKEN or MCPCTL_TOKEN_FILE is set and is used instead of the stored token");
    }
    Ok(Exit::Ok)
}

fn logout(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let server = run.server()?;
    let said = if credential::forget(&run.env, &server.origin())? {
        format!("Logged out of {server}. The token itself stays valid until it expires or is revoked.")
    } else {
        format!("There was no stored token for {server}.")
    };
    run.say(said)?;
    Ok(Exit::Ok)
}

fn whoami(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json, Format::Yaml])?;
    let who: Whoami = run.gateway()?.get(paths::WHOAMI).map_err(Failure)?;
    match format {
        Format::Text => run.say(&who.subject.name)?,
        _ => run.print(&render::document_text(&render::document("Whoami", json!(who)), format))?,
    }
    Ok(Exit::Ok)
}

fn can_i(run: &mut Run<'_>, verb: &str, what: &str) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let verb: Verb = verb.parse().map_err(|error| Usage(format!("\"{verb}\": {error}")))?;
    let question = question(verb, what)?;
    let answer: CanIAnswer = run.gateway()?.send(Method::POST, paths::CAN_I, &question).map_err(Failure)?;
    match (format, answer.allowed, &answer.binding) {
        (Format::Json, ..) => {
            let content =
                json!({ "verb": verb, "what": what, "allowed": answer.allowed, "binding": answer.binding });
            run.print(&render::document_text(&render::document("CanI", content), format))?;
        }
        (_, true, Some(binding)) => run.say(format_args!("yes (by role binding \"{binding}\")"))?,
        (_, true, None) => run.say("yes")?,
        (_, false, _) => run.say("no")?,
    }
    Ok(if answer.allowed { Exit::Ok } else { Exit::No })
}

/// `llm/chat-prod`, `llms`, `rbac/data-team`, `tokens` ...
fn question(verb: Verb, what: &str) -> anyhow::Result<CanI> {
    let (kind, name) = what.split_once('/').map_or((what, None), |(kind, name)| (kind, Some(name)));
    let resource = match kind {
        "llm" | "llms" => Resource::Llms,
        "rbac" => Resource::Rbac,
        "user" | "users" => Resource::Users,
        "token" | "tokens" => Resource::Tokens,
        "secret" | "secrets" => Resource::Secrets,
        "audit" => Resource::Audit,
        other => {
            return Err(Usage(format!(
                "\"{other}\": expected llm/NAME, llms, rbac, users, tokens, secrets or audit"
            ))
            .into());
        }
    };
    let name = name.map(str::parse).transpose().map_err(|error| Usage(format!("\"{what}\": {error}")))?;
    Ok(CanI { verb, resource, name })
}

const STATUS: Columns =
    Columns { usual: &["CONTEXT", "SERVER", "USER", "TOKEN SOURCE", "EXPIRES", "REACHABLE"], wide: &[] };

fn status(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, STATUS)?;
    let (config, _) = run.config()?;
    let mut exit = Exit::Ok;
    let mut rows = Vec::new();
    for line in lines(run, &config)? {
        let (row, reachable) = status_row(run, &line);
        rows.push(row);
        if !reachable {
            exit = Exit::No;
        }
    }
    run.show(&Listing { kind: "AuthStatusList", view, rows })?;
    Ok(exit)
}

/// One line of the status: whether it is about the server that is meant, and so may get a token from anywhere.
struct Line {
    name: String,
    server: Server,
    meant: bool,
}

/// Every context; or the one server that was given by flag or variable.
fn lines(run: &Run<'_>, config: &Config) -> anyhow::Result<Vec<Line>> {
    let meant = run.server()?;
    if meant.context.is_none() || run.global.context.is_some() {
        let name = meant.context.clone().unwrap_or_else(|| "-".into());
        return Ok(vec![Line { name, server: meant, meant: true }]);
    }
    let none = Environment::default();
    let named = config.contexts.iter().map(|context| {
        let is_meant = meant.context.as_deref() == Some(&context.name);
        let name = if is_meant { format!("{} *", context.name) } else { context.name.clone() };
        Ok(Line { name, server: config.server(&none, None, Some(&context.name))?, meant: is_meant })
    });
    named.collect()
}

/// A token from a flag or a variable is for the server that is meant; every other one gets only what is stored for it.
fn status_row(run: &Run<'_>, line: &Line) -> (Row, bool) {
    let (name, server) = (&line.name, &line.server);
    let row = |user: &str, source: &str, expires: &str, reachable: &str, ok: bool| {
        let cells = [name, &server.origin(), user, source, expires, reachable].map(str::to_owned);
        let name = name.trim_end_matches(" *").to_owned();
        let document = json!({
            "context": name, "server": server.origin(), "user": user, "tokenSource": source,
            "expires": expires, "reachable": reachable,
        });
        (Row { name, cells: cells.to_vec(), document }, ok)
    };
    let credential = if line.meant {
        run.credential(server)
    } else {
        credential::find_stored(&run.env, &server.origin()).map_err(Into::into)
    };
    let credential = match credential {
        Ok(credential) => credential,
        Err(error) => return row("", "none", "", &error.to_string(), false),
    };
    let source = credential.source.to_string();
    let started = Instant::now();
    match ask_whoami(server, credential.token) {
        Ok(who) => {
            let reachable = format!("yes ({} ms)", started.elapsed().as_millis());
            row(
                who.subject.name.as_str(),
                &source,
                &expires(who.token_expires_at.as_deref()),
                &reachable,
                true,
            )
        }
        Err(error) => row("", &source, "", &format!("no: {error}"), false),
    }
}

fn ask_whoami(server: &Server, token: Secret) -> anyhow::Result<Whoami> {
    Ok(Gateway::for_calls(server, token)?.get(paths::WHOAMI).map_err(Failure)?)
}

/// `in 30d`, `never`, or the text itself if it is no time.
fn expires(at: Option<&str>) -> String {
    let Some(at) = at else { return "never".into() };
    let Ok(at_time) = at.parse::<Timestamp>() else { return at.to_owned() };
    let left = at_time
        .since(Timestamp::now())
        .and_then(|span| span.round(SpanRound::new().largest(Unit::Hour).smallest(Unit::Minute)));
    match left {
        Ok(span) if span.get_hours() >= 48 => format!("in {}d", span.get_hours() / 24),
        Ok(span) if span.is_positive() => format!("in {}h{}m", span.get_hours(), span.get_minutes()),
        Ok(_) => "expired".into(),
        Err(_) => at.to_owned(),
    }
}
