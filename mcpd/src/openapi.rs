//! `GET /openapi.json`: the API described by itself, as `OpenAPI` 3.1, out of the types that it reads and writes.
//!
//! [`operations`] says what each route takes and gives; the tests hold it to the table of routes, and to what the server
//! really answers.

mod errors;
mod operations;
mod parameters;
mod schemas;

use axum::response::IntoResponse;
use http::{HeaderValue, header};
use operations::{Access, Operation, operations};
use schemas::Schemas;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The text of [`document`]: made once, since it is the same for everybody.
static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

/// Takes no token: it tells what the source tells.
pub(crate) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.as_str())
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for operation in operations() {
        let of_path = paths.entry(operation.path).or_insert_with(|| {
            let named = parameters::of_path(operation.path);
            if named.is_empty() { json!({}) } else { json!({ "parameters": named }) }
        });
        of_path[operation.method.to_ascii_lowercase()] = described(&operation, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mcpd",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A central LLM server: who may use which model, and the way to it.",
            "description": "Errors have one shape on every route, and say in `error.code` what is wrong and in \
                            `error.origin` who caused it. A caller without the right gets the same 403 whether or not \
                            the thing exists.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": operations::TAGS.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `mcpctl token create`, or a JWT of an issuer that the server is \
                                    configured to believe.",
                },
            },
            "headers": parameters::headers(),
            "responses": errors::responses(&mut schemas),
            "schemas": schemas.into_components(),
        },
    })
}

fn described(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    let (status, answer) = operation.answer.described(schemas);
    responses.insert(status, answer);
    for status in operation.errors() {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": responses,
        "security": match operation.access {
            Access::Anybody => json!([]),
            Access::Token => json!([{ "token": [] }]),
        },
    });
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(|parameter| parameter()).collect();
    }
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": (body.schema)(), "example": body.example } },
        });
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_api::ErrorCode;

    #[test]
    fn every_code_of_an_error_belongs_to_a_response() {
        let responses = document()["components"]["responses"].to_string();
        for code in ErrorCode::ALL {
            assert!(responses.contains(&format!("\"{code}\"")), "{code} is in no response");
        }
    }

    #[test]
    fn the_text_has_no_marks_of_its_source() {
        let text = document().to_string();
        for mark in ["[`", "](crate", "\"default\":null", "$defs"] {
            assert!(!text.contains(mark), "{mark} in {text}");
        }
    }
}
