//! A02: the time that a refusal takes says nothing about whether the thing exists.

use crate::cases::times;
use fakes::{Comparison, Mcpd, compare};
use mcp_api::paths;
use std::time::{Duration, Instant};

/// The largest difference between the medians that passes for none. A caller far away has to see it through a jitter of
/// milliseconds; a question to the database, which is what could differ, takes several times as long.
const TELLING: Duration = Duration::from_micros(40);

#[test]
fn a02_it_takes_as_long_to_refuse_what_exists_as_what_does_not() {
    let pairs = times(400, 10_000);
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("there", "http://127.0.0.1:9/v1").id;
    mcpd.create_user("there");
    mcpd.grant("there", "there", &[]);
    let nobody = mcpd.user_with("nobody", &[]);
    let absent = format!("c{}", "0".repeat(24));
    for (method, there, absent) in [
        ("HEAD", format!("{}/there", paths::LLMS), format!("{}/where", paths::LLMS)),
        ("GET", format!("{}/{id}", paths::LLMS), format!("{}/{absent}", paths::LLMS)),
        ("DELETE", format!("{}/there", paths::RBACS), format!("{}/where", paths::RBACS)),
        ("GET", format!("{}/user/there", paths::SUBJECTS), format!("{}/user/where", paths::SUBJECTS)),
    ] {
        let time = |path: &str| {
            let start = Instant::now();
            let status = mcpd.request(method, path, Some(&nobody), &[], b"").status;
            let taken = start.elapsed();
            assert_eq!(status, 403, "{method} {path}");
            taken.as_secs_f64() * 1e6
        };
        let Comparison { bias, error, usual } = compare(pairs, || time(&there), || time(&absent));
        println!("{method} {there}: {usual:.0} us, {bias:+.1} us if it exists, standard error {error:.1} us");
        // What noise alone can do is no finding: three standard errors.
        let limit = TELLING.as_secs_f64() * 1e6 + 3.0 * error;
        assert!(bias.abs() < limit, "{method} {there}: {bias:+.1} us of {usual:.0} us, more than {limit:.1}");
    }
}

#[test]
fn a02_a_difference_that_tells_would_be_seen() {
    let mut noise = (0_u32..).map(|n| f64::from(n.wrapping_mul(2_654_435_769) >> 22));
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        one.push(noise.next().unwrap() + 400.0);
        other.push(noise.next().unwrap());
    }
    let Comparison { bias, error, .. } = compare(400, || one.pop().unwrap(), || other.pop().unwrap());
    assert!(bias > TELLING.as_secs_f64() * 1e6 + 3.0 * error, "{bias} {error}");
}
