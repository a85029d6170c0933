//! What is measured, all of it on one screen, and how it is read: `/metrics`, in Prometheus' text format.
//!
//! Names are those of OpenTelemetry's conventions where it has one, in the spelling that Prometheus gives them. No label
//! has a value that somebody outside could choose: LLMs are named as in the registry, paths by their route, and people
//! not at all. A new metric is a line in the table below and a row in `docs/watch.md`.

mod kinds;
mod listener;
mod process;
mod show;

pub(crate) use kinds::{Counter, Gauge, Held, Histogram, Total};
pub(crate) use listener::{MetricsSettings, listen};
pub(crate) use show::show;

use kinds::{Kind, Named};
use prometheus::{Registry, TextEncoder};

/// Seconds, from an answer out of memory to an answer that streams for minutes.
const TIMES: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Seconds, as OpenTelemetry's conventions want them for generative models.
const GEN_AI_TIMES: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];
/// Tokens, likewise.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const NONE: &[f64] = &[];

/// Writes the table once: the fields, how they are made, and how what is gone is forgotten.
macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $kind:ident$(<$arg:literal>)? = $name:literal $labels:tt $buckets:ident;)+) => {
        /// Everything that is measured. Clones count into the same.
        #[derive(Debug, Clone)]
        pub(crate) struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub(crate) $field: $kind$(<$arg>)?,)+
        }

        /// Every metric with its labels.
        #[cfg(test)]
        const NAMES: &[(&str, &[&str])] = &[$(($name, &$labels)),+];

        impl Metrics {
            /// Begins with nothing counted.
            pub(crate) fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                Ok(Self { $($field: {
                    let named = Named { name: $name, help: $help.trim_ascii(), labels: $labels, buckets: $buckets };
                    Kind::made(&named, &registry)?
                },)+ registry })
            }

            /// Forgets LLMs that are no longer registered, so that what is kept is bounded.
            fn forget(&self, keeps: &dyn Fn(&str) -> bool) {
                $(self.$field.forget(&Named { name: $name, help: $help, labels: $labels, buckets: $buckets }, keeps);)+
            }
        }
    };
}

