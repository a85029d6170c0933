//! `auth`: log in, log out, and see what you may do.

mod held;
mod prompt;
mod status;

pub(crate) use held::Held;
pub(super) use status::{AuthStatusItem, expires};

use super::{Failure, Run, Usage, columns::ColumnArgs, completion::Names};
use crate::{
    config::Server,
    credential::{self, CredentialError, Keeping, Source, holder},
    exit::Exit,
    gateway::Gateway,
    render::{Document, Format},
};
use clap::{Args, Subcommand};
use mcp_api::{CanI, CanIAnswer, Resource, Secret, SubjectName, Verb, Whoami, paths};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Check a token with the server and keep it in a file of your own; at a terminal it is asked for
    #[command(
        after_help = "Examples:\n  mcpctl auth login\n  mcpctl auth login --token-stdin < token.txt\n  \
                            mcpctl auth login --token-file token.txt\n\n\
                            Contexts of one server share one stored token.\n\
                            A token is never a flag: process lists and shell histories would show it."
    )]
    Login(LoginArgs),
    /// Forget the stored token of this server
    #[command(after_help = "Examples:\n  mcpctl auth logout\n  mcpctl auth logout --context staging\n\n\
                            To end the token itself: mcpctl token revoke ID.")]
    Logout,
    /// Show for each context who you are and whether the server answers; exit 3 if one does not
    #[command(after_help = "Examples:\n  mcpctl auth status\n  mcpctl auth status --context prod -o json")]
    Status(ColumnArgs),
    /// Show who the server takes you for
    #[command(after_help = "Examples:\n  mcpctl auth whoami\n  mcpctl auth whoami -o json")]
    Whoami,
    /// Ask whether you may do something; exit 3 if not
    #[command(
        after_help = "Examples:\n  mcpctl auth can-i run llm/chat-prod\n  mcpctl auth can-i create llms"
    )]
    CanI {
        /// view, run, create, edit or delete
        #[arg(add = Names::Verbs)]
        verb: String,
        /// llm/NAME for one, llms, rbac, users, tokens, secrets or audit for all
        #[arg(add = Names::Resources)]
        what: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// Read the token from stdin (or name a file with --token-file)
    #[arg(long)]
    token_stdin: bool,
    /// Keep it in the keyring of the desktop instead of a file
    #[arg(long)]
    keyring: bool,
    /// Replace the stored token of somebody else too
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(run: &mut Run<'_>, command: AuthCommand) -> anyhow::Result<Exit> {
    match command {
        AuthCommand::Login(args) => login(run, &args),
        AuthCommand::Logout => logout(run),
        AuthCommand::Status(columns) => status::run(run, &columns),
        AuthCommand::Whoami => whoami(run),
        AuthCommand::CanI { verb, what } => can_i(run, &verb, &what),
    }
}

fn login(run: &mut Run<'_>, args: &LoginArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let server = run.server()?;
    uses_stored(&server)?;
    if args.keyring && !credential::HAS_KEYRING {
        return Err(CredentialError::NoKeyring.into());
    }
    let (token, source) = match (args.token_stdin, run.global.token_file.clone()) {
        (_, None) if run.io.input_is_terminal => (prompt::ask(run, &server)?, Source::Input),
        (true, None) => {
            let token = credential::parse(run.read_input(16 << 10)?.trim_end(), "standard input")?;
            (token, Source::Input)
        }
        (false, Some(path)) => (credential::read_file(&path)?, Source::File(path)),
        (false, None) | (true, Some(_)) => {
            return Err(
                Usage("say where the token comes from: --token-stdin, or --token-file FILE".into()).into()
            );
        }
    };
    run.uses(source);
    let who = told_whoami(&server, token.clone())?;
    if !args.replace {
        held::check(run, &server, &who)?;
    }
    let how = if args.keyring { Keeping::Keyring } else { Keeping::File };
    credential::store(&run.env, &server.origin(), &token, how)?;
    holder::learn(&run.env, &server.origin(), &who);
    run.say(format_args!("Logged in to {server} as {}", who.subject.name))?;
    if run.env.var("MCPCTL_TOKEN").is_some() || run.env.var("MCPCTL_TOKEN_FILE").is_some() {
        run.warn("MCPCTL_TOKEN or MCPCTL_TOKEN_FILE is set and is used instead of the stored token");
    }
    Ok(Exit::Ok)
}

/// A context with a `tokenCommand` has no part in the token that is stored for its server: others may use that one.
fn uses_stored(server: &Server) -> Result<(), Usage> {
    if server.token_command.is_none() {
        return Ok(());
    }
    let context = server.context.as_deref().unwrap_or_default();
    Err(Usage(format!(
        "context \"{context}\" gets its token from its tokenCommand, and would not use a stored one \
         (mcpctl config set-context {context} --no-token-command)"
    )))
}

fn logout(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let server = run.server()?;
    uses_stored(&server)?;
    let said = if credential::forget(&run.env, &server.origin())? {
        format!("Logged out of {server}. The token itself stays valid until it expires or is revoked.")
    } else {
        format!("There was no stored token for {server}.")
    };
    run.say(said)?;
    Ok(Exit::Ok)
}

impl Document for Whoami {
    const KIND: &'static str = "Whoami";
}

fn whoami(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json, Format::Yaml])?;
    let server = run.server()?;
    let token = run.credential(&server)?.token;
    let who = ask_whoami(run, &server, token)?;
    match format {
        Format::Text => run.say(&who.subject.name)?,
        _ => run.show_document(&who, format)?,
    }
    Ok(Exit::Ok)
}

/// Whether you may do something.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CanIDocument {
    /// What was asked about: view, run, create, edit or delete.
    verb: Verb,
    /// With what: as it was asked.
    what: String,
    /// Yes or no.
    allowed: bool,
    /// The role binding that allows it.
    binding: Option<SubjectName>,
}

impl Document for CanIDocument {
    const KIND: &'static str = "CanI";
}

fn can_i(run: &mut Run<'_>, verb: &str, what: &str) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let verb: Verb = verb.parse().map_err(|error| Usage(format!("\"{verb}\": {error}")))?;
    let question = question(verb, what)?;
    let CanIAnswer { allowed, binding } =
        run.gateway()?.send(Method::POST, paths::CAN_I, &question).map_err(Failure)?;
    match (format, allowed, &binding) {
        (Format::Json, ..) => {
            run.show_document(&CanIDocument { verb, what: what.to_owned(), allowed, binding }, format)?;
        }
        (_, true, Some(binding)) => run.say(format_args!("yes (by role binding \"{binding}\")"))?,
        (_, true, None) => run.say("yes")?,
        (_, false, _) => run.say("no")?,
    }
    Ok(if allowed { Exit::Ok } else { Exit::No })
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

/// Asks who a token belongs to, and remembers that and when it ends.
fn ask_whoami(run: &Run<'_>, server: &Server, token: Secret) -> anyhow::Result<Whoami> {
    let who = told_whoami(server, token)?;
    holder::learn(&run.env, &server.origin(), &who);
    Ok(who)
}

fn told_whoami(server: &Server, token: Secret) -> anyhow::Result<Whoami> {
    Ok(Gateway::for_calls(server, token)?.get(paths::WHOAMI).map_err(Failure)?)
}
