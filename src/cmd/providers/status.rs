//! `providers status`: how the engines are. It changes nothing, and one that cannot be read hides no other.

use super::{
    roster::{Declared, Roster},
    times,
};
use crate::{
    cmd::{Run, columns::ColumnArgs},
    engine::{Condition, End, Endpoint, EngineError, Place, Record, State, Status, record::Ending},
    environment::Environment,
    exit::Exit,
    providers_file::Provider,
    render::{Columns, Listing, Row},
};
use clap::Args;
use mcp_api::LlmName;
use serde_json::{Value, json};

/// Show how the engines of the managed providers are
///
/// STATE is stopped, starting, running, stopping, failed (stopped, because something went wrong), orphaned (processes
/// without their supervisor are left: mcpctl providers stop NAME ends them) or unknown (its record cannot be read).
/// Engines whose entry was removed from the provider file are shown for as long as something of them runs.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0; with NAME: 0 it is running, 3 it is not, 2 no such provider.")]
pub(crate) struct StatusArgs {
    /// Show this one only
    name: Option<String>,
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
    let names = match &args.name {
        Some(name) => {
            roster = roster.check(name)?;
            vec![name.clone()]
        }
        None => roster.names().into_iter().collect(),
    };
    let seen: Vec<_> = names.iter().map(|name| Seen::of(&run.env, name, roster.declared(name))).collect();
    let shown: Vec<_> = seen.iter().filter(|seen| args.name.is_some() || seen.matters()).collect();
    run.show(&Listing {
        kind: "ProviderStatusList",
        view,
        rows: shown.iter().map(|seen| seen.row(&run.env)).collect(),
    })?;
    for seen in &shown {
        seen.tell(run);
    }
    let is_no = args.name.is_some() && !seen.iter().all(Seen::is_running);
    Ok(if is_no { Exit::No } else { Exit::Ok })
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

    fn row(&self, env: &Environment) -> Row {
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
        let present = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut document = self.document();
        document["endpoint"] = json!(present(endpoint));
        document["socket"] = json!(present(socket));
        document["log"] = json!(log);
        document["failoverFor"] = json!(llms);
        Row { name: self.name.to_owned(), cells, document }
    }

    fn document(&self) -> Value {
        let declared = match self.declared {
            Declared::As(_) => Some(true),
            Declared::Not => Some(false),
            Declared::Unknown => None,
        };
        let model = self.record().map(|record| &record.model).or(self.provider().map(|it| &it.model));
        let mut document = json!({
            "name": self.name,
            "state": self.condition().map_or("unknown", Condition::as_str),
            "declared": declared,
            "model": model,
            "pid": self.pid(),
            "supervisorPid": self.supervisor_pid(),
        });
        let more = match &self.status {
            Ok(status) => json!({
                "stage": stage(status),
                "processes": status.processes.iter().map(|process| process.pid).collect::<Vec<_>>(),
                "uptimeSeconds": status.uptime.map(|time| time.as_secs()),
                "idleStopSeconds": status.stops_in.map(times::whole_seconds),
                "used": status.used,
                "lastEnd": self.last_end().map(ended),
            }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
            document.extend(more);
        }
        document
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

fn stage(status: &Status) -> Option<&str> {
    match &status.record.as_ref()?.state {
        State::Loading { stage } if status.condition == Condition::Starting => stage.as_deref(),
        State::Loading { .. } | State::Ready | State::Stopping | State::Ended(_) => None,
    }
}

fn ended(end: &End) -> Value {
    let reason = match end.why {
        Ending::Exited(_) => "exited",
        Ending::Killed(_) => "killed",
        Ending::Unseen => "unseen",
        Ending::NotStarted(_) => "not_started",
        Ending::Stalled(_) => "stalled",
        Ending::Unwanted => "unwanted",
        Ending::Idle => "idle",
        Ending::Asked => "asked",
        Ending::Hung => "hung",
        Ending::Exposed(_) => "exposed",
        Ending::Forgotten => "forgotten",
    };
    json!({ "reason": reason, "cause": end.cause, "message": end.to_string(), "failure": end.is_failure() })
}
