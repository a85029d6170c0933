//! The provider file: what is accepted has unique names and one claim for each LLM, what is refused is told without
//! anything that a terminal would obey and without values that could be secret.

use mcpctl::{
    fuzzing::yaml,
    providers_file::{Kind, ProvidersFile},
    render,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub(crate) fn check(bytes: &[u8]) {
    same_keys(&String::from_utf8_lossy(bytes));
    let (path, home) = (Path::new("/people/ana/providers.yaml"), Path::new("/people/ana"));
    match ProvidersFile::read(path, bytes.to_vec(), Some(home)) {
        Ok(file) => accepted(&file, bytes),
        Err(mistakes) => {
            assert!(!mistakes.problems.is_empty(), "refused, and nobody knows why");
            let told = mistakes.rendered(Some(home), false);
            assert_eq!(told, render::escape_lines(&told), "a terminal would obey this");
            let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
            let lines = text.lines().count().max(1);
            for problem in &mistakes.problems {
                let (line, column) = (problem.place.line, problem.place.column);
                assert!((1..=lines + 1).contains(&line) && column >= 1, "{problem} of {lines} lines");
            }
            let _ = (mistakes.rendered(None, true), mistakes.to_string(), mistakes.advice());
        }
    }
}

/// What is looked at strictly, and what is taken afterwards, have the same keys: else something was not looked at.
fn same_keys(text: &str) {
    let Some((value, seen)) = yaml(text) else { return };
    let mut taken = BTreeSet::new();
    paths(&value, String::new(), &mut taken);
    // Nothing at all has no place.
    if !value.is_null() {
        assert_eq!(taken, seen, "the two parsers see different things in {text:?}");
    }
}

fn paths(value: &Value, path: String, into: &mut BTreeSet<String>) {
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        paths(item, format!("{path}[{place}]"), into);
    }
    for (key, item) in value.as_object().into_iter().flatten() {
        let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        paths(item, inside, into);
    }
    into.insert(path);
}

fn accepted(file: &ProvidersFile, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("accepted, and it is not UTF-8"));
    let (mut names, mut claims) = (BTreeSet::new(), BTreeMap::new());
    for provider in file.registry.providers() {
        let name = provider.name.as_str();
        assert!(names.insert(name), "two providers are named {name}");
        assert!(is_name(name), "{name:?} is no name");
        assert!(text.contains(name), "nobody wrote {name}");
        assert!(!provider.model.trim().is_empty(), "no model");
        for llm in &provider.failover_for {
            assert_eq!(claims.insert(llm.as_str(), name), None, "two claims for {llm}");
            assert!(text.contains(llm.as_str()), "nobody wrote {llm}");
            let stands_in = file.registry.stand_in_for(llm).map(|provider| provider.name.as_str());
            assert_eq!(stands_in, Some(name), "{llm} has another stand-in than the one that claims it");
            assert!(file.lines.contains_key(llm), "{llm} is claimed in no line");
        }
        kind(&provider.kind);
    }
    assert_eq!(file.registry.failovers().count(), claims.len(), "claims of nobody");
    assert_eq!(file.lines.len(), claims.len());
}

fn kind(kind: &Kind) {
    let (managed, program) = match kind {
        Kind::OpenAi(openai) => {
            let (url, host) = (&openai.url, openai.url.host_str().unwrap_or_default());
            assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty(), "{url}");
            assert!(url.password().is_none() && url.query().is_none() && url.fragment().is_none(), "{url}");
            let is_here = host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.");
            assert!(openai.remote || is_here || host == "[::1]", "{url} is not on this machine");
            return;
        }
        Kind::VllmManaged(vllm) => (&vllm.managed, &vllm.venv),
        Kind::LlamacppManaged(llamacpp) => (&llamacpp.managed, &llamacpp.binary),
    };
    assert!(program.as_ref().is_none_or(|program| program.is_absolute()), "{program:?}");
    assert!((0.0..=525_600.0).contains(&managed.idle_timeout_minutes), "{managed:?}");
    assert!((1..=86_400).contains(&managed.start_timeout_seconds), "{managed:?}");
    for argument in &managed.extra_args {
        assert!(!argument.is_empty() && !argument.contains(['\0', '\n', '\r']), "{argument:?}");
        let flag = argument.replace('_', "-");
        let of_ours = ["--host", "--port", "--model", "--api-key"];
        assert!(!of_ours.iter().any(|own| is_flag(&flag, own)), "{argument:?} is not theirs to set");
    }
    for name in managed.env.keys() {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && name != "LD_PRELOAD", "{name:?}");
    }
}

fn is_flag(argument: &str, flag: &str) -> bool {
    argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn is_name(text: &str) -> bool {
    let is_of_names = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    !text.is_empty() && text.len() <= 63 && text.chars().all(is_of_names) && !text.contains("..")
}
