//! `providers status`: how the engines are. It changes nothing, and one that cannot be read hides no other.

mod document;
mod wait;

pub(in crate::cmd) use document::StatusItem;

use super::{
    roster::{Declared, Roster},
    times,
};
use crate::{
    cmd::{Run, columns::ColumnArgs, completion::Names, infer::Total},
    engine::{Condition, End, Endpoint, EngineError, Place, Record, State, Status},
    environment::Environment,
    exit::Exit,
    providers_file::Provider,
    render::{Columns, Listing, Row},
};
use clap::Args;
use mcp_api::LlmName;
use std::str::FromStr as _;
use wait::{Waited, Wanted};

/// Show how the engines of the managed providers are
///
/// STATE is stopped, starting, running, stopping, failed (stopped, because something went wrong), orphaned (processes
/// without their supervisor are left: mcpctl providers stop NAME ends them) or unknown (its record cannot be read).
/// Engines whose entry was removed from the provider file are shown for as long as something of them runs.
///
/// --wait-for waits until all of them are ready, or have stopped. It starts and stops nothing. It ends at once when it
/// would wait for nothing: a start has failed or was given up, or a supervisor was killed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mcpctl providers status\n  \
    mcpctl providers start qwen-box --wait=false\n  \
    mcpctl providers status qwen-box --wait-for ready --timeout 10m\n\n\
    Exit codes: 0; with NAME: 0 all of them are running, 3 one is not; with --wait-for: 0 it has come to that, \
    3 it has not; 2 no such provider.")]
pub(crate) struct StatusArgs {
    /// Show these only
    #[arg(value_name = "NAME", add = Names::Engines)]
    names: Vec<String>,
    /// Wait until they are so
    #[arg(long, value_enum, value_name = "STATE")]
    wait_for: Option<Wanted>,
    /// Wait no longer than this; or none
    #[arg(long, requires = "wait_for", default_value = "5m", value_parser = Total::from_str, value_name = "TIME")]
    timeout: Total,
    #[command(flatten)]
    columns: ColumnArgs,
}

const COLUMNS: Columns = Columns {
    usual: &["NAME", "STATE", "MODEL", "ENDPOINT", "PID", "UPTIME", "IDLE STOP", "FAILOVER FOR"],
    wide: &["SUPERVISOR", "SOCKET", "LOG"],
};

pub(super) fn run(run: &mut Run<'_>, args: &StatusArgs) -> anyhow::Result<Exit> {
    let view = run.view(&args.columns, COLUMNS)?;
    let mut roster = Roster::of(run)?;
    if let Some(error) = roster.broken() {
        run.warn(format_args!("{error}; shown are only engines that were started here"));
    }
    for name in &args.names {
        roster = roster.check(name)?;
    }
    let names: Vec<_> = match (args.names.as_slice(), args.wait_for) {
        ([], Some(wanted)) => wanted.of_all(&roster),
        ([], None) => roster.names().into_iter().collect(),
        (names, _) => names.to_vec(),
    };
    let look = |env: &Environment| -> Vec<_> {
        names.iter().map(|name| Seen::of(env, name, roster.declared(name))).collect()
    };
    let (seen, waited) = match args.wait_for {
        Some(wanted) => wait::until(run, wanted, args.timeout.0, look)?,
        None => (look(&run.env), Waited::NotAtAll),
    };
    let shown: Vec<_> = seen.iter().filter(|seen| !args.names.is_empty() || seen.matters()).collect();
    run.show(&Listing { view, rows: shown.iter().map(|seen| seen.row(&run.env)).collect() })?;
    for seen in &shown {
        seen.tell(run);
    }
    let is_yes = match waited {
        Waited::NotAtAll => args.names.is_empty() || seen.iter().all(Seen::is_running),
        Waited::Met => true,
        Waited::InVain => false,
        Waited::Unread => return Ok(Exit::OutputClosed),
    };
    Ok(if is_yes { Exit::Ok } else { Exit::No })
}

/// One engine.
struct Seen<'a> {
    name: &'a str,
    declared: Declared<'a>,
    status: Result<Status, EngineError>,
}

impl<'a> Seen<'a> {
    fn of(env: &Environment, name: &'a str, declared: Declared<'a>) -> Self {
        Self { name, declared, status: Status::of(env, name) }
    }

    fn is_running(&self) -> bool {
        self.condition() == Some(Condition::Running)
    }

