//! Whether a server answers at all, asked without a token: its version, and its clock.

use super::{CA_FILE_MAX, GatewayError};
use crate::{
    config::Server,
    failover::{CallFailure, Fault},
    files,
    http::{self, Options},
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::header::DATE;
use serde::Deserialize;
use std::{
    io::Read,
    time::{Duration, Instant},
};

const VERSION: &str = "/version";
/// The largest answer that is read, in bytes.
const ANSWER_MAX: u64 = 4 << 10;

/// A server that answered.
#[derive(Debug)]
pub struct Reached {
    /// Its version; none if what answered says nothing that mcpd would say.
    pub version: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// How far its clock is ahead of this machine's; none if it told no time.
    pub ahead: Option<SignedDuration>,
    /// How long the answer took.
    pub took: Duration,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// Asks a server for its version. `limit` holds for the connection, and once more for the answer.
pub fn reach(server: &Server, limit: Duration) -> Result<Result<Reached, CallFailure>, GatewayError> {
    let extra_roots = server.ca_file.as_deref().map(|path| files::read(path, CA_FILE_MAX)).transpose()?;
    let options = Options { connect: limit, head: limit, extra_roots, local: None };
    let client = http::client(&server.url, &options)?;
    let mut url = server.url.clone();
    url.set_path(VERSION);
    let started = Instant::now();
    let response = match client.get(url).timeout(limit).send() {
        Ok(response) => response,
        Err(error) => {
            let fault: Fault = http::fault(&error, &server.url, &options);
            return Ok(Err(CallFailure::before_content(fault)));
        }
    };
    let took = started.elapsed();
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let ahead = date.and_then(|date| ahead(date, Timestamp::now(), took));
    let status = response.status().as_u16();
    let mut body = Vec::new();
    let read = response.take(ANSWER_MAX).read_to_end(&mut body);
    let version = read.ok().and_then(|_| serde_json::from_slice::<Version>(&body).ok());
    let version = version.filter(|_| status == 200).map(|answer| answer.version);
    Ok(Ok(Reached { version, status, ahead, took }))
}

/// How far a clock is ahead that showed `date` while the question was under way.
fn ahead(date: &str, now: Timestamp, took: Duration) -> Option<SignedDuration> {
    let theirs = rfc2822::parse(date).ok()?.timestamp();
    let ours = now.checked_sub(SignedDuration::try_from(took / 2).ok()?).ok()?;
    Some(theirs.duration_since(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g08_a_clock_is_compared_with_the_middle_of_the_question() {
        let now = "1994-11-06T08:49:39Z".parse().unwrap();
        let ahead = |date| ahead(date, now, Duration::from_secs(2)).map(|it| it.as_secs());
        assert_eq!(ahead("Sun, 06 Nov 1994 08:49:37 GMT"), Some(-1));
        assert_eq!(ahead("Sat, 06 Nov 2004 08:49:38 GMT"), Some(315_619_200));
        assert_eq!(ahead("yesterday"), None);
    }
}
