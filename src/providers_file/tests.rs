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
    assert_eq!(registry.provider("local-qwen").unwrap().model, "Qwen/Qwen3-8B");
    assert_eq!(registry.provider("laptop").unwrap().model, "/home/dana/models/qwen3-4b.gguf");
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
        ("    remote: maybe\n", 5, 13, "expected true or false"),
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

fn managed(kind: &str, model: &str, lines: &str) -> String {
    format!("providers:\n  - name: a\n    type: {kind}\n    model: {model}\n{lines}")
}

fn vllm(lines: &str) -> String {
    managed("vllm-managed", "Qwen/Qwen3-8B", lines)
}

fn llamacpp(lines: &str) -> String {
    managed("llamacpp-managed", "/m.gguf", lines)
}

fn model_of(text: &str, home: Option<&Path>) -> Option<String> {
    parse(text, home).ok().map(|(registry, _)| registry.provider("a").unwrap().model.clone())
}

#[test]
fn a_model_of_vllm_is_an_id_or_a_folder() {
    let model = |model| model_of(&managed("vllm-managed", model, ""), Some(home()));
    for id in ["Qwen/Qwen3-8B", "gpt2", "org_1/Name.v1-GGUF", "unsloth/Qwen3-0.6B-GGUF:Q4_K_M", "a/b:c.d"] {
        assert_eq!(model(id).as_deref(), Some(id));
    }
    assert_eq!(model("~/m").as_deref(), Some("/home/dana/m"));
    assert_eq!(model("/srv/m with spaces").as_deref(), Some("/srv/m with spaces"));
    for wrong in [
        "./m",
        "../m",
        ".",
        "..",
        "m/",
        "a//b",
        "a/b/c",
        "a/..",
        "a..b/c",
        "-m/x",
        "--host",
        "a/-b",
        ".a/b",
        "~dana/m",
        "a b",
        "'a/b:'",
        "a:b:c",
        "a:b/c",
        "s3://x/y",
        "ä/b",
        "\"/a\\nb\"",
        "\"a\\0b\"",
        "$HOME/m",
        "'`id`'",
    ] {
        let text = managed("vllm-managed", wrong, "");
        let (line, column, message) = problem(&text);
        assert_eq!((line, column), (4, 12), "{wrong}: {message}");
        assert!(message.contains("~/"), "{wrong}: {message}");
    }
    assert_eq!(model_of(&managed("vllm-managed", "~/m", ""), None), None);
}

#[test]
fn a_model_of_llamacpp_is_a_file_with_its_whole_path() {
    for wrong in ["Qwen/Qwen3-8B", "m.gguf", "./m.gguf", "-m", "~dana/m.gguf", "\"/m\\0.gguf\""] {
        let (line, column, message) = problem(&managed("llamacpp-managed", wrong, ""));
        assert_eq!((line, column), (4, 12), "{wrong}");
        assert!(message.contains("absolute path"), "{message}");
    }
    assert_eq!(model_of(&llamacpp(""), None).as_deref(), Some("/m.gguf"));
}

#[test]
fn a_model_of_an_endpoint_is_whatever_the_endpoint_calls_it() {
    for model in ["qwen3:8b", "./x", "~/x", "a/b/c"] {
        let text = managed("openai", model, "    url: http://127.0.0.1:1/v1\n");
        assert_eq!(model_of(&text, Some(home())).as_deref(), Some(model));
    }
}

#[test]
fn wrong_numbers_of_managed_entries_point_at_themselves() {
    for (lines, column) in [
        ("    idleTimeoutMinutes: -0.1\n", 25),
        ("    idleTimeoutMinutes: 525601\n", 25),
        ("    idleTimeoutMinutes: .nan\n", 25),
        ("    idleTimeoutMinutes: .inf\n", 25),
        ("    startTimeoutSeconds: 0\n", 26),
        ("    startTimeoutSeconds: 86401\n", 26),
        ("    maxModelLen: 0\n", 18),
    ] {
        let (line, found, message) = problem(&vllm(lines));
        assert_eq!((line, found), (5, column), "{lines}: {message}");
    }
    assert_eq!(problem(&llamacpp("    contextSize: 0\n")).1, 18);
    for lines in [
        "    idleTimeoutMinutes: 525600\n",
        "    idleTimeoutMinutes: 0\n",
        "    startTimeoutSeconds: 86400\n",
    ] {
        parse(&vllm(lines), None).expect(lines);
    }
}

