//! What the file says, and where its errors point.

use super::*;

const GOOD: &str = "\
providers:
  - name: local-qwen
    type: vllm-managed
    failoverFor: qwen3-8b
    model: Qwen/Qwen3-8B
    venvPath: ~/vllm
    gpuMemoryUtilization: 0.75
    maxModelLen: 8192
    idleTimeoutMinutes: 0.5
    startTimeoutSeconds: 600
    port: 0
    env: { HF_HUB_OFFLINE: \"1\" }
    extraArgs: [\"--enforce-eager\"]
  - name: laptop
    type: llamacpp-managed
    failoverFor: [small-chat, tiny-chat]
    model: ~/models/qwen3-4b.gguf
    binaryPath: ~/llama/llama-server
    contextSize: 4096
  - name: lmstudio
    type: openai
    url: http://127.0.0.1:1234/v1
    model: qwen3-8b
    apiKeyEnv: LMSTUDIO_KEY
";

fn home() -> &'static Path {
    Path::new("/home/dana")
}

fn problem(text: &str) -> (usize, usize, String) {
    let problems = parse(text, Some(home())).expect_err(text);
    let first = &problems[0];
    (first.place.line, first.place.column, format!("{} | {}", first.message, first.label))
}

fn entry(lines: &str) -> String {
    format!("providers:\n  - name: a\n    type: openai\n    model: m\n{lines}")
}

#[test]
fn the_example_of_the_documentation_is_understood() {
    let (registry, lines) = parse(GOOD, Some(home())).unwrap();
    let names: Vec<_> = registry.failovers().map(|(llm, p)| format!("{llm}={}", p.name)).collect();
    assert_eq!(names, ["qwen3-8b=local-qwen", "small-chat=laptop", "tiny-chat=laptop"]);
    assert_eq!(lines.values().copied().collect::<Vec<_>>(), [4, 16, 16]);
    let Kind::VllmManaged(vllm) = &registry.provider("local-qwen").unwrap().kind else { panic!() };
    assert_eq!(vllm.venv.as_deref(), Some(Path::new("/home/dana/vllm")));
    assert_eq!((vllm.managed.idle_timeout_minutes, vllm.managed.port), (0.5, Some(0)));
}

#[test]
fn json_is_yaml() {
    let json = r#"{"providers":[{"name":"a","type":"openai","url":"http://localhost:1/v1","model":"m","failoverFor":["x"]}]}"#;
    assert_eq!(parse(json, None).unwrap().0.failovers().count(), 1);
}

#[test]
fn c02_a_key_in_the_wrong_case_is_found_with_its_place_and_the_right_one() {
    let text = entry("    failoverfor: x\n    url: http://127.0.0.1:1/v1\n");
    assert_eq!(problem(&text), (5, 5, "unknown field `failoverfor` | did you mean `failoverFor`?".into()));
}

#[test]
fn p21_two_claims_of_one_llm_name_both_lines() {
    let text = entry("    failoverFor: x\n    url: http://127.0.0.1:1/v1\n")
        + "  - name: b\n    type: openai\n    model: m\n    url: http://127.0.0.1:2/v1\n    failoverFor: [y, x]\n";
    let (line, column, message) = problem(&text);
    assert_eq!((line, column), (11, 22));
    assert!(
        message.contains("\"x\" has the failover \"a\" already") && message.contains("line 5"),
        "{message}"
    );
}

#[test]
fn wrong_values_point_at_themselves() {
    for (lines, line, column, part) in [
        ("    url: http://10.0.0.1:1/v1\n", 5, 10, "not on this machine | prompts would leave it"),
        ("    url: ftp://127.0.0.1/\n", 5, 10, "http:// or https://"),
        ("    url: http://u:p@127.0.0.1/\n", 5, 10, "must not hold a password"),
        ("    url: http://127.0.0.1/v1\n    failoverFor: Chat\n", 6, 18, "starts with a lower-case letter"),
        (
            "    url: http://127.0.0.1/v1\n    venvPath: /x\n",
            6,
            5,
            "does not go with type openai | it is for vllm-managed",
        ),
        ("    url: http://127.0.0.1/v1\n    apiKeyEnv: sk-canary-1\n", 6, 16, "never the key itself"),
        ("    url: http://127.0.0.1/v1\n    apiKeyFile: keys/x\n", 6, 17, "absolute path"),
        ("    remote: maybe\n", 5, 13, "invalid type"),
        ("", 2, 5, "needs `url`"),
    ] {
        let (found_line, found_column, message) = problem(&entry(lines));
        assert_eq!((found_line, found_column), (line, column), "{lines}: {message}");
        assert!(message.contains(part), "{message}");
        assert!(!message.contains("canary"), "{message}");
    }
}

#[test]
fn an_unknown_type_suggests_the_nearest() {
    let text = GOOD.replace("type: vllm-managed", "type: vllm");
    assert_eq!(problem(&text).2, "unknown type `vllm` | did you mean `vllm-managed`?");
}

#[test]
fn several_problems_are_told_at_once() {
    let text = GOOD.replace("0.75", "7.5").replace("model: qwen3-8b", "model: ''");
    assert_eq!(parse(&text, Some(home())).unwrap_err().len(), 2);
}

#[test]
fn unregistering_a_provider_of_a_file_removes_its_failovers() {
    let (mut registry, _) = parse(GOOD, Some(home())).unwrap();
    registry.unregister("laptop").unwrap();
    assert_eq!(registry.failovers().map(|(llm, _)| llm.as_str()).collect::<Vec<_>>(), ["qwen3-8b"]);
}
