//! What is set on this machine: variables, folders, the config, the token.

use super::finding::{Check, Report, edit, quoted, word};
use crate::{
    cmd::Run,
    config::{self, Config, ConfigError, Server},
    credential::{self, Credential, CredentialError, Source},
    files::{self, FileError},
    http,
    limit::within,
    render::Format,
    yaml::Mistakes,
};
use clap::ValueEnum as _;
use rustix::fs::{Access, access, statvfs};
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// How long a file system may take.
const LIMIT: Duration = Duration::from_secs(5);
/// A program or a keyring that is asked for a token has a minute of its own.
const TOKEN_LIMIT: Duration = Duration::from_secs(65);
/// The largest config file, as [`Config`] has it.
const CONFIG_MAX: u64 = 1 << 20;

/// A format that nobody knows would keep this command from saying anything: it is told, and left out.
pub(super) fn output(run: &mut Run<'_>, report: &mut Report) {
    let is_odd = run.env.var("MCPCTL_OUTPUT").is_some_and(|word| Format::from_str(word, true).is_err());
    if is_odd && run.global.output.is_none() {
        let finding = "MCPCTL_OUTPUT is no format that mcpctl knows; every other command refuses to run";
        report.wrong(Check::Environment, finding).mend("unset MCPCTL_OUTPUT");
        run.env = std::mem::take(&mut run.env).with("MCPCTL_OUTPUT", "");
    }
}

/// Variables that would be passed over, or are not what they seem.
pub(super) fn environment(run: &Run<'_>, report: &mut Report) {
    if let Some(name) = run.env.unreadable() {
        let finding = format!("the value of {name} is not UTF-8 text; every other command refuses to run");
        report.wrong(Check::Environment, finding).mend(format!("unset {}", word(name)));
    }
    if run.env.home().is_none() {
        let finding = "HOME is not an absolute path: ~ means nothing, and there are no default folders";
        report
            .remark(Check::Environment, finding)
            .mend("export HOME=\"$(getent passwd \"$(id -u)\" | cut -d: -f6)\"");
    }
}

