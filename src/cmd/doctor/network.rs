//! The way to the server: its name, its certificate, its answer, its clock, and what it makes of the token.

use super::finding::{Check, Report, quoted, word};
use crate::{
    cmd::{Run, auth},
    config::Server,
    credential::{Credential, Source, holder::Ending},
    failover::{CallFailure, Fault, Unreachable},
    gateway::{Gateway, Reached, reach},
    http,
    limit::within,
};
use jiff::{SignedDuration, Timestamp};
use mcp_api::{Whoami, paths};
use std::{net::ToSocketAddrs, time::Duration};
use url::Host;

/// For a name, a connection or an answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Clocks differ by so much without anybody noticing.
const CLOCK_NEAR: SignedDuration = SignedDuration::from_secs(30);
/// Certificates and tokens seem to begin too late or to end too early.
const CLOCK_FAR: SignedDuration = SignedDuration::from_mins(5);

/// Looks at the way to the server; says whether it answers.
pub(super) fn server(run: &Run<'_>, server: Option<&Server>, report: &mut Report) -> bool {
    let Some(server) = server else {
        let all = [Check::Dns, Check::Connection, Check::Tls, Check::Version, Check::Clock];
        return skip(report, &all, "no server is known");
    };
    let has_address = dns(run, server, report);
    if !has_address {
        let all = [Check::Connection, Check::Tls, Check::Version, Check::Clock];
        return skip(report, &all, "the server has no address");
    }
    let asked = {
        let server = server.clone();
        within(3 * LIMIT, move || reach(&server, LIMIT))
    };
    match asked {
        None => unreached(report, server, "it does not answer"),
        Some(Err(error)) => {
            let finding = report.wrong(Check::Tls, error.to_string());
            if let (Some(_), Some(context)) = (&server.ca_file, &server.context) {
                finding.mend(format!("mcpctl config set-context {} --ca-file FILE", word(context)));
            }
            skip(report, &[Check::Connection, Check::Version, Check::Clock], "no connection was tried")
        }
        Some(Ok(Err(failure))) => failed(report, server, &failure),
        Some(Ok(Ok(reached))) => answered(report, server, &reached),
    }
}

/// The address of the name; false if there is none. Where a proxy is used, it is the proxy that has to know it.
fn dns(run: &Run<'_>, server: &Server, report: &mut Report) -> bool {
    let Some(Host::Domain(host)) = server.url.host() else {
        report.skipped(Check::Dns, "the server is named by its address");
        return true;
    };
    let proxied = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let by_proxy = proxied.into_iter().find(|name| run.env.var(name).is_some());
    let by_proxy = by_proxy.filter(|_| server.url.scheme() == "https" && !http::is_loopback(&server.url));
    let (host, port) = (host.to_owned(), server.url.port_or_known_default().unwrap_or(443));
    let looked = {
        let host = host.clone();
        within(LIMIT, move || (host.as_str(), port).to_socket_addrs())
    };
    let why = match looked {
        Some(Ok(addresses)) => {
            let mut addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            let more = if addresses.len() > 4 { ", ..." } else { "" };
            addresses.truncate(4);
            report.ok(Check::Dns, format!("{host} is {}{more}", addresses.join(", ")));
            return true;
        }
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {} s", LIMIT.as_secs()),
    };
    let finding = match by_proxy {
        // The value may hold a password.
        Some(name) => report.remark(
            Check::Dns,
            format!(
                "{host} has no address here ({why}); it need not have one if the proxy of {name} knows it"
            ),
        ),
        None => report.wrong(Check::Dns, format!("{host} has no address: {why}")),
    };
    finding.mend(format!("getent ahosts {host}"));
    by_proxy.is_some()
}

fn unreached(report: &mut Report, server: &Server, why: &str) -> bool {
    report.wrong(Check::Connection, why).mend(ask_by_hand(server));
    skip(report, &[Check::Tls, Check::Version, Check::Clock], "the server does not answer")
}

fn skip(report: &mut Report, checks: &[Check], why: &str) -> bool {
    for check in checks {
        report.skipped(*check, why);
    }
    false
}

fn failed(report: &mut Report, server: &Server, failure: &CallFailure) -> bool {
    let target = http::target(&server.url);
    match &failure.fault {
        Fault::Tls(what) => {
            report.ok(Check::Connection, format!("{target} takes connections"));
            let look = format!("openssl s_client -connect {target} < /dev/null");
            report.wrong(Check::Tls, format!("{target} cannot be trusted: {what}")).mend(look);
            skip(report, &[Check::Version, Check::Clock], "the server cannot be trusted")
        }
        Fault::Unreachable { how: Unreachable::Refused, .. } if http::is_loopback(&server.url) => {
            let why = format!("nobody listens at {target} of this machine");
            report.wrong(Check::Connection, why).mend("mcpd serve");
            skip(report, &[Check::Tls, Check::Version, Check::Clock], "the server does not answer")
        }
        _ => unreached(report, server, &failure.told_of("the server").to_string()),
    }
}