#[test]
fn an_argument_that_the_engine_would_misread_points_at_itself() {
    for (arguments, column, part) in [
        (r#"[""]"#, 17, "must not be empty"),
        (r#"["--x", ""]"#, 24, "must not be empty"),
        (r#"["--x", "x\ny"]"#, 24, "one line"),
        (r#"["--x", "x\0y"]"#, 24, "one line"),
        (r#"["8192"]"#, 17, "the first argument is a flag"),
        (r#"["--x", "--max-model-len 4096"]"#, 24, "write it as two entries"),
        (r#"["--x", "--max-model-len 4096=x"]"#, 24, "write it as two entries"),
        (r#"["--", "x"]"#, 17, "ends all flags"),
    ] {
        let (line, found, message) = problem(&vllm(&format!("    extraArgs: {arguments}\n")));
        assert_eq!((line, found), (5, column), "{arguments}: {message}");
        assert!(message.contains(part), "{arguments}: {message}");
    }
    for fine in [
        r#"["--max-model-len", "4096"]"#,
        r#"["--max-model-len=4096", "-tp", "2", "--model-impl", "auto"]"#,
        r#"["--hf-overrides={\"a\": \"b c\"}", "--chat-template", "{{ a }} b"]"#,
    ] {
        parse(&vllm(&format!("    extraArgs: {fine}\n")), None).expect(fine);
    }
    parse(&llamacpp("    extraArgs: [\"-ngl\", \"99\", \"-c=1\"]\n"), None).unwrap();
}

#[test]
fn flags_that_mcpctl_sets_are_refused_in_every_spelling() {
    let refused = |text: String, flag: &str| {
        let message = problem(&text).2;
        assert!(message.starts_with(&format!("mcpctl sets `{flag}` itself | ")), "{message}");
        assert!(!message.contains("canary"), "{message}");
    };
    for flag in ["--host", "--port", "--uds", "--served-model-name", "--api-key", "--model"] {
        for spelling in [
            format!("[{flag}]"),
            format!("[{flag}, canary]"),
            format!("[--x, {flag}=canary]"),
            format!("[--x, \"{flag} canary\"]"),
            format!("[{}]", &flag[..flag.len() - 1]),
        ] {
            refused(vllm(&format!("    extraArgs: {spelling}\n")), flag);
        }
    }
    refused(vllm("    extraArgs: [--served_model_name=canary]\n"), "--served-model-name");
    for flag in ["--host", "--port", "--alias", "-a", "--api-key", "--api-key-file", "--model", "-m"] {
        refused(llamacpp(&format!("    extraArgs: [{flag}, canary]\n")), flag);
        refused(llamacpp(&format!("    extraArgs: [{flag}=canary]\n")), flag);
    }
}

#[test]
fn e09_a_variable_that_changes_which_code_runs_is_refused_at_its_name() {
    for name in ["LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT"] {
        let (line, column, message) = problem(&vllm(&format!("    env: {{ A: b, {name}: /evil.so }}\n")));
        assert_eq!((line, column), (5, 18));
        assert!(message.contains(&format!("`{name}` changes which code")), "{message}");
        problem(&llamacpp(&format!("    env:\n      {name}: ''\n")));
    }
    for name in ["VLLM_API_KEY", "LLAMA_API_KEY", "MCPCTL_TOKEN", "MCPCTL_"] {
        let (line, column, message) = problem(&vllm(&format!("    env:\n      {name}: canary\n")));
        assert_eq!((line, column), (6, 7), "{message}");
        assert!(message.contains("mcpctl") && !message.contains("canary"), "{message}");
    }
    for env in ["{ A-B: c }", "{ 'A=B': c }", "{ 1: c }", "{ '': c }", "{ A: \"b\\0c\" }"] {
        let (line, _, message) = problem(&vllm(&format!("    env: {env}\n")));
        assert_eq!(line, 5, "{env}: {message}");
    }
    parse(&vllm("    env: { HF_HUB_OFFLINE: \"1\", LD_LIBRARY_PATH: /cuda, _x: '' }\n"), None).unwrap();
}

#[test]
fn e09_shell_metacharacters_stay_characters() {
    let lines = "    env: { A: \"$(touch /x); `id`\" }\n    extraArgs: [\"--chat-template\", \"$(id) | sh; rm -rf ~ && *\"]\n";
    let (registry, _) = parse(&vllm(lines), Some(home())).unwrap();
    let Kind::VllmManaged(vllm) = &registry.provider("a").unwrap().kind else { panic!() };
    assert_eq!(vllm.managed.extra_args[1], "$(id) | sh; rm -rf ~ && *");
    assert_eq!(vllm.managed.env["A"], "$(touch /x); `id`");
    let text = managed("llamacpp-managed", "'/m/$(id); x.gguf'", "");
    assert_eq!(model_of(&text, None).as_deref(), Some("/m/$(id); x.gguf"));
}

#[test]
fn e09_a_program_or_folder_that_depends_on_where_one_stands_is_refused() {
    for path in ["vllm", "./vllm", "../vllm", "bin/llama-server", "~dana/x", "$HOME/x", "\"/x\\0y\"", "''"] {
        for (text, column) in [
            (vllm(&format!("    venvPath: {path}\n")), 15),
            (llamacpp(&format!("    binaryPath: {path}\n")), 17),
        ] {
            let (line, found, message) = problem(&text);
            assert_eq!((line, found), (5, column), "{path}: {message}");
            assert!(message.contains("absolute path"), "{message}");
        }
    }
}

#[test]
fn a_model_that_no_report_could_carry_is_refused() {
    let of = |model: &str| {
        format!(
            "providers:\n  - name: a\n    type: openai\n    url: http://127.0.0.1:1/v1\n    model: {model}\n"
        )
    };
    assert!(parse(&of(&"m".repeat(2048)), Some(home())).is_ok());
    let (line, _, message) = problem(&of(&"m".repeat(2049)));
    assert_eq!((line, message.as_str()), (5, "a model must not be longer than 2048 bytes | "));
}
