//! nginx as one would set it up before an engine: kept connections, no buffering of answers, a log.

use super::{Kind, Places, System, free_address, version};
use crate::{
    load::Target,
    process::{Program, SERVER_CORE},
};
use std::{fs, net::SocketAddr, process::Command, time::Instant};

/// As long as one of mcpd.
const TOKEN: &str = "mcpd_abcdefghijklmnop_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn start(
    kind: Kind,
    places: &Places,
    stub: SocketAddr,
    asks_first: bool,
) -> anyhow::Result<Option<System>> {
    let Some(nginx) = places.tool("proxies/nginx") else { return Ok(None) };
    let folder = places.folder(kind.name())?;
    let address = free_address()?;
    let auth = if asks_first { "auth_request /auth;" } else { "" };
    let here = folder.display();
    let config = format!(
        r#"worker_processes 1; daemon off; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {here}/access.log;
  client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
  uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
  keepalive_requests 100000000; client_max_body_size 16m; client_body_buffer_size 2m; tcp_nodelay on;
  map_hash_bucket_size 256;
  map $http_authorization $is_known {{ default 0; "Bearer {TOKEN}" 1; }}
  upstream engine {{ server {stub}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {address} backlog=4096;
    location = /auth {{ internal; if ($is_known = 0) {{ return 401; }} return 204; }}
    location / {{
      {auth}
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Authorization ""; proxy_buffering off;
    }}
  }}
}}
"#
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(&nginx);
    command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    let began = Instant::now();
    let program = Program::start(&command, SERVER_CORE, &folder.join("log"))?;
    let target = Target::new(address, TOKEN);
    System::running(kind, program, target, version(&nginx, "-v"), began).map(Some)
}
