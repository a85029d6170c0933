//! The page about CI: what its jobs run is run here, by the shell and with the real programs.

use crate::support::{Client, Stage, says};
use fakes::{Evild, Fault, Issuer, Mcpd, Step, wire};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// The blocks of YAML of the page, each with the line that it must begin with.
fn yaml(begin: &str) -> Value {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.starts_with(begin)).expect(begin);
    serde_yaml::from_str(block.split("```").next().unwrap()).expect(begin)
}

/// What one step of a job of GitHub runs.
fn step<'a>(steps: &'a Value, name: &str) -> &'a str {
    let step = steps.as_array().unwrap().iter().find(|step| step["name"] == name);
    step.unwrap()["run"].as_str().unwrap()
}

/// Gives a script what the runner gives it, in an empty folder with the file for outputs.
fn on_a_runner(client: &Client, script: &str, env: &[(&str, &str)]) -> (Output, String) {
    let outputs = client.home().join("outputs");
    fs::write(&outputs, "").unwrap();
    let mut bash = client.bash(script);
    bash.env("GITHUB_OUTPUT", &outputs).env("GITHUB_ENV", &outputs).envs(env.iter().copied());
    (bash.output().unwrap(), fs::read_to_string(&outputs).unwrap())
}

/// Runners have `jq`; whoever runs the tests may not.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn has_jq() -> bool {
    let is_there = Path::new("/usr/bin/jq").exists() || Path::new("/bin/jq").exists();
    if !is_there {
        eprintln!("SKIPPED: a job of the page about CI needs jq");
    }
    is_there
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn the_job_for_github_labels_what_the_model_says_and_leaves_the_rest_to_people() {
    if !has_jq() {
        return;
    }
    let stage = Stage::new();
    let job = yaml("# .github/workflows/triage.yml");
    let script = step(&job["jobs"]["label"]["steps"], "Ask");
    // The job has no provider file; and the text of an issue is text, whatever it says.
    stage.dana.providers("providers: []");
    let ask = || {
        on_a_runner(
            &stage.dana,
            script,
            &[("TEXT", "It crashes $(touch owned) `touch owned` \"; touch owned")],
        )
    };
    stage.upstream.set_text("Bug.");
    let (output, outputs) = ask();
    assert_eq!((output.status.code(), &*outputs), (Some(0), "label=bug\n"), "{}", told(&output));
    stage.upstream.set_text("rm -rf / # label=owned");
    let (output, outputs) = ask();
    assert_eq!((output.status.code(), &*outputs), (Some(0), ""), "{}", told(&output));
    for fault in [Fault::CutAfter(1), Fault::Status(503, Value::Null)] {
        stage.upstream.set_fault(fault);
        let (output, outputs) = ask();
        assert_eq!((output.status.code(), &*outputs), (Some(0), ""), "{}", told(&output));
        assert!(told(&output).contains("::warning::no model could answer"), "{}", told(&output));
    }
    stage.mcpd.delete_binding("dana-chat");
    let (output, outputs) = ask();
    assert_eq!((output.status.code(), &*outputs), (Some(5), ""), "{}", told(&output));
    assert!(told(&output).contains("::error::you are not allowed to run"), "{}", told(&output));
    assert!(!stage.dana.home().join("owned").exists(), "the issue's text was run");
}

#[test]
fn the_jobs_for_gitlab_end_with_the_codes_that_they_go_by() {
    let stage = Stage::new();
    let jobs = yaml("# .gitlab-ci.yml");
    let home = stage.dana.home();
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(["-C", home.to_str().unwrap(), "-c", "user.name=d", "-c", "user.email=d@d"])
            .args(args)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", told(&done));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    fs::write(home.join("a.txt"), "one\n").unwrap();
    git(&["add", "a.txt"]);
    git(&["commit", "--quiet", "-m", "one"]);
    fs::write(home.join("a.txt"), "two\n").unwrap();
    git(&["commit", "--quiet", "-am", "two"]);
    let base = git(&["rev-parse", "HEAD~1"]);
    let summarise =
        || on_a_runner(&stage.dana, &lines(&jobs["summary"]), &[("CI_MERGE_REQUEST_DIFF_BASE_SHA", &base)]).0;
    assert_eq!(summarise().status.code(), Some(0));
    assert!(!fs::read_to_string(home.join("summary.md")).unwrap().is_empty());
    stage.dana.providers("providers: []");
    stage.upstream.set_fault(Fault::CutAfter(2));
    let code = summarise().status.code();
    assert_eq!(code, Some(8));
    for words in ["retry", "allow_failure"] {
        assert!(jobs["summary"][words]["exit_codes"].as_array().unwrap().contains(&code.into()), "{words}");
    }

    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let access = boss.home().join("access");
    fs::create_dir(&access).unwrap();
    fs::write(access.join("people.yaml"), "kind: User\nname: dana@example.com\n").unwrap();
    let drift = || on_a_runner(&boss, &lines(&jobs["access-drift"]), &[]).0.status.code();
    assert_eq!(drift(), Some(0));
    fs::write(access.join("more.yaml"), "kind: User\nname: erin@example.com\n").unwrap();
    assert_eq!(drift().map(Value::from), Some(jobs["access-drift"]["allow_failure"]["exit_codes"].clone()));
}

/// The lines of a job of GitLab, as its runner strings them together.
fn lines(job: &Value) -> String {
    job["script"].as_array().unwrap().iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

/// With a double for the CI system, whose identities are real ones.
#[test]
fn the_step_for_an_identity_leaves_it_in_a_private_file_that_mcpctl_takes() {
    if !has_jq() {
        return;
    }
    let issuer = Issuer::start();
    let settings = issuer.config_file(serde_json::json!({}));
    let mcpd = Mcpd::builder().env("MCPD_CONFIG", settings.to_str().unwrap()).start();
    let answer = serde_json::json!({ "value": issuer.token(serde_json::json!({})) }).to_string();
    let script = vec![
        Step::ReadRequest,
        Step::Send(wire::http(200, &[("content-type", "application/json")], &answer)),
        Step::Close,
    ];
    let system = Evild::start([script]);
    let steps = yaml("      - name: Identity for mcpd");
    let client = Client::stranger(&mcpd.url());
    let url = format!("{}/token?version=2", system.url());
    let env =
        [("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token"), ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str())];
    let (output, outputs) = on_a_runner(&client, step(&steps, "Identity for mcpd"), &env);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", told(&output));
    let request = &system.requests()[0];
    assert!(request.target.contains("version=2&audience=http"), "{}", request.target);
    let (name, file) = outputs.trim().split_once('=').unwrap();
    client.cmd(["auth", "whoami"]).env(name, file).assert().code(0).stdout(says("ci.job"));
}
