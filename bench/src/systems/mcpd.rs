//! mcpd, with an administrator, an LLM for each model of the stub, and its log in a file.

use super::{Kind, Places, System, free_address, version};
use crate::{
    load::Target,
    process::{LOAD_CORE, Program, SERVER_CORE},
    stub::Model,
};
use anyhow::{Context, ensure};
use serde_json::json;
use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// Where it keeps what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// Which prompts have an entry in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Audit {
    All,
    Refused,
}

pub(super) fn start(
    kind: Kind,
    places: &Places,
    stub: SocketAddr,
    models: &[Model],
    database: Database,
    audit: Audit,
) -> anyhow::Result<Option<System>> {
    let postgres = match database {
        Database::Sqlite => None,
        Database::Postgres => {
            let Some(postgres) = fakes::Postgres::start() else { return Ok(None) };
            // Its children inherit it: whoever connects later is served there.
            let core = LOAD_CORE.to_string();
            let pinned = Command::new("taskset")
                .args(["-a", "-c", "-p", &core, &postgres.pid().to_string()])
                .output()?;
            ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
            Some(postgres)
        }
    };
    let url = postgres.as_ref().map(fakes::Postgres::url);
    let home = Home::new(places, kind.name(), url)?;
    let audit = match audit {
        Audit::All => "all",
        Audit::Refused => "refused",
    };
    let system = home.serve(kind, &["--audit-inference", audit])?;
    home.describe(system.target.address, stub, models)?;
    Ok(Some(system.behind(postgres)))
}

/// A server's folder, with its administrator.
struct Home {
    folder: PathBuf,
    mcpd: PathBuf,
    database: Option<String>,
    token: String,
}

impl Home {
    fn new(places: &Places, name: &str, database: Option<String>) -> anyhow::Result<Self> {
        let mcpd = places.program("mcpd");
        ensure!(mcpd.exists(), "{} is missing: cargo build --release --workspace --bins", mcpd.display());
        let mut home = Self { folder: places.folder(name)?, mcpd, database, token: String::new() };
        let file = home.folder.join("token");
        let mut bootstrap = home.command("bootstrap");
        bootstrap.args(["--admin", "bench", "--token-file"]).arg(&file);
        let said = bootstrap.output()?;
        ensure!(said.status.success(), "mcpd bootstrap: {}", String::from_utf8_lossy(&said.stderr));
        fs::read_to_string(&file)?.trim().clone_into(&mut home.token);
        Ok(home)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.mcpd);
        command
            .arg(verb)
            .env("MCPD_DATA_DIR", self.folder.join("data"))
            .env("MCPD_UPSTREAM_ALLOW", "127.0.0.0/8");
        command.env_remove("MCPD_DATABASE").envs(self.database.as_ref().map(|url| ("MCPD_DATABASE", url)));
        command
    }

    fn serve(&self, kind: Kind, more: &[&str]) -> anyhow::Result<System> {
        let address = free_address()?;
        let mut serve = self.command("serve");
        serve.args(["--listen", &address.to_string()]).args(more);
        let began = Instant::now();
        let program = Program::start(&serve, SERVER_CORE, &self.folder.join("log"))?;
        let target = Target::new(address, &self.token);
        System::running(kind, program, target, version(&self.mcpd, "--version"), began)
    }

    /// An LLM for each model of the stub, under its name.
    fn describe(&self, address: SocketAddr, stub: SocketAddr, models: &[Model]) -> anyhow::Result<()> {
        for model in models {
            let name = model.to_string();
            let llm =
                json!({"name": name, "type": "openai", "url": format!("http://{stub}/v1"), "model": name});
            post(address, &self.token, "/api/v1/llms", &llm.to_string())?;
        }
        Ok(())
    }
}

/// Has something made.
pub(crate) fn post(address: SocketAddr, token: &str, path: &str, body: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("POST {path}"))?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "POST {path}: {answer}");
    Ok(())
}

/// One that speaks TLS, and a file of authorities: the system's own ones and the one that vouches for it.
pub(crate) fn tls(places: &Places, stub: SocketAddr, models: &[Model]) -> anyhow::Result<(System, PathBuf)> {
    let home = Home::new(places, "mcpd-tls", None)?;
    let plain = home.serve(Kind::MCPD, &[])?;
    home.describe(plain.target.address, stub, models)?;
    drop(plain);
    let issued = fakes::Certificate::Good.issue();
    let [certificate, key, authorities] =
        ["certificate.pem", "key.pem", "authorities.pem"].map(|name| home.folder.join(name));
    fs::write(&certificate, &issued.certificate)?;
    fs::write(&key, &issued.key)?;
    fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    fs::write(&authorities, format!("{system}\n{}", issued.authority))?;
    let files = [certificate.to_string_lossy(), key.to_string_lossy()];
    let served = home.serve(Kind::MCPD, &["--tls-cert", &files[0], "--tls-key", &files[1]])?;
    Ok((served, authorities))
}
