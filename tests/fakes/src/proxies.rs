//! Proxies of other people in front of mcpd: what `scripts/install-proxies` has brought, else what is on PATH.

use crate::wait_until;
use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// nginx.
    Nginx,
    /// `HAProxy`.
    Haproxy,
}

/// One that runs. Killed and waited for when it is dropped.
#[derive(Debug)]
pub struct RunningProxy {
    child: Child,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Proxy {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Starts it in front of a server, with connections that it uses again for other clients. One path it answers itself
    /// with 403. None if it is not there: see [`crate::required`].
    pub fn start(self, server: SocketAddr, forbidden: &str) -> Option<RunningProxy> {
        let program = program(self.name())?;
        let dir = TempDir::new().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound");
        let text = match self {
            Self::Nginx => nginx(dir.path(), free, server, forbidden),
            Self::Haproxy => haproxy(free, server, forbidden),
        };
        let file = dir.path().join("conf");
        fs::write(&file, text).expect("the folder is writable");
        let mut command = Command::new(program);
        match self {
            Self::Nginx => command.arg("-p").arg(dir.path()).arg("-e").arg("stderr").arg("-c").arg(&file),
            Self::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().expect("it can be run");
        let mut running = RunningProxy { child, addr: free, _dir: dir };
        wait_until(Duration::from_secs(20), "the proxy listens", || {
            assert!(running.child.try_wait().expect("it is ours").is_none(), "{} ended", self.name());
            TcpStream::connect(free).is_ok()
        });
        Some(running)
    }
}

impl RunningProxy {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/proxies").join(name);
    let on_path =
        || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file());
    if own.is_file() { Some(own) } else { on_path() }
}

fn nginx(dir: &Path, listen: SocketAddr, server: SocketAddr, forbidden: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;\n\
         uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 1s;\n\
         upstream mcpd {{ server {server}; keepalive 8; }}\n\
         server {{ listen {listen};\n\
         location = {forbidden} {{ return 403; }}\n\
         location / {{ proxy_pass http://mcpd; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 20s; }} }} }}\n"
    )
}

fn haproxy(listen: SocketAddr, server: SocketAddr, forbidden: &str) -> String {
    format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 2s\n  timeout http-request 2s\n  \
         timeout http-keep-alive 1s\n  timeout server 20s\n\
         frontend all\n  bind {listen}\n  http-request deny deny_status 403 if {{ path {forbidden} }}\n  \
         default_backend mcpd\n\
         backend mcpd\n  http-reuse always\n  server mcpd {server}\n"
    )
}
