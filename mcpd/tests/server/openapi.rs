//! `/openapi.json`: it is there for everybody, has every route and nothing else, and is the one that is kept in `docs/`.

use fakes::Mcpd;
use mcp_api::{ErrorCode, paths};
use mcpd::routes::ROUTES;
use serde_json::Value;
use std::{collections::BTreeSet, env, fs, path::Path};

fn document(mcpd: &Mcpd) -> (String, Value) {
    let answer = mcpd.request("GET", paths::OPENAPI, None, &[], b"").expect_success("the document");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.text(), answer.json())
}

#[test]
fn the_document_has_every_route_and_nothing_else() {
    let (_, document) = document(&Mcpd::start());
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().unwrap().keys().filter(|method| *method != "parameters");
            methods.map(|method| (method.to_ascii_uppercase(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let routed: BTreeSet<(String, String)> = ROUTES
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(|method| ((*method).to_owned(), (*path).to_owned())))
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn every_operation_says_whom_it_is_for_and_what_goes_wrong() {
    let (_, document) = document(&Mcpd::start());
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in
            operations.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
        {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what}: its id is taken");
            let needs_token = operation["security"] != Value::Array(vec![]);
            assert_eq!(operation["responses"].get("401").is_some(), needs_token, "{what}");
            assert_eq!(
                operation["responses"].get("415").is_some(),
                operation.get("requestBody").is_some(),
                "{what}"
            );
            let body = &operation["requestBody"]["content"]["application/json"];
            assert_eq!(
                operation.get("requestBody").is_some(),
                !body["example"].is_null(),
                "{what}: an example"
            );
            for error in ["400", "500", "503"] {
                let response = &operation["responses"][error]["$ref"];
                assert_eq!(*response, format!("#/components/responses/{error}"), "{what}");
            }
        }
    }
    let codes = document["components"]["schemas"]["ErrorCode"].to_string();
    for code in ErrorCode::ALL {
        assert!(codes.contains(&format!("\"{code}\"")), "{code}");
    }
}

/// Where a reference leads that leads nowhere.
fn lost(document: &Value, node: &Value, found: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref")
                && document.pointer(to.trim_start_matches('#')).is_none()
            {
                found.push(to.clone());
            }
            fields.values().for_each(|field| lost(document, field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| lost(document, item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_nothing_stands_unused() {
    let (text, document) = document(&Mcpd::start());
    let mut found = Vec::new();
    lost(&document, &document, &mut found);
    assert!(found.is_empty(), "{found:?}");
    for part in ["schemas", "headers"] {
        for name in document["components"][part].as_object().unwrap().keys() {
            assert!(text.contains(&format!("#/components/{part}/{name}\"")), "{part}/{name} is used nowhere");
        }
    }
}

/// `SNAPSHOTS=overwrite cargo test -p mcpd --test server openapi::` writes it anew.
#[test]
fn the_document_that_is_kept_is_the_one_that_is_served() {
    let (served, _) = document(&Mcpd::start());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if env::var("SNAPSHOTS").is_ok_and(|what| what == "overwrite") {
        fs::write(&kept, &served).unwrap();
    }
    assert!(
        fs::read_to_string(&kept).unwrap() == served,
        "docs/openapi.json is another one: read how to renew it"
    );
}
