//! A job whose CI system vouches for it: no token of this server is stored anywhere, and the client does all the same.

use crate::failover_reports::{failovers, waiting};
use crate::support::{Client, LIMIT, PROMPT, Stage, TEN_WORDS, assert_logged, says};
use assert_cmd::Command;
use fakes::{Fault, Gate, Issuer, Mcpd, wait_until};
use mcp_api::{Subject, SubjectKind};
use predicates::prelude::*;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Stdio,
};

/// A stage whose server also believes an issuer, and a job of that issuer with a local provider.
struct Job {
    issuer: Issuer,
    stage: Stage,
    token: String,
    client: Client,
}

impl Job {
    fn new() -> Self {
        let issuer = Issuer::start();
        let file = issuer.config_file(json!({}));
        let stage = Stage::at(Mcpd::builder().env("MCPD_CONFIG", file.to_str().unwrap()).start(), &[]);
        let subject = Subject { kind: SubjectKind::ServiceAccount, name: "ci.job".parse().unwrap() };
        stage.mcpd.grant_to(
            "job-chat",
            subject,
            &[("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))],
        );
        let token = issuer.token(json!({}));
        let client = Client::of(&stage.mcpd.url(), &token);
        client.failover("chat-prod", &stage.local.url());
        Self { issuer, stage, token, client }
    }

    fn subject(&self, client: &Client, env: &[(&str, &str)]) -> Value {
        self.told(client.cmd(["auth", "whoami", "-o", "json"]).envs(env.iter().copied()))
    }

    fn told(&self, whoami: &mut Command) -> Value {
        let output = whoami.output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{document}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(&self.token));
        document["subject"].clone()
    }
}

#[test]
fn a_job_is_known_by_its_variable_its_projected_file_and_its_command() {
    let job = Job::new();
    let is_job = json!({ "kind": "ServiceAccount", "name": "ci.job" });
    let stranger = Client::stranger(&job.stage.mcpd.url());
    // GitLab: `id_tokens`.
    assert_eq!(job.subject(&stranger, &[("MCPCTL_TOKEN", &job.token)]), is_job);
    // GitHub: a file.
    assert_eq!(job.subject(&job.client, &[]), is_job);
    // Kubernetes: a projected volume, which is links. The file behind them is the pod's own.
    let volume = stranger.home().join("tokens");
    let projected = volume.join("..2026_11_22");
    fs::create_dir_all(&projected).unwrap();
    fs::write(projected.join("token"), &job.token).unwrap();
    fs::set_permissions(projected.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("..2026_11_22", volume.join("..data")).unwrap();
    symlink("..data/token", volume.join("token")).unwrap();
    let file = volume.join("..data/token");
    assert_eq!(job.subject(&stranger, &[("MCPCTL_TOKEN_FILE", file.to_str().unwrap())]), is_job);
    // And by a command, which is asked each time.
    let url = job.stage.mcpd.url();
    let set = ["config", "set-context", "in-cluster", "--server", &url, "--token-command", "/bin/cat"];
    stranger.cmd(set).arg(volume.join("token")).assert().code(0);
    let status = says("command").and(says("ci.job"));
    stranger.cmd(["auth", "status"]).env_remove("MCPCTL_SERVER").assert().code(0).stdout(status);
    let mut whoami = stranger.cmd(["auth", "whoami", "-o", "json"]);
    assert_eq!(job.told(whoami.env_remove("MCPCTL_SERVER")), is_job);
    fs::remove_dir_all(&volume).unwrap();
}

#[test]
fn a_failover_of_a_job_is_permitted_by_its_own_identity_and_ends_with_its_binding() {
    let job = Job::new();
    job.client.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    job.stage.upstream.stop();
    job.client.infer(&[]).code(0).stdout("Hello from the laptop.\n").stderr(says("failover:"));
    job.stage.mcpd.delete_binding("job-chat");
    let local = job.stage.local.bytes_received();
    job.client.infer(&[]).code(5).stdout("");
    assert_eq!(job.stage.local.bytes_received(), local, "the local provider was contacted");
}

#[test]
fn p07_an_identity_that_is_over_or_cannot_be_looked_at_opens_nothing() {
    let job = Job::new();
    // Nobody has shown a token yet, so that no key is known.
    job.issuer.stop();
    job.client.infer(&[]).code(6).stdout("").stderr(says("central answered 503"));
    job.issuer.resume();
    wait_until(LIMIT, "the issuer is asked again", || {
        job.client.cmd(["infer", "chat-prod", PROMPT]).output().unwrap().status.code() == Some(0)
    });
    let expired = Client::of(&job.stage.mcpd.url(), &job.issuer.token(json!({ "exp": 1 })));
    expired.failover("chat-prod", &job.stage.local.url());
    expired.infer(&[]).code(4).stdout("");
    job.stage.assert_local_untouched();
}

#[test]
fn p05_a_limit_of_the_server_is_no_outage_and_opens_nothing() {
    let stage = Stage::new();
    let limits = json!({ "limits": { "perToken": { "requestsPerMinute": 1 } } });
    let answer = stage.mcpd.api("PATCH", "/api/v1/llms/chat-prod", stage.mcpd.admin_token(), &limits);
    assert_eq!(answer.status, 200, "{}", answer.text());
    stage.dana.infer(&[]).code(0);
    stage.upstream.stop();
    stage.dana.infer(&[]).code(7).stdout("").stderr(says("429"));
    let (code, document) = stage.dana.infer_json(&[]);
    assert_eq!((code, document["attempts"].as_array().unwrap().len()), (7, 1));
    assert_logged(&stage.mcpd, "HEAD", 0);
    stage.assert_local_untouched();
}

#[test]
fn p20_a_report_of_a_job_is_delivered_by_a_job_of_the_same_name_only() {
    let mut job = Job::new();
    let others = Subject { kind: SubjectKind::ServiceAccount, name: "ci.other".parse().unwrap() };
    job.stage.mcpd.grant_to("other", others, &[("view", "llms", None), ("run", "llms", None)]);
    let gate = Gate::new();
    job.stage.upstream.stop();
    job.stage.local.set_fault(Fault::WaitAt(gate.clone()));
    let mut command = job.client.raw(["infer", "chat-prod", PROMPT]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    job.stage.local.wait_for_request(1, LIMIT);
    job.stage.mcpd.stop();
    gate.open();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    job.stage.local.set_fault(Fault::None);
    job.stage.mcpd.restart();
    let asks = |claims: Value| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), job.issuer.token(claims)).unwrap();
        let mut command = job.client.cmd(["infer", "chat-prod", PROMPT]);
        command.env("MCPCTL_TOKEN_FILE", file.path()).assert().code(0);
    };
    let names =
        || -> Vec<Value> { failovers(&job.stage).iter().map(|it| it["subject"]["name"].clone()).collect() };
    asks(json!({ "sub": "other" }));
    assert_eq!((names(), waiting(&job.client).len()), (vec![json!("ci.other")], 1), "the job's waits for it");
    job.stage.upstream.resume();
    asks(json!({ "jti": "the-next-run" }));
    assert_eq!((names(), waiting(&job.client).len()), (vec![json!("ci.other"), json!("ci.job")], 0));
}