fn answered(report: &mut Report, server: &Server, reached: &Reached) -> bool {
    report.ok(
        Check::Connection,
        format!("{} answered in {} ms", http::target(&server.url), reached.took.as_millis()),
    );
    match server.url.scheme() {
        "https" => report.ok(Check::Tls, "the certificate is in order"),
        _ if http::is_loopback(&server.url) => report.skipped(Check::Tls, "plain http stays on this machine"),
        _ => report.remark(Check::Tls, "there is none: insecureHttp is set"),
    };
    let ours = env!("CARGO_PKG_VERSION");
    if let Some(version) = &reached.version {
        report.ok(Check::Version, format!("server {}, mcpctl {ours}", version.escape_debug()));
    } else {
        let finding = format!("what answers there is no mcpd: status {} to GET /version", reached.status);
        report.wrong(Check::Version, finding).mend(ask_by_hand(server));
    }
    clock(report, reached.ahead);
    reached.version.is_some()
}

/// A clock that is off makes certificates and tokens seem expired. It changes no verdict: the server judges.
fn clock(report: &mut Report, ahead: Option<SignedDuration>) {
    let Some(ahead) = ahead else {
        report.skipped(Check::Clock, "the server told no time");
        return;
    };
    let off = ahead.abs();
    let direction = if ahead.is_positive() { "behind" } else { "ahead of" };
    let finding = format!("this machine's clock is {} {direction} the server's", rough(off));
    if off <= CLOCK_NEAR {
        report.ok(Check::Clock, format!("within {} s of the server's", CLOCK_NEAR.as_secs()));
    } else if off <= CLOCK_FAR {
        report.remark(Check::Clock, finding).mend("sudo timedatectl set-ntp true");
    } else {
        report.wrong(Check::Clock, finding).mend("sudo timedatectl set-ntp true");
    }
}

/// `40 s`, `12 min`, `5 h`, `3652 days`.
fn rough(time: SignedDuration) -> String {
    match time.as_secs() {
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ ..=7199 => format!("{} min", seconds / 60),
        seconds @ ..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn ask_by_hand(server: &Server) -> String {
    format!("curl -v {server}/version")
}

/// Asks the server who the token belongs to. Gives a client for more questions if it knows.
pub(super) fn login(
    server: Option<&Server>,
    credential: Option<Credential>,
    report: &mut Report,
) -> Option<Gateway> {
    let (server, credential) = match (server, credential) {
        (Some(server), Some(credential)) => (server, credential),
        (None, _) => {
            report.skipped(Check::Login, "there is no server that could be asked");
            return None;
        }
        (Some(_), None) => {
            report.skipped(Check::Login, "there is no token to ask with");
            return None;
        }
    };
    let source = credential.source;
    let gateway = match Gateway::new(server, credential.token, LIMIT, LIMIT) {
        Ok(gateway) => gateway,
        Err(error) => {
            report.wrong(Check::Login, error.to_string());
            return None;
        }
    };
    let failure = match gateway.get::<Whoami>(paths::WHOAMI) {
        Ok(who) => {
            welcome(report, &who);
            return Some(gateway);
        }
        Err(failure) => failure,
    };
    if let Fault::Status { status: 401, .. } = failure.fault {
        report.wrong(Check::Login, source.rejected()).mend_if(mend(&source));
    } else {
        report.wrong(Check::Login, failure.told_of("the server").to_string());
    }
    None
}

/// What to do about a token that the server does not take.
fn mend(source: &Source) -> Option<String> {
    match source {
        Source::Environment => Some("unset MCPCTL_TOKEN".into()),
        Source::File(path) => Some(format!("\"${{EDITOR:-vi}}\" {}", quoted(path))),
        Source::Stored(_) => Some("mcpctl auth login --token-stdin < token.txt".into()),
        Source::Keyring => Some("mcpctl auth login --token-stdin --keyring < token.txt".into()),
        Source::Command => Some("mcpctl config view".into()),
        Source::Input => None,
    }
}

fn welcome(report: &mut Report, who: &Whoami) {
    let now = Timestamp::now();
    let name = &who.subject.name;
    let expires = auth::expires(who.token_expires_at.as_deref(), now);
    let at = who.token_expires_at.as_deref().and_then(|at| at.parse().ok());
    match at.and_then(|at| Ending::near(at, now)) {
        Some(ending) => {
            report
                .remark(Check::Login, format!("{name}; {ending}"))
                .mend("mcpctl auth login --token-stdin < token.txt");
        }
        None => {
            report.ok(Check::Login, format!("{name}; the token expires: {expires}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g08_a_clock_is_wrong_in_either_direction() {
        let judged = |seconds: i64| {
            let mut report = Report::default();
            clock(&mut report, Some(SignedDuration::from_secs(seconds)));
            let finding = report.into_findings().remove(0);
            (finding.result.as_str(), finding.message)
        };
        assert_eq!((judged(-29).0, judged(31).0, judged(-301).0), ("ok", "remark", "wrong"));
        assert_eq!(judged(-315_619_200).1, "this machine's clock is 3653 days ahead of the server's");
        assert_eq!(judged(7200).1, "this machine's clock is 2 h behind the server's");
    }
}