metrics! {
    /// How long requests took, from their head to the last byte of their answer.
    http_requests: Histogram<4> = "http_server_request_duration_seconds"
        ["http_request_method", "http_route", "http_response_status_code", "error_type"] TIMES;
    /// Requests that are being answered.
    http_active: Gauge<1> = "http_server_active_requests" ["http_request_method"] NONE;
    /// How long LLMs took for whole answers, as their callers saw it.
    llm_requests: Histogram<4> = "gen_ai_server_request_duration_seconds"
        ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type"] GEN_AI_TIMES;
    /// How long LLMs took to begin to stream, as their callers saw it.
    llm_first: Histogram<3> = "gen_ai_server_time_to_first_token_seconds"
        ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"] GEN_AI_TIMES;
    /// Tokens of prompts (input) and answers (output), where the upstream says how many there were.
    llm_tokens: Histogram<4> = "gen_ai_client_token_usage"
        ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"] TOKENS;
    /// Answers of LLMs that are under way.
    llm_active: Gauge<1> = "mcpd_llm_active_requests" ["gen_ai_request_model"] NONE;
    /// How answers of LLMs ended: done, or cut and why.
    llm_ends: Counter<2> = "mcpd_llm_answers_total" ["gen_ai_request_model", "outcome"] NONE;
    /// What was decided about probes and prompts: allowed, denied, disabled, absent.
    decisions: Counter<2> = "mcpd_decisions_total" ["event", "verdict"] NONE;
    /// Requests without a credential that is valid, by what was wrong with it.
    login_failures: Counter<1> = "mcpd_login_failures_total" ["reason"] NONE;
    /// Requests that met a limit of this server: of an LLM, a token, the server; of what is concurrent or of a rate.
    limited: Counter<2> = "mcpd_limited_total" ["scope", "limit"] NONE;
    /// Requests that were tried again on another node, by what was wrong with the one before.
    upstream_retries: Counter<2> = "mcpd_upstream_retries_total" ["gen_ai_request_model", "reason"] NONE;
    /// Tries that failed at a node, by what was wrong.
    upstream_failures: Counter<3> = "mcpd_upstream_failures_total" ["gen_ai_request_model", "node", "reason"] NONE;
    /// Whether a node is asked (1), or is left alone after failures (0).
    upstream_up: Gauge<2> = "mcpd_upstream_node_up" ["gen_ai_request_model", "node"] NONE;
    /// Answers that a node is at.
    upstream_pending: Gauge<2> = "mcpd_upstream_node_pending" ["gen_ai_request_model", "node"] NONE;
    /// How long requests waited until it was known what the database says.
    database_waits: Histogram<0> = "mcpd_database_wait_seconds" [] TIMES;
    /// Requests for which the database could not be asked, or left open whether a change was made.
    database_failures: Counter<1> = "mcpd_database_failures_total" ["error_type"] NONE;
    /// The number of changes of rights in the database, as this server knows it.
    database_epoch: Gauge<0> = "mcpd_database_epoch" [] NONE;
    /// Fetches of the signing keys of an issuer, by how they ended.
    jwks_refreshes: Counter<2> = "mcpd_jwks_refreshes_total" ["issuer", "outcome"] NONE;
    /// Entries of the audit trail that wait to be written.
    audit_waiting: Gauge<0> = "mcpd_audit_waiting_entries" [] NONE;
    /// Entries of the audit trail that were given up.
    audit_lost: Total = "mcpd_audit_lost_total" [] NONE;
    /// When the certificate that this server shows ends, in seconds since 1970.
    tls_expiry: Gauge<0> = "mcpd_tls_certificate_expiry_timestamp_seconds" [] NONE;
    /// Which version runs.
    build: Gauge<1> = "mcpd_build_info" ["version"] NONE;
    /// Whether the server takes new requests (0), or stops (1).
    draining: Gauge<0> = "mcpd_draining" [] NONE;
    /// Memory in use.
    memory: Gauge<0> = "process_resident_memory_bytes" [] NONE;
    /// Time of processors used.
    cpu: Total = "process_cpu_seconds_total" [] NONE;
    /// Open file descriptors.
    open_files: Gauge<0> = "process_open_fds" [] NONE;
    /// As many file descriptors may be open.
    most_files: Gauge<0> = "process_max_fds" [] NONE;
    /// When the process began, in seconds since 1970.
    began: Gauge<0> = "process_start_time_seconds" [] NONE;
}

impl Metrics {
    /// All of it in Prometheus' text format.
    fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PAGE: &str = include_str!("../../docs/watch.md");
    const DASHBOARD: &str = include_str!("../../deploy/grafana/mcpd.json");

    /// The names in a text that could be those of metrics of ours.
    fn named(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = ["mcpd_", "gen_ai_", "http_", "process_"];
        let labels: BTreeSet<&str> = NAMES.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
        let ours = words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)));
        ours.filter(|word| !labels.contains(word)).map(metric).collect()
    }

    fn metric(name: &str) -> &str {
        let is_one = |name: &str| NAMES.iter().any(|(one, _)| *one == name);
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        of_histogram.filter(|name| is_one(name)).unwrap_or(name)
    }

    #[test]
    fn the_page_has_a_row_for_every_metric_and_names_no_other() {
        for (name, labels) in NAMES {
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
            let row = row.unwrap_or_else(|| panic!("{name} has no row in docs/watch.md"));
            let listed: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let listed = if labels.is_empty() { "-".to_owned() } else { listed.join(", ") };
            assert!(row.contains(&format!(" | {listed} | ")), "{name} has the labels {listed}: {row}");
        }
        let known: BTreeSet<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        assert_eq!(named(PAGE).difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn the_dashboard_asks_for_every_metric_and_for_no_other() {
        let known: BTreeSet<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        assert_eq!(named(DASHBOARD), known);
    }

    #[test]
    fn a_histogram_s_buckets_grow() {
        for buckets in [TIMES, GEN_AI_TIMES, TOKENS] {
            assert!(buckets.is_sorted() && !buckets.is_empty());
        }
    }
}
