//! `mcpd migrate` killed at a file, before each system call that changes something.

use crate::cases::is_full_run;
use fakes::{
    required,
    tracer::{Seen, Traced, Tracer, When, Who},
};
use sqlx::{Connection, Row};
use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const LIMIT: Duration = Duration::from_mins(1);
const PROGRAM: &str = env!("CARGO_BIN_EXE_mcpd");

/// A data folder, new for each kill.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        DirBuilder::new().mode(0o700).create(home.data()).unwrap();
        home
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn mcpd(&self, subcommand: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(subcommand).arg("--data-dir").arg(self.data()).env_clear().env("HOME", self.dir.path());
        command
    }

    fn succeed(&self, subcommand: &str, when: When) {
        let output = self.mcpd(subcommand).output().unwrap();
        assert!(output.status.success(), "{subcommand} after a kill at {when:?}: {output:?}");
    }

    /// Kills a migration, and says whether it came to that.
    fn kill_migration(&self, when: When) -> bool {
        let migrate = self.mcpd("migrate");
        let envs = migrate.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let traced = Traced {
            program: migrate.get_program().into(),
            args: migrate.get_args().map(OsString::from).collect(),
            env: envs.chain(env::var_os("PATH").map(|path| ("PATH".into(), path))).collect(),
            output: File::create(self.dir.path().join("output")).unwrap(),
        };
        let tracer = Tracer::start(traced, Who::Itself, when, true);
        let mut killed = false;
        loop {
            match tracer.next(LIMIT).unwrap() {
                Seen::Killed(_) => killed = true,
                Seen::Ended(code) => {
                    let said = fs::read_to_string(self.dir.path().join("output")).unwrap();
                    assert!(killed || code == Some(0), "{when:?}: {code:?}: {said}");
                    return killed;
                }
            }
        }
    }
}

#[test]
fn d06_a_migration_of_a_file_that_is_killed_anywhere_is_finished_by_the_next_one() {
    if !Tracer::is_allowed() {
        return required("permission to trace");
    }
    let clean = Home::new();
    clean.succeed("migrate", When::Never);
    let clean = schema(&clean.data());
    let step = if is_full_run() { 1 } else { 5 };
    let mut kills = 0;
    for at in (1..).step_by(step) {
        let (home, when) = (Home::new(), When::Change(at));
        if !home.kill_migration(when) {
            break;
        }
        kills += 1;
        home.succeed("migrate", when);
        home.succeed("check", when);
        assert_eq!(schema(&home.data()), clean, "{when:?}");
    }
    println!("{kills} kills, at each {step}. change");
    assert!(kills > 10, "{kills} kills");
}

/// Everything about the schema, but the times at which it was made.
fn schema(data: &Path) -> Vec<String> {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", data.join("mcpd.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        let mut all = Vec::new();
        for text in [
            "SELECT COALESCE(sql, name) FROM sqlite_master ORDER BY name",
            "SELECT version || ' ' || description || ' ' || success || ' ' || hex(checksum) FROM _sqlx_migrations ORDER BY 1",
            "SELECT CAST(epoch AS TEXT) FROM authz",
        ] {
            let rows = sqlx::query(text).fetch_all(&mut connection).await.unwrap();
            all.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        connection.close().await.unwrap();
        all
    })
}
