//! JSON Schemas (draft 2020-12) of what `-o json` prints, made from the types themselves. They are shipped as
//! `schemas/KIND.json`.

use crate::{
    cmd::documents,
    render::{Document, Item},
};
use mcp_api::document::API_VERSION;
use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

/// The schema of every document, by its `kind`.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    documents()
}

/// The schema of a document.
pub(crate) fn one<D: Document>() -> (&'static str, Schema) {
    (D::KIND, with_kind(D::KIND, schema_of::<D>()))
}

/// The schema of a list.
pub(crate) fn list<I: Item>() -> (&'static str, Schema) {
    (I::LIST, with_kind(I::LIST, schema_of::<ListOf<I>>()))
}

/// All that there is.
#[derive(schemars::JsonSchema)]
struct ListOf<I> {
    /// One after the other.
    #[expect(dead_code, reason = "only its schema is used")]
    items: Vec<I>,
}

fn schema_of<T: schemars::JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// Every document says which version of this API it is, and what it is.
fn with_kind(kind: &str, mut schema: Schema) -> Schema {
    schema.insert("title".into(), kind.into());
    let object = schema.ensure_object();
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.insert("apiVersion".into(), json!({ "const": API_VERSION }));
        properties.insert("kind".into(), json!({ "const": kind }));
    }
    if let Value::Array(required) = object.entry("required").or_insert_with(|| json!([])) {
        required.extend([json!("apiVersion"), json!("kind")]);
    }
    schema
}
