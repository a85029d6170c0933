//! Where a server under test keeps what it knows.

use crate::postgres::Database;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// `sqlite` or `postgres`: for every server of which the test does not say it itself.
const VARIABLE: &str = "MCPCTL_TEST_DATABASE";

#[derive(Debug, Clone, Default)]
pub(super) enum Storage {
    /// As `MCPCTL_TEST_DATABASE` says; without it in a file.
    #[default]
    AsTold,
    /// A file in the data folder.
    File,
    /// A database in the cluster that the tests of this process share.
    Shared(Arc<Database>),
    /// Whatever is at this URL.
    Url(String),
}

impl Storage {
    /// Makes the database if it is to be one of its own.
    pub(super) fn made(self) -> Self {
        match (self, env::var(VARIABLE).as_deref()) {
            (Self::AsTold, Ok("postgres")) => {
                let database = Database::create();
                let database = database.unwrap_or_else(|| {
                    panic!(
                        "{VARIABLE}=postgres, but there is no PostgreSQL; scripts/install-postgres brings it"
                    )
                });
                Self::Shared(Arc::new(database))
            }
            (Self::AsTold, Err(_) | Ok("" | "sqlite")) => Self::File,
            (Self::AsTold, Ok(other)) => panic!("{VARIABLE} is {other:?}, neither sqlite nor postgres"),
            (told, _) => told,
        }
    }

    pub(super) fn url(&self, data: &Path) -> String {
        match self {
            Self::AsTold | Self::File => format!("sqlite://{}", file(data).display()),
            Self::Shared(database) => database.url(),
            Self::Url(url) => url.clone(),
        }
    }

    /// Tells a `mcpd` by argument what is no secret, and by the environment what holds a password.
    pub(super) fn tell(&self, command: &mut Command, data: &Path) {
        let url = self.url(data);
        match self {
            Self::AsTold | Self::File => command.args(["--database", &url]),
            Self::Shared(_) | Self::Url(_) => command.env("MCPD_DATABASE", url),
        };
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("mcpd.db")
}
