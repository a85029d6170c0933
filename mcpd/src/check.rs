//! What `mcpd check` looks at: everything that `serve` needs, without serving and without changing anything.

use crate::{
    config::Settings,
    database::Database,
    log::chain,
    oidc::Oidc,
    store::{self, Finding},
    tls::{Pair, PairFiles},
};
use jiff::Timestamp;
use std::io::{self, Write};

/// Says what was found, a line each, and whether all of it is well.
pub(crate) async fn check(
    settings: &Settings,
    database: &Database,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut findings = Vec::new();
    if let Some(files) = settings.tls.files()? {
        findings.push(tls(&files, Timestamp::now()));
    }
    let issuers = &settings.structured.oidc;
    if !issuers.is_empty() {
        findings.push(match Oidc::check(issuers) {
            Ok(()) => Finding::good(format!("OIDC issuers: {}", issuers.len())),
            Err(error) => Finding::bad(format!("OIDC: {}", chain(&error))),
        });
    }
    match store::inspect(database).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::bad(format!("{database}: {error:#}"))),
    }
    write(&findings, out)?;
    Ok(findings.iter().all(|finding| finding.ok))
}

fn write(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{} {}", if finding.ok { "ok " } else { "BAD" }, finding.text)?;
    }
    Ok(())
}

fn tls(files: &PairFiles, now: Timestamp) -> Finding {
    let pair = match Pair::read(files) {
        Ok(pair) => pair,
        Err(error) => return Finding::bad(format!("TLS: {}", chain(&error))),
    };
    let Some(ends) = pair.ends() else { return Finding::good("TLS certificate, which does not end") };
    let day = ends.strftime("%F");
    if pair.has_ended(now) {
        return Finding::bad(format!("the TLS certificate ended on {day}"));
    }
    let days = ends.duration_since(now).as_hours() / 24;
    let advice = if pair.ends_soon(now) { "; renew it" } else { "" };
    Finding::good(format!("TLS certificate until {day}, {days} days{advice}"))
}
