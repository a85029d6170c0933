//! `auth status`: for each context, who you are there, by which token, and whether the server answers.

use super::ask_whoami;
use crate::{
    cmd::{Run, columns::ColumnArgs},
    config::{Config, Server},
    credential::{self, holder::Left},
    environment::Environment,
    exit::Exit,
    render::{Columns, Item, Listing, Row},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Instant;

/// Who you are in a context, and whether its server answers.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthStatusItem {
    /// The context; `-` if the server was given by flag or variable.
    context: String,
    /// The origin of its server.
    server: String,
    /// Whom the server takes you for; empty if it could not be asked.
    user: String,
    /// Where the token comes from: environment, named file, file (0600), keyring, command, or none.
    token_source: String,
    /// When the token ends, for people: `in 30d`, `expired`, `never`; empty if the server could not be asked.
    expires: String,
    /// The same as a time, RFC 3339 in UTC.
    expires_at: Option<String>,
    /// `yes` and how long it took, or what happened instead.
    reachable: String,
}

impl Item for AuthStatusItem {
    const LIST: &'static str = "AuthStatusList";
}

const COLUMNS: Columns = Columns {
    usual: &["CONTEXT", "SERVER", "USER", "TOKEN SOURCE", "EXPIRES", "REACHABLE"],
    wide: &["EXPIRES AT"],
};

pub(super) fn run(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let (config, _) = run.config()?;
    let mut exit = Exit::Ok;
    let mut rows = Vec::new();
    for line in lines(run, &config)? {
        let (item, is_reachable) = look(run, &line);
        if !is_reachable {
            exit = Exit::No;
        }
        rows.push(row(&line, item));
    }
    run.show(&Listing { view, rows })?;
    Ok(exit)
}

/// One line of the status: whether it is about the server that is meant, and so may get a token from anywhere.
struct Line {
    name: String,
    server: Server,
    meant: bool,
    current: bool,
}

/// Every context; or the one server that was given by flag or variable.
fn lines(run: &Run<'_>, config: &Config) -> anyhow::Result<Vec<Line>> {
    let meant = run.server()?;
    if meant.context.is_none() || run.global.context.is_some() {
        let name = meant.context.clone().unwrap_or_else(|| "-".into());
        return Ok(vec![Line { name, server: meant, meant: true, current: false }]);
    }
    let none = Environment::default();
    let named = config.contexts.iter().map(|context| {
        let server = config.server(&none, None, Some(&context.name))?;
        let current = meant.context == server.context;
        Ok(Line { name: context.name.clone(), server, meant: current, current })
    });
    named.collect()
}

/// A token from a flag or a variable is for the server that is meant; every other one gets only what is its own.
fn look(run: &Run<'_>, line: &Line) -> (AuthStatusItem, bool) {
    let server = &line.server;
    let item = AuthStatusItem { context: line.name.clone(), server: server.origin(), ..Default::default() };
    let credential = if line.meant {
        run.credential(server)
    } else {
        credential::own(&run.env, server).map_err(Into::into)
    };
    let credential = match credential {
        Ok(credential) => credential,
        Err(error) => {
            return (
                AuthStatusItem { token_source: "none".into(), reachable: error.to_string(), ..item },
                false,
            );
        }
    };
    let item = AuthStatusItem { token_source: credential.source.to_string(), ..item };
    let started = Instant::now();
    match ask_whoami(run, server, credential.token) {
        Ok(who) => {
            let item = AuthStatusItem {
                user: who.subject.name.to_string(),
                expires: expires(who.token_expires_at.as_deref(), Timestamp::now()),
                expires_at: who.token_expires_at,
                reachable: format!("yes ({} ms)", started.elapsed().as_millis()),
                ..item
            };
            (item, true)
        }
        Err(error) => (AuthStatusItem { reachable: format!("no: {error}"), ..item }, false),
    }
}

fn row(line: &Line, item: AuthStatusItem) -> Row<AuthStatusItem> {
    let shown = if line.current { format!("{} *", line.name) } else { line.name.clone() };
    let cells =
        [&item.server, &item.user, &item.token_source, &item.expires, &item.reachable].map(Clone::clone);
    let cells = [vec![shown], cells.to_vec(), vec![item.expires_at.clone().unwrap_or_default()]].concat();
    Row { name: line.name.clone(), cells, document: item }
}

/// `in 30d`, `never`, or the text itself if it is no time.
pub(in crate::cmd) fn expires(at: Option<&str>, now: Timestamp) -> String {
    let Some(at) = at else { return "never".into() };
    let Ok(time) = at.parse::<Timestamp>() else { return at.to_owned() };
    if time <= now { "expired".into() } else { Left(time.duration_since(now)).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_days_or_hours() {
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        for (at, text) in [
            (Some("2026-12-31T00:00:00Z"), "in 30d"),
            (Some("2026-12-02T01:05:00Z"), "in 25h5m"),
            (Some("2026-12-01T00:00:00Z"), "expired"),
            (Some("some day"), "some day"),
            (None, "never"),
        ] {
            assert_eq!(expires(at, now), text);
        }
    }
}
