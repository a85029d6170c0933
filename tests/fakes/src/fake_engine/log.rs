//! What real engines say while they load, as far as anybody reads it.

use super::command_line::Part;
use std::{
    io::{self, Write},
    process,
};

/// Writes a line to stderr. That nobody reads it is no reason to stop.
pub(super) fn say(line: &str) {
    let _nobody_reads = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes several.
pub(super) fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

/// The lines of a start up to the point where the model is loaded.
pub(super) fn stages(part: Part, model: &str, key: Option<&str>) -> Vec<String> {
    let key = key.map(|key| format!(", 'api_key': ['{key}']")).unwrap_or_default();
    let arguments = format!("non-default args: {{'model_tag': '{model}'{key}}}");
    match part {
        Part::Vllm => vec![
            api_server("[utils.py:1] version 0.32.0"),
            api_server(&format!("[utils.py:1] {arguments}")),
            api_server("[model.py:1] Resolved architecture: LlamaForCausalLM"),
            core("[core.py:1] Initializing a V1 LLM engine (v0.32.0) with config: "),
            core(&format!("[cpu_model_runner.py:1] Starting to load model {model}...")),
            "(EngineCore pid=2) \rLoading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00]".to_owned(),
            core("[default_loader.py:1] Loading weights took 0.1 seconds"),
            core("[kv_cache_utils.py:1] GPU KV cache size: 1 tokens"),
            core("[core.py:1] init engine (profile, create kv cache, warmup model) took 0.1 seconds"),
        ],
        Part::Llama => vec![
            "0.00.001.511 I srv  llama_server: initializing ...".to_owned(),
            format!("0.00.001.600 I srv  llama_server: {arguments}"),
            "0.00.010.998 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)".to_owned(),
            format!("0.00.013.672 I srv    load_model: loading model '{model}'"),
            "0.00.028.454 I cmn          init: llama threadpool init, n_threads = 2".to_owned(),
            "0.00.032.491 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 8192, kv_unified = 'true'".to_owned(),
        ],
    }
}

/// The lines when it listens.
pub(super) fn ready(part: Part, url: &str) -> Vec<String> {
    match part {
        Part::Vllm => vec![
            api_server(&format!("[api_server.py:1] Starting vLLM server on {url}")),
            "(APIServer pid=1) INFO:     Application startup complete.".to_owned(),
        ],
        Part::Llama => vec![
            "0.00.040.779 I srv  llama_server: model loaded".to_owned(),
            format!("0.00.040.792 I srv  llama_server: listening on {url}"),
        ],
    }
}

/// The lines with which it ends when it may not listen there.
pub(super) fn address_in_use(part: Part, url: &str) -> Vec<String> {
    match part {
        Part::Vllm => vec!["(APIServer pid=1) OSError: [Errno 98] Address already in use".to_owned()],
        Part::Llama => vec![
            format!("0.00.015.037 E srv         start: couldn't bind HTTP server socket, hostname: {url}"),
            "0.00.015.125 E srv  llama_server: exiting due to HTTP server error".to_owned(),
        ],
    }
}

/// A line of the part that the whole program has.
pub(super) fn plain(part: Part, text: &str) -> String {
    match part {
        Part::Vllm => api_server(&format!("[launcher.py:1] {text}")),
        Part::Llama => format!("0.00.050.000 I srv  llama_server: {text}"),
    }
}

fn api_server(text: &str) -> String {
    format!("(APIServer pid={}) INFO 11-22 09:00:00 {text}", process::id())
}

fn core(text: &str) -> String {
    format!("(EngineCore pid=2) INFO 11-22 09:00:00 {text}")
}
