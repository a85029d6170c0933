//! The `llm` command, with mcpd as one more model of its `extra-openai-models.yaml`.

use super::{Ran, WORDS, refused, run};
use crate::cases::USES_CHAT;
use fakes::{Engine, Fault, LlamaServer, Mcpd, client, required, wire};
use std::fs;
use tempfile::TempDir;

struct Llm(TempDir);

impl Llm {
    /// Set up for one server. None if it is not on this machine.
    fn new(mcpd: &Mcpd) -> Option<Self> {
        let home = TempDir::new().unwrap();
        client("llm", home.path())?;
        let models = format!(
            "- model_id: chat\n  model_name: chat\n  api_base: {}/v1\n  api_key_name: mcpd\n  \
             supports_tools: true\n  supports_schema: true\n\
             - model_id: nope\n  model_name: nope\n  api_base: {0}/v1\n  api_key_name: mcpd\n",
            mcpd.url()
        );
        fs::write(home.path().join("extra-openai-models.yaml"), models).unwrap();
        Some(Self(home))
    }

    fn asks(&self, token: &str, args: &[&str]) -> Ran {
        // As `llm keys set mcpd` writes it.
        let keys = serde_json::json!({ "mcpd": token }).to_string();
        fs::write(self.0.path().join("keys.json"), keys).unwrap();
        let mut command = client("llm", self.0.path()).unwrap();
        run(command.env("LLM_USER_PATH", self.0.path()).args(["prompt", "--no-log"]).args(args).arg("hi"))
    }
}

#[test]
fn the_llm_command_works_unchanged_with_a_real_engine() {
    let Some(engine) = LlamaServer::start() else { return required("llama-server") };
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let Some(llm) = Llm::new(&mcpd) else { return required("llm") };
    let dana = mcpd.user_with("dana", USES_CHAT);
    for how in [&["-m", "chat"][..], &["-m", "chat", "--no-stream"], &["-m", "chat", "--async"]] {
        assert_eq!(llm.asks(&dana, how).well().trim(), WORDS, "{how:?}");
    }
    let schema = r#"{"type":"object","properties":{"answer":{"enum":["yes"]}},"required":["answer"],"additionalProperties":false}"#;
    let answer: serde_json::Value =
        serde_json::from_str(&llm.asks(&dana, &["-m", "chat", "--schema", schema]).well()).unwrap();
    assert_eq!(answer, serde_json::json!({"answer": "yes"}));
    let function = "def get_weather(city: str) -> str:\n    'The weather'\n    return 'rain in ' + city\n";
    let told = llm.asks(&dana, &["-m", "chat", "--functions", function, "--tools-debug"]);
    assert!(told.stderr.contains("rain in Oslo"), "{told:?}");
    assert_eq!(told.well().trim(), "It rains in Oslo, so take an umbrella!");
}

#[test]
fn the_llm_command_says_what_went_wrong() {
    let engine = Engine::start();
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let Some(llm) = Llm::new(&mcpd) else { return required("llm") };
    let fails = |token: &str, model: &str, words: &str| {
        let told = llm.asks(token, &["-m", model]);
        assert_eq!((told.code, told.stdout.trim()), (Some(1), ""), "{told:?}");
        assert!(told.stderr.contains(words), "{words:?} is not in {told:?}");
    };
    for (_, status, token) in refused(&mut mcpd) {
        fails(&token, "chat", &format!("{status}"));
    }
    let token = mcpd.admin_token();
    fails(token, "nope", "There is no such LLM.");
    engine.set_fault(Fault::Status(429, wire::error("slow down", 429)));
    fails(token, "chat", "no capacity left");
    engine.set_fault(Fault::CutAfter(3));
    let cut = llm.asks(token, &["-m", "chat"]);
    assert_eq!(cut.code, Some(1), "{cut:?}");
    assert!(cut.stdout.starts_with("The tiny model") && cut.stderr.contains("broke off"), "{cut:?}");
}
