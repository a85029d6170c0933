//! The harness of the real server, tried on the real server.

use fakes::Mcpd;
use std::{io::ErrorKind, net::TcpStream};

#[test]
fn a_server_starts_answers_stops_and_comes_back_where_it_was() {
    let mut mcpd = Mcpd::start();
    let answer = mcpd.request("GET", "/healthz", None, &[], b"");
    assert_eq!(answer.status, 200);
    let port = mcpd.port();

    assert!(mcpd.stop().success());
    assert_eq!(TcpStream::connect(mcpd.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    mcpd.restart();
    assert_eq!(mcpd.port(), port);
    assert_eq!(mcpd.request("GET", "/healthz", None, &[], b"").status, 200);
    assert!(!mcpd.kill().success());
}
