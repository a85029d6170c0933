//! `token`: make, list and revoke tokens.

use super::{Failure, Run, Usage, columns::ColumnArgs, meant};
use crate::{
    exit::Exit,
    render::{Columns, Document, Format, Item, Listing, Row},
};
use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use mcp_api::{NewToken, Subject, SubjectKind, TokenCreated, TokenInfo, identity::Items, paths};
use reqwest::Method;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, and only it: this is the one time it can be seen
    #[command(
        after_help = "Examples:\n  mcpctl token create --user dana@example.com --expires 30d > token.txt\n  \
                            mcpctl token create --service-account ci --expires 12h > token.txt\n\n\
                            Say umask 077 before, so that nobody else can read the file."
    )]
    Create(CreateArgs),
    /// List tokens; the secrets are not among what is shown
    #[command(after_help = "Examples:\n  mcpctl token list\n  mcpctl token list -o csv > tokens.csv")]
    List(ColumnArgs),
    /// Revoke a token at once, everywhere
    #[command(after_help = "Examples:\n  mcpctl token revoke 0123456789abcdef\n  \
                            mcpctl token revoke 0123456789abcdef --context staging")]
    Revoke {
        /// Its id, as the list shows it
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
pub(super) struct CreateArgs {
    /// For this user
    #[arg(long, group = "whose", value_name = "NAME")]
    user: Option<String>,
    /// For this service account
    #[arg(long, group = "whose", value_name = "NAME")]
    service_account: Option<String>,
    /// How long it is valid, such as 12h or 30d; without it, until it is revoked
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

pub(super) fn run(run: &mut Run<'_>, command: TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Create(args) => create(run, &args),
        TokenCommand::List(columns) => list(run, &columns),
        TokenCommand::Revoke { id } => revoke(run, &id),
    }
}

impl Document for TokenCreated {
    const KIND: &'static str = "Token";
}

impl Item for TokenInfo {
    const LIST: &'static str = "TokenList";
}

fn create(run: &mut Run<'_>, args: &CreateArgs) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let (kind, name) = match (&args.user, &args.service_account) {
        (Some(name), _) => (SubjectKind::User, name),
        (None, Some(name)) => (SubjectKind::ServiceAccount, name),
        (None, None) => {
            return Err(Usage("say whose it is: --user NAME or --service-account NAME".into()).into());
        }
    };
    let name = name.parse().map_err(|error| Usage(format!("\"{name}\": {error}")))?;
    let expires_in_seconds = args.expires.as_deref().map(lifetime).transpose()?;
    let wanted = NewToken { subject: Subject { kind, name }, expires_in_seconds };
    let gateway = run.gateway()?;
    let created: TokenCreated = gateway.send(Method::POST, paths::TOKENS, &wanted).map_err(Failure)?;
    let told = match format {
        Format::Json => run.show_document(&created, format),
        _ => run.say(&created.token),
    };
    if let Err(error) = told.and_then(|()| run.flush()) {
        // A token that nobody has seen must not stay valid.
        let id = &created.info.id;
        return Err(match gateway.delete(&paths::token(id)) {
            Ok(()) => error.context(format!("the token could not be written and was revoked again ({id})")),
            Err(_) => error.context(format!("the token could not be written: mcpctl token revoke {id}")),
        });
    }
    Ok(Exit::Ok)
}

/// `30d`, `12h`, `90m`, in seconds. A day has 24 hours.
fn lifetime(text: &str) -> anyhow::Result<u64> {
    let wrong = || Usage(format!("--expires {text}: give a time such as 12h or 30d"));
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let seconds = match &text[split..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong().into()),
    };
    number.checked_mul(seconds).filter(|total| *total > 0).ok_or_else(|| wrong().into())
}

const COLUMNS: Columns = Columns { usual: &["ID", "KIND", "NAME", "STATE", "EXPIRES"], wide: &["CREATED"] };

fn list(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let tokens: Items<TokenInfo> = run.gateway()?.get(paths::TOKENS).map_err(Failure)?;
    let rows = tokens.items.into_iter().map(|token| {
        let is_over = |at: &String| at.parse::<Timestamp>().is_ok_and(|at| at <= Timestamp::now());
        let state = match &token.expires_at {
            _ if token.revoked_at.is_some() => "revoked",
            Some(at) if is_over(at) => "expired",
            Some(_) | None => "valid",
        };
        let expires = token.expires_at.clone().unwrap_or_else(|| "never".into());
        let cells = vec![
            token.id.clone(),
            token.subject.kind.to_string(),
            token.subject.name.to_string(),
            state.into(),
            expires,
            token.created_at.clone(),
        ];
        Row { name: token.id.clone(), cells, document: token }
    });
    run.show(&Listing { view, rows: rows.collect() })?;
    Ok(Exit::Ok)
}

fn revoke(run: &mut Run<'_>, id: &str) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    // The id goes into a path; a whole token given by mistake must not be sent nor repeated.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(
            Usage("give the id of the token as `mcpctl token list` shows it, not the token".into()).into()
        );
    }
    let gateway = run.gateway()?;
    gateway.delete(&paths::token(id)).map_err(|failure| meant::failed_token(&gateway, id, failure))?;
    run.say(format_args!("Token {id} revoked."))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_people_write_them() {
        for (text, seconds) in [("30d", 2_592_000), ("12h", 43_200), ("90m", 5400), ("1s", 1)] {
            assert_eq!(lifetime(text).unwrap(), seconds);
        }
        for wrong in ["", "30", "0d", "-1d", "1w2", "99999999999999999999d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