    /// None: nobody can tell.
    fn condition(&self) -> Option<Condition> {
        self.status.as_ref().ok().map(|status| status.condition)
    }

    /// Something of it is there, or could be.
    fn is_there(&self) -> bool {
        match self.condition() {
            Some(Condition::Stopped | Condition::Failed) => false,
            Some(Condition::Starting | Condition::Running | Condition::Stopping | Condition::Orphaned)
            | None => true,
        }
    }

    /// What is gone from the file and has ended is of no interest.
    fn matters(&self) -> bool {
        self.declared != Declared::Not || self.is_there()
    }

    /// The record of what is there.
    fn record(&self) -> Option<&Record> {
        self.status.as_ref().ok()?.record.as_ref().filter(|_| self.is_there())
    }

    fn provider(&self) -> Option<&'a Provider> {
        match self.declared {
            Declared::As(provider) => Some(provider),
            Declared::Not | Declared::Unknown => None,
        }
    }

    fn last_end(&self) -> Option<&End> {
        match &self.status.as_ref().ok()?.record.as_ref()?.state {
            State::Ended(end) => Some(end),
            State::Loading { .. } | State::Ready | State::Stopping => None,
        }
    }

    fn pid(&self) -> Option<i32> {
        let status = self.status.as_ref().ok()?;
        let leader = self.record()?.engine.filter(|engine| status.processes.contains(engine));
        leader.or_else(|| status.processes.first().copied()).map(|process| process.pid)
    }

    fn supervisor_pid(&self) -> Option<i32> {
        self.record().map(|record| record.supervisor).filter(|process| process.is_alive()).map(|it| it.pid)
    }

    fn idle_stop(&self) -> String {
        let Ok(Status { condition: Condition::Running, used, stops_in, .. }) = &self.status else {
            return String::new();
        };
        match stops_in {
            _ if *used => "in use".into(),
            Some(time) => format!("in {}", times::until(*time)),
            None => "never".into(),
        }
    }

    fn row(&self, env: &Environment) -> Row<StatusItem> {
        let record = self.record();
        let text = |pid: Option<i32>| pid.map_or(String::new(), |pid| pid.to_string());
        let uptime = self.status.as_ref().ok().and_then(|status| status.uptime);
        let (endpoint, socket) = match record.map(|record| &record.endpoint) {
            Some(Endpoint::Unix(path)) => ("unix socket".into(), path.display().to_string()),
            Some(Endpoint::Tcp(port)) => (format!("127.0.0.1:{port}"), String::new()),
            None => (String::new(), String::new()),
        };
        let llms = self.provider().map_or(&[][..], |provider| &provider.failover_for);
        let llms: Vec<_> = llms.iter().map(LlmName::as_str).collect();
        let log = Place::find(env, self.name).ok().flatten().map(|place| place.log_path());
        let cells = vec![
            self.name.to_owned(),
            self.condition().map_or("unknown", Condition::as_str).to_owned(),
            record.map_or(String::new(), |record| record.model.clone()),
            endpoint.clone(),
            text(self.pid()),
            uptime.map_or(String::new(), times::lasted),
            self.idle_stop(),
            llms.join(","),
            text(self.supervisor_pid()),
            socket.clone(),
            log.as_ref().map_or(String::new(), |path| path.display().to_string()),
        ];
        let document = StatusItem::of(self, &endpoint, &socket, log, &llms);
        Row { name: self.name.to_owned(), cells, document }
    }

    /// What a table has no room for.
    fn tell(&self, run: &mut Run<'_>) {
        let name = self.name;
        let status = match &self.status {
            Ok(status) => status,
            Err(error) => return run.warn(format_args!("{name}: {error}")),
        };
        match (status.condition, self.last_end()) {
            (Condition::Failed, Some(end)) => {
                run.note(format_args!("{name}: {end}; its log: mcpctl providers logs {name}"));
            }
            (Condition::Orphaned, _) => run.note(format_args!(
                "{name}: its supervisor was killed; processes left: {}; mcpctl providers stop {name} ends them",
                status.processes.len()
            )),
            (Condition::Starting | Condition::Running, _) if self.declared == Declared::Not => {
                run.note(format_args!(
                    "{name}: it has no entry in the provider file; mcpctl providers stop {name} ends it now"
                ));
            }
            _ => {}
        }
    }
}
