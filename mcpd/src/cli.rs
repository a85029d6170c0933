//! The command line. Only here and in `serve` is anything printed on stdout.

use crate::{
    bootstrap::bootstrap,
    check,
    config::Settings,
    config_file::ConfigFile,
    database::{self, Database, DatabaseError},
    log, serve,
    store::{self, Copied},
    tls::HalfPair,
    token_file::TokenFile,
    variables,
};
use anyhow::Context;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use mcp_api::SubjectName;
use std::{io::Write, path::PathBuf, process::ExitCode};
use tokio::runtime::Runtime;

/// What it exits with after wrong usage, like the reader of the command line.
const USAGE: u8 = 2;
/// What `mcpd check` exits with when something is wrong.
const UNSOUND: u8 = 3;

/// The central LLM server
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    database: Which,
    /// A YAML file with settings: the flags of `serve` in camelCase, such as `maxBody`. What the environment or the
    /// command line says goes before it
    #[arg(long, global = true, env = "MCPD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the first administrator and print its token, once
    Bootstrap {
        /// The administrator's name, such as dana@example.com
        #[arg(long, value_name = "NAME")]
        admin: SubjectName,
        /// Also where there are users already: for when the last token of an administrator is lost
        #[arg(long)]
        recover: bool,
        /// Write the token to a new file that only you can read, instead of printing it
        #[arg(long, value_name = "PATH")]
        token_file: Option<PathBuf>,
    },
    /// Serve until SIGTERM or SIGINT; the second signal ends at once
    Serve(Settings),
    /// Bring the database's schema up to date
    Migrate,
    /// Fill the database, which must be empty, with everything from another one: to move, to back up, to restore
    Copy {
        /// The database to read, as for --database; a server may be using it. The password of a PostgreSQL server is
        /// taken from PGPASSWORD or PGPASSFILE
        #[arg(long, value_name = "URL")]
        from: String,
    },
    /// Look whether the settings of `serve` can be taken and the database is sound; exits 3 if it is not
    Check(Settings),
}

#[derive(Debug, Args)]
struct Which {
    /// The database, as `sqlite:///absolute/path` or `postgres://USER@HOST:PORT/DATABASE`; by default `mcpd.db` in the
    /// data folder. A URL with a password is taken from the environment only
    #[arg(long = "database", global = true, env = database::VARIABLE, hide_env_values = true, value_name = "URL")]
    url: Option<String>,
    /// The folder for the database; by default `mcpd` in `$XDG_STATE_HOME`
    #[arg(long, global = true, env = "MCPD_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Which {
    fn database(&self) -> anyhow::Result<Database> {
        let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Ok(Database::find(self.url.as_deref(), self.data_dir.as_deref(), env)?)
    }
}

impl Cli {
    /// Reads the command line and the environment. What is wrong there ends the program, with the variable's name.
    pub fn read() -> Self {
        let (command, value_of) = (Self::command(), |name: &str| std::env::var_os(name));
        if let Some(name) = variables::empty_one(&command, value_of) {
            let message = format!("{name} is empty; leave it out, or give it a value");
            Self::command().error(ErrorKind::InvalidValue, message).exit();
        }
        let wrong = |error: clap::Error| {
            let variable = variables::of_error(&error, &command, value_of);
            // A closed stderr leaves nobody to tell.
            let _ = error.print();
            if let Some(name) = variable {
                let _ = writeln!(std::io::stderr(), "The value stands in the environment variable {name}.");
            }
            std::process::exit(error.exit_code())
        };
        let cli = Self::try_parse().unwrap_or_else(wrong);
        let Some(path) = &cli.config else { return cli };
        let file = ConfigFile::read(path, &command).unwrap_or_else(|error| {
            let _ = writeln!(std::io::stderr(), "mcpd: {error:#}", error = anyhow::Error::new(error));
            std::process::exit(USAGE.into())
        });
        let matches = file.defaults(command.clone()).try_get_matches();
        let cli = matches.and_then(|matches| Self::from_arg_matches(&matches));
        cli.unwrap_or_else(wrong).with(file)
    }

    /// Adds what no argument can say.
    fn with(mut self, file: ConfigFile) -> Self {
        match &mut self.command {
            Command::Serve(settings) | Command::Check(settings) => settings.structured = file.structured,
            Command::Bootstrap { .. } | Command::Migrate | Command::Copy { .. } => {}
        }
        self
    }

    /// Does what the command line says.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let database = self.database.database()?;
        let runtime = Runtime::new().context("no runtime")?;
        let done = runtime.block_on(async {
            match self.command {
                Command::Bootstrap { admin, recover, token_file } => {
                    first_admin(database, admin, recover, token_file).await
                }
                Command::Serve(settings) => {
                    log::begin();
                    serve::serve(database, settings).await
                }
                Command::Migrate => migrate(database).await,
                Command::Copy { from } => copy(database, &from).await,
                Command::Check(settings) => {
                    let sound = check::check(&settings, &database, &mut std::io::stdout().lock()).await?;
                    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
                }
            }
        });
        // What is still running was told to end and did not, or the user does not want to wait for it.
        runtime.shutdown_background();
        done
    }
}

/// What a failed run exits with: 2 if it was called wrongly, else 1.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<HalfPair>() {
        return ExitCode::from(USAGE);
    }
    match error.downcast_ref::<DatabaseError>() {
        None | Some(DatabaseError::Place(_)) => ExitCode::FAILURE,
        Some(_) => ExitCode::from(USAGE),
    }
}

async fn first_admin(
    database: Database,
    admin: SubjectName,
    recover: bool,
    token_file: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let name = database.to_string();
    let file = match &token_file {
        Some(path) => Some(TokenFile::create(path).with_context(|| format!("{}", path.display()))?),
        None => None,
    };
    let store = store::open(database).await?;
    let token = bootstrap(&store, admin, recover).await.context(name)?;
    store.close().await;
    let delivered = match file {
        Some(file) => file.keep(&token),
        None => writeln!(std::io::stdout(), "{}", token.expose()),
    };
    delivered.context("the token could not be written; run it again with --recover")?;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(database: Database) -> anyhow::Result<ExitCode> {
    store::open(database).await?.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn copy(database: Database, from: &str) -> anyhow::Result<ExitCode> {
    let name = database.to_string();
    let source = Database::find(Some(from), None, |_| None).context("--from")?;
    let store = store::open(database).await?;
    let mut change = store.change().await.context(name.clone())?;
    let copied = change.copy_from(&source).await.with_context(|| format!("from {source} to {name}"))?;
    change.commit().await.context(name)?;
    store.close().await;
    let mut stdout = std::io::stdout().lock();
    for Copied { table, rows } in copied {
        writeln!(stdout, "{rows:>8} {table}")?;
    }
    Ok(ExitCode::SUCCESS)
}
