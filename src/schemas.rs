//! JSON Schemas (draft 2020-12) of what `-o json` prints, made from the types themselves, and of the files that people
//! write. They are shipped as `schemas/KIND.json` and `schemas/FILE.json`.

use crate::{
    cmd,
    config::Config,
    documents::Written,
    providers_file,
    render::{Document, Item},
};
use mcp_api::{
    Kind, Rbac,
    document::{API_VERSION, GroupSpec, Named},
};
use schemars::{
    JsonSchema, Schema,
    consts::meta_schemas::DRAFT2020_12 as META_SCHEMA,
    generate::SchemaSettings,
    json_schema,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::{Value, json};

/// The schema of every document, by its `kind`.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    [cmd::documents(), described()].concat()
}

/// The schema of every file that people write, by the name of the file.
#[must_use]
pub fn files() -> Vec<(&'static str, Schema)> {
    let mut files = vec![("providers", providers_file::schema()), ("config-file", config_file())];
    for (_, schema) in &mut files {
        RecursiveTransform(without_breaks).transform(schema);
    }
    files
}

fn config_file() -> Schema {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Config>();
    schema.insert("title".into(), "The config file of mcpctl".into());
    schema
}

/// The schemas of what administrators describe, as `get` shows it and `apply` takes it. Of LLMs there is more to show.
fn described() -> Vec<(&'static str, Schema)> {
    let of = |kind: Kind, schema| (kind.as_str(), with_kind(kind.as_str(), schema));
    vec![
        of(Kind::User, schema_of::<Named>()),
        of(Kind::ServiceAccount, schema_of::<Named>()),
        of(Kind::Group, schema_of::<GroupSpec>()),
        of(Kind::Rbac, schema_of::<Rbac>()),
        list::<Written<'static>>(),
    ]
}

/// The schema of a document.
pub(crate) fn one<D: Document>() -> (&'static str, Schema) {
    (D::KIND, with_kind(D::KIND, schema_of::<D>()))
}

/// The schema of a list.
pub(crate) fn list<I: Item>() -> (&'static str, Schema) {
    (I::LIST, with_kind(I::LIST, schema_of::<ListOf<I>>()))
}

/// What was asked for, one after the other.
#[derive(JsonSchema)]
struct ListOf<I> {
    /// The items; there may be none.
    #[expect(dead_code, reason = "only its schema is used")]
    items: Vec<I>,
}

fn schema_of<T: JsonSchema>() -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(open).transform(&mut schema);
    RecursiveTransform(without_breaks).transform(&mut schema);
    schema
}

/// Later versions may add fields to what is printed; a schema that refuses them would break with each.
fn open(schema: &mut Schema) {
    if schema.get("additionalProperties") == Some(&json!(false)) {
        schema.remove("additionalProperties");
    }
}

/// Where a line of a comment ends in the source is no concern of its readers.
fn without_breaks(schema: &mut Schema) {
    if let Some(Value::String(meaning)) = schema.get_mut("description") {
        *meaning = meaning.replace("\n\n", "\u{b6}").replace('\n', " ").replace('\u{b6}', "\n\n");
    }
}

/// Every document says first which version of this API it is, and what it is.
fn with_kind(kind: &str, mut own: Schema) -> Schema {
    own.insert("title".into(), kind.into());
    let mut whole = json_schema!({
        "$schema": META_SCHEMA,
        "title": kind,
        "description": "",
        "type": "object",
        "properties": { "apiVersion": { "const": API_VERSION }, "kind": { "const": kind } },
        "required": ["apiVersion", "kind"],
    });
    for (word, own) in std::mem::take(own.ensure_object()) {
        match (whole.get_mut(&word), own) {
            (Some(Value::Object(both)), Value::Object(own)) => both.extend(own),
            (Some(Value::Array(both)), Value::Array(own)) => both.extend(own),
            (_, own) => drop(whole.insert(word, own)),
        }
    }
    whole
}
