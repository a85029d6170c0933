//! `--tools`: what the model may ask the caller to do, as the OpenAI API takes it. Nothing here runs a tool.

use super::question::structured;
use crate::cmd::Usage;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

/// As much of a tool as has to be right for a call of it to be understood. Everything passes through untouched.
#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

/// Reads a list of tools.
pub(super) fn load(path: &Path) -> anyhow::Result<Value> {
    let takes = "--tools takes a list of {type: function, function: {name, description, parameters}}";
    let list: Value = structured(path, takes)?;
    match check(&list) {
        Ok(()) => Ok(list),
        Err(why) => Err(Usage(format!("{}: {why} ({takes})", path.display())).into()),
    }
}

/// What servers refuse, or take without a word and cannot mean anything.
fn check(list: &Value) -> Result<(), String> {
    let list = list.as_array().ok_or("it is no list")?;
    if list.is_empty() {
        return Err("it holds no tool".into());
    }
    let mut names = BTreeSet::new();
    for (i, tool) in list.iter().enumerate() {
        let tool = Tool::deserialize(tool).map_err(|error| format!("tool {}: {error}", i + 1))?;
        let name = match (tool.kind.as_str(), tool.function) {
            ("function", Some(function)) => function.name,
            ("function", None) => return Err(format!("tool {}: missing field `function`", i + 1)),
            // Of another kind; the server knows.
            (_, _) => continue,
        };
        if !names.insert(name.clone()) {
            return Err(format!("tool {}: a function of the name \"{name}\" is there already", i + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tools_are_what_the_api_takes() {
        let weather = json!({ "type": "function", "function": { "name": "weather", "parameters": {} } });
        assert_eq!(check(&json!([weather, { "type": "web_search" }])), Ok(()));
        for (wrong, why) in [
            (json!({}), "it is no list"),
            (json!([]), "it holds no tool"),
            (json!([weather, weather]), "tool 2: a function of the name \"weather\" is there already"),
            (json!([{ "name": "weather" }]), "tool 1: missing field `type`"),
            (json!([{ "type": "function" }]), "tool 1: missing field `function`"),
            (json!([{ "type": "function", "function": {} }]), "tool 1: missing field `name`"),
        ] {
            assert_eq!(check(&wrong), Err(why.to_owned()), "{wrong}");
        }
    }
}
