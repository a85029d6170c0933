//! Which database is meant: a file of our own, or a PostgreSQL server. Opens neither.

use crate::place::{Claim, Place, PlaceError};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use url::Url;

/// The variable that names the database, and the only place for a password of it in our own settings.
pub(crate) const VARIABLE: &str = "MCPD_DATABASE";

/// What may stand in the query of a PostgreSQL URL, of all that the driver takes.
const OPTIONS: [&str; 10] = [
    "application_name",
    "dbname",
    "host",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Why it cannot be told which database is meant. None of them repeats what was given: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error(
        "{VARIABLE} is empty; leave it out, or write sqlite:///absolute/path or postgres://USER@HOST/DATABASE"
    )]
    Empty,
    #[error(
        "--database or {VARIABLE} must be of the form sqlite:///absolute/path or postgres://USER@HOST:PORT/DATABASE"
    )]
    Form,
    #[error(
        "a password on the command line or in the configuration file is seen by too many; give the URL in {VARIABLE}, or \
         keep the password in PGPASSWORD or in the file PGPASSFILE"
    )]
    PasswordInSight,
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// `SQLite`: the process that serves is the only one that writes.
    File(Place),
    /// `PostgreSQL`: many servers at once.
    Server(Server),
}

/// A PostgreSQL server, a database on it, and how to log in.
#[derive(Clone)]
pub(crate) struct Server {
    url: Url,
}

/// A database that may be opened now.
#[derive(Debug)]
pub(crate) enum Claimed {
    File(Claim),
    Server(Server),
}

impl Database {
    /// Finds it: `url` if given, else a file in `data_dir` or in the state folder of the user.
    pub(crate) fn find(
        url: Option<&str>,
        data_dir: Option<&Path>,
        env: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, DatabaseError> {
        let Some(text) = url else { return Ok(Self::File(Place::find(data_dir, env)?)) };
        if text.is_empty() {
            return Err(DatabaseError::Empty);
        }
        if let Some(path) = text.strip_prefix("sqlite://") {
            let file = Path::new(path);
            let is_one = file.is_absolute() && file.file_name().is_some() && !text.contains(['?', '#']);
            return if is_one { Ok(Self::File(Place::at(file))) } else { Err(DatabaseError::Form) };
        }
        let server = Server::parse(text).ok_or(DatabaseError::Form)?;
        let in_sight = env(VARIABLE).is_none_or(|value| value != Path::new(text));
        if server.has_password() && in_sight {
            return Err(DatabaseError::PasswordInSight);
        }
        Ok(Self::Server(server))
    }

    /// Takes a file for this process alone; a server needs no such thing.
    pub(crate) fn claim(self) -> Result<Claimed, PlaceError> {
        match self {
            Self::File(place) => place.claim().map(Claimed::File),
            Self::Server(server) => Ok(Claimed::Server(server)),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => write!(f, "{}", place.file().display()),
            Self::Server(server) => write!(f, "{server}"),
        }
    }
}

impl Server {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        // The driver logs what it does not know, with its value.
        let is_known = url.query_pairs().all(|(key, _)| OPTIONS.contains(&&*key));
        let is_one = matches!(url.scheme(), "postgres" | "postgresql") && is_known;
        // The driver would fill in what is missing, and open what nobody named.
        let has_host = url.host_str().is_some_and(|host| !host.is_empty())
            || url.query_pairs().any(|(key, value)| key == "host" && !value.is_empty());
        let names_one = has_host && url.path().len() > 1;
        // What the driver does not understand should be said here, not at the first connection.
        (is_one && names_one && PgConnectOptions::from_url(&url).is_ok()).then_some(Self { url })
    }

    fn has_password(&self) -> bool {
        self.url.password().is_some() || self.url.query_pairs().any(|(key, _)| key == "password")
    }

    /// The whole URL, for the driver.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

/// The host and the database, and nothing that opens them.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}", self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.url.path())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "postgres://mcpd:canary@db.example:5433/team";

    fn find(url: &str, variable: Option<&str>) -> Result<Database, DatabaseError> {
        Database::find(Some(url), None, |name| variable.filter(|_| name == VARIABLE).map(PathBuf::from))
    }

    #[test]
    fn k01_a_password_is_taken_from_the_environment_only() {
        assert!(matches!(find(SECRET, None), Err(DatabaseError::PasswordInSight)));
        assert!(matches!(find(SECRET, Some("another")), Err(DatabaseError::PasswordInSight)));
        let in_query = "postgres://mcpd@db.example/team?sslmode=require&password=canary";
        assert!(matches!(find(in_query, None), Err(DatabaseError::PasswordInSight)));
        let found = find(SECRET, Some(SECRET)).unwrap();
        assert_eq!(found.to_string(), "postgres://db.example:5433/team");
        assert!(!format!("{found:?}").contains("canary"));
        find("postgres://mcpd@db.example/team", None).unwrap();
    }

    #[test]
    fn a12_what_names_no_database_is_refused_and_not_repeated() {
        for odd in [
            "",
            "mcpd.db",
            "sqlite://relative.db",
            "sqlite:///",
            "sqlite:///a.db?mode=ro",
            "mysql://mcpd:canary@db/mcpd",
            "postgres://",
            "postgres://mcpd@db.example",
            "postgres://mcpd@db.example/",
            "postgres:///team",
            "postgres://mcpd:canary@db:port/mcpd",
            "postgres://mcpd:canary@db/mcpd?sslmode=canary",
            "postgres://mcpd@db/mcpd?pasword=canary",
        ] {
            let said = find(odd, Some(odd)).unwrap_err().to_string();
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
