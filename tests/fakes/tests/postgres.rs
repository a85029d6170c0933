//! The real PostgreSQL as the tests get it, and the proxy before it. Skipped where there is none.

#![expect(clippy::unwrap_used, reason = "in a test a panic is how it fails; helpers are tests too")]

use fakes::{Postgres, WireProxy, alive, required, wait_until};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(10);

/// A session by the wire protocol, as far as a test needs it: whoever comes from loopback has to show a password, so
/// this one gets no further than the question for it. That is an exchange of messages all the same.
fn hello(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&startup()).unwrap();
    stream
}

fn startup() -> Vec<u8> {
    let body = [&(3_u32 << 16).to_be_bytes()[..], b"user\0mcpd\0database\0mcpd\0\0"].concat();
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&length[..], &body].concat()
}

/// Says whether the server has answered; else how the connection ended.
fn answered(mut stream: TcpStream) -> Result<u8, ErrorKind> {
    let mut first = [0];
    stream.read_exact(&mut first).map(|()| first[0]).map_err(|error| error.kind())
}

/// What a session over TCP says to some statements: stdout, stderr.
fn said(postgres: &Postgres, addr: SocketAddr, statements: &str) -> (String, String) {
    let mut session = postgres.session(addr);
    session.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut session = session.spawn().unwrap();
    session.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    let output = session.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_cluster_keeps_what_was_written_over_a_stop_and_a_crash() {
    let Some(mut postgres) = Postgres::start() else { return required("PostgreSQL") };
    postgres.psql("CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (1)");
    let port = postgres.port();

    postgres.stop();
    assert_eq!(TcpStream::connect(postgres.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    postgres.start_again();
    postgres.psql("INSERT INTO kept VALUES (2)");
    let pid = postgres.pid();
    postgres.kill();
    assert!(!alive(pid));
    assert_eq!(TcpStream::connect(postgres.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    postgres.start_again();
    assert_eq!((postgres.port(), &*postgres.psql("SELECT n FROM kept ORDER BY n")), (port, "1\n2"));
}

#[test]
fn only_the_password_opens_it_over_tcp() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    assert_eq!(said(&postgres, postgres.addr(), "SELECT current_user"), ("mcpd\n".into(), String::new()));
    let other = Postgres::start().unwrap();
    let (_, refused) = said(&other, postgres.addr(), "SELECT current_user");
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert!(!postgres.log().contains(postgres.password()));
}

#[test]
fn a_cluster_ends_with_its_value_and_leaves_nothing() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let (pid, dir) = (postgres.pid(), postgres.dir().to_owned());
    drop(postgres);
    assert!(!alive(pid) && !dir.exists());
}

#[test]
fn a_standby_follows_until_its_replay_is_paused() {
    let Some(primary) = Postgres::start() else { return required("PostgreSQL") };
    primary.psql("CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (1)");
    let standby = primary.replica();
    standby.catch_up_with(&primary);
    assert_eq!(standby.psql("SELECT pg_is_in_recovery(), n FROM kept"), "t|1");
    assert!(standby.try_psql("mcpd", "INSERT INTO kept VALUES (0)").unwrap_err().contains("read-only"));

    standby.pause_replay();
    primary.psql("INSERT INTO kept VALUES (2)");
    assert_eq!(standby.psql("SELECT count(*) FROM kept"), "1");
    assert_eq!(primary.psql("SELECT count(*) FROM kept"), "2");
}

#[test]
fn the_proxy_passes_and_counts_what_is_executed() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(postgres.addr());
    let (stdout, _) = said(&postgres, wire.addr(), "SELECT 1;\nSELECT 2;\nSELECT 1;\n");
    assert_eq!(stdout, "1\n2\n1\n");
    assert_eq!((wire.executed("SELECT 1"), wire.executed("SELECT"), wire.executed("authz")), (2, 3, 0));
    // The start, two messages with the proof of the password, three queries and the end.
    assert!(wire.messages() >= 7, "{}", wire.messages());
}

#[test]
fn connections_are_refused_cut_and_swallowed_until_they_pass_again() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(postgres.addr());
    let open = hello(wire.addr());
    // `R`: the server asks for the password.
    assert_eq!(answered(open.try_clone().unwrap()), Ok(b'R'));

    wire.refuse();
    let mut rest = Vec::new();
    assert_eq!((&open).read_to_end(&mut rest).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(TcpStream::connect(wire.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    wire.pass();
    assert_eq!(answered(hello(wire.addr())), Ok(b'R'));

    let before = hello(wire.addr());
    assert_eq!(answered(before.try_clone().unwrap()), Ok(b'R'));
    wire.black_hole();
    let within = hello(wire.addr());
    for stream in [&before, &within] {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    }
    assert_eq!(answered(within.try_clone().unwrap()), Err(ErrorKind::WouldBlock), "open, and silent");
    wire.pass();
    within.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(answered(within), Err(ErrorKind::ConnectionReset), "what was swallowed does not come back");
    assert_eq!(answered(hello(wire.addr())), Ok(b'R'));

    let third = hello(wire.addr());
    assert_eq!(answered(third.try_clone().unwrap()), Ok(b'R'));
    wire.cut();
    assert_eq!((&third).read_to_end(&mut Vec::new()).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(answered(hello(wire.addr())), Ok(b'R'));
    assert_eq!(wire.connections(), 7);
}

#[test]
fn a_delay_holds_back_both_ways_and_ends_when_it_is_switched_off() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(postgres.addr());
    let each_way = Duration::from_millis(200);
    wire.delay(each_way);
    let start = Instant::now();
    assert_eq!(answered(hello(wire.addr())), Ok(b'R'));
    assert!(start.elapsed() >= 2 * each_way, "{:?}", start.elapsed());

    wire.delay(Duration::from_hours(1));
    let waiting = hello(wire.addr());
    wire.pass();
    assert_eq!(answered(waiting), Ok(b'R'));
}

#[test]
fn a_trap_loses_a_message_or_its_answer_and_springs_once() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    postgres.psql("CREATE TABLE kept (n BIGINT); GRANT ALL ON kept TO mcpd");
    let wire = WireProxy::before(postgres.addr());
    let attempt = |statements: &str| {
        let said = said(&postgres, wire.addr(), statements);
        wire.settle();
        said
    };
    let count = || postgres.psql("SELECT count(*) FROM kept");
    let before = wire.messages();
    attempt("SELECT 1;\n");
    // All of a session but its one query and its end.
    let greeting = wire.messages() - before - 2;

    wire.cut_before_message(greeting + 1);
    let (_, lost) = attempt("INSERT INTO kept VALUES (1);\n");
    assert!(lost.contains("server closed the connection") || lost.contains("reset by peer"), "{lost}");
    assert_eq!(count(), "0", "the statement did not get through");

    wire.cut_before_answer_to(greeting + 1);
    let (_, lost) = attempt("INSERT INTO kept VALUES (1);\n");
    assert!(lost.contains("server closed the connection") || lost.contains("reset by peer"), "{lost}");
    wait_until(SOON, "the statement got through, and its answer did not", || count() == "1");

    assert_eq!(attempt("INSERT INTO kept VALUES (1);\n"), (String::new(), String::new()));
    assert_eq!(count(), "2");
}