/// The folder of records. It is made when it is needed; here it is only looked whether that would work.
pub(super) fn state(run: &Run<'_>, report: &mut Report) {
    let Some(folder) = run.env.state_folder() else {
        report
            .remark(
                Check::State,
                "there is no folder for records: no engine can be started, and nothing is remembered of a server",
            )
            .mend("export XDG_STATE_HOME=\"$HOME/.local/state\"");
        return;
    };
    let folder = folder.join("v1");
    let looked = {
        let folder = folder.clone();
        within(LIMIT, move || look_at_folder(&folder))
    };
    match looked {
        None => {
            report.wrong(Check::State, format!("{} does not answer", folder.display()));
        }
        Some(Err(error)) => {
            report.unusable(Check::State, &error);
        }
        Some(Ok(Room::None)) => {
            let finding = format!("the disk of {} is full: no engine can be started", folder.display());
            report.wrong(Check::State, finding).mend(format!("df -h {}", quoted(&folder)));
        }
        Some(Ok(Room::Some)) => {
            report.ok(Check::State, folder.display().to_string());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Room {
    None,
    Some,
}

fn look_at_folder(folder: &Path) -> Result<Room, FileError> {
    // The nearest that exists: whoever may write there makes the rest.
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let unwritable = |error: rustix::io::Errno| FileError::Write { path: there.into(), error: error.into() };
    let meta = there.metadata().map_err(|error| FileError::Read { path: there.into(), error })?;
    if !meta.is_dir() {
        return Err(FileError::InTheWay { path: there.into(), wanted: "folder" });
    }
    if there == folder {
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me {
            return Err(FileError::Foreign { path: there.into(), owner: meta.uid() });
        }
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(FileError::Open(there.into()));
        }
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(unwritable)?;
    let disk = statvfs(there).map_err(unwritable)?;
    Ok(if disk.f_bavail == 0 { Room::None } else { Room::Some })
}

/// The config file: that it can be read, and that nobody else may change it.
pub(super) fn config(run: &Run<'_>, report: &mut Report) {
    let path = match Config::path(&run.env) {
        Ok(path) => path,
        Err(error) => {
            report.remark(Check::Config, error.to_string()).mend("export MCPCTL_CONFIG=FILE");
            return;
        }
    };
    let looked = {
        let path = path.clone();
        let env = run.env.clone();
        within(LIMIT, move || (Config::read(&env, &path), files::read_trusted(&path, CONFIG_MAX).map(drop)))
    };
    match looked {
        None => {
            report.wrong(Check::Config, format!("{} does not answer", path.display()));
        }
        Some((Err(ConfigError::File(error)), _)) => {
            report.unusable(Check::Config, &error);
        }
        Some((Err(ConfigError::Content(Mistakes { path, problems, .. })), _)) => {
            for problem in &problems {
                let finding = format!("{}:{problem}", path.display());
                report.wrong(Check::Config, finding).mend(edit(&path, problem.place.line));
            }
        }
        Some((Err(error), _)) => {
            report.wrong(Check::Config, error.to_string()).mend("unset MCPCTL_CONFIG");
        }
        Some((Ok(_), Err(FileError::Missing(path)))) => {
            report.ok(Check::Config, format!("{} does not exist, and need not", path.display()));
        }
        Some((Ok(_), Err(error))) => {
            report.unusable(Check::Config, &error);
        }
        Some((Ok(config), Ok(()))) => {
            let contexts = match config.contexts.len() {
                1 => "1 context".to_owned(),
                many => format!("{many} contexts"),
            };
            report.ok(Check::Config, format!("{}, {contexts}", path.display()));
        }
    }
}

/// Which server is meant.
pub(super) fn server(run: &Run<'_>, report: &mut Report) -> Option<Server> {
    let (env, named, context) = (run.env.clone(), run.global.server.clone(), run.global.context.clone());
    let looked = within(LIMIT, move || config::meant(&env, named.as_deref(), context.as_deref()));
    let server = match looked {
        Some(Ok(server)) => server,
        None => {
            report.skipped(Check::Server, "the config does not answer");
            return None;
        }
        Some(Err(error)) => {
            // A file that cannot be read was told of already.
            if let ConfigError::File(_) | ConfigError::Content { .. } = &error {
                report.skipped(Check::Server, "the config cannot be read");
                return None;
            }
            let mend = match &error {
                ConfigError::NoContext { .. } => "mcpctl config get-contexts",
                ConfigError::NotThere(_) => "unset MCPCTL_CONFIG",
                _ => "mcpctl config set-context NAME --server https://HOST",
            };
            report.wrong(Check::Server, error.to_string()).mend(mend);
            return None;
        }
    };
    let from = match &server.context {
        Some(name) => format!("context \"{name}\""),
        None => "flag or variable".into(),
    };
    if server.url.scheme() == "http" && !http::is_loopback(&server.url) {
        let finding = format!("{server} ({from}): everybody on the way can read the token and all prompts");
        report.remark(Check::Server, finding);
    } else {
        report.ok(Check::Server, format!("{server} ({from})"));
    }
    Some(server)
}

/// The token. A `tokenCommand` is run.
pub(super) fn credential(run: &Run<'_>, server: Option<&Server>, report: &mut Report) -> Option<Credential> {
    let Some(server) = server else {
        report.skipped(Check::Credential, "no server is known");
        return None;
    };
    let (env, named, meant) = (run.env.clone(), run.global.token_file.clone(), server.clone());
    match within(TOKEN_LIMIT, move || credential::find(&env, named.as_deref(), &meant)) {
        None => {
            report.wrong(Check::Credential, "nothing says where the token is, or what it is, in time");
            None
        }
        Some(Ok(credential)) => {
            let finding = match &credential.source {
                Source::Environment => "from MCPCTL_TOKEN".to_owned(),
                Source::File(path) => format!("from {}, which only you can read", path.display()),
                Source::Stored(path) => format!("stored in {}, which only you can read", path.display()),
                Source::Keyring => "in the keyring of the desktop".into(),
                Source::Command => "from the tokenCommand of the context".into(),
                Source::Input => "from standard input".into(),
            };
            report.ok(Check::Credential, finding);
            Some(credential)
        }
        Some(Err(CredentialError::File(error))) => {
            report.unusable(Check::Credential, &error);
            None
        }
        Some(Err(error)) => {
            let mend = match &error {
                CredentialError::Empty(name) => format!("unset {name}"),
                CredentialError::NoFolder => "export XDG_CONFIG_HOME=\"$HOME/.config\"".into(),
                CredentialError::Missing(_)
                | CredentialError::Malformed(_)
                | CredentialError::File(_)
                | CredentialError::Keyring(_)
                | CredentialError::NoKeyring
                | CredentialError::NoProgram(_)
                | CredentialError::NotRun { .. }
                | CredentialError::Command { .. } => match (&server.token_command, &server.context) {
                    (Some(_), Some(_)) => "\"${EDITOR:-vi}\" \"$(mcpctl config path)\"".into(),
                    _ => "mcpctl auth login --token-stdin < token.txt".into(),
                },
            };
            report.wrong(Check::Credential, error.to_string()).mend(mend);
            None
        }
    }
}
