//! Schemas of the wire types. What is read is closed and stands where it is used; what is written may grow, and stands
//! among the components under its name.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::{Map, Value};

/// Collects the schemas of what is written.
#[derive(Debug)]
pub(super) struct Schemas(SchemaGenerator);

impl Default for Schemas {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        Self(settings.with(|it| it.definitions_path = "/components/schemas".into()).into_generator())
    }
}

impl Schemas {
    /// What points at the schema of a type.
    pub(super) fn of<T: JsonSchema>(&mut self) -> Value {
        let mut schema = self.0.subschema_for::<T>();
        tidy(&mut schema);
        schema.to_value()
    }

    /// All that was pointed at.
    pub(super) fn into_components(mut self) -> Map<String, Value> {
        let mut all = self.0.take_definitions(true);
        for schema in all.values_mut() {
            if let Ok(schema) = <&mut Schema>::try_from(schema) {
                RecursiveTransform(open).transform(schema);
                tidy(schema);
            }
        }
        all
    }
}

/// The whole schema of a type that is read.
pub(super) fn read<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|it| {
        it.inline_subschemas = true;
        it.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    tidy(&mut schema);
    schema.to_value()
}

/// Later versions may add fields to what is written; a schema that refuses them would break with each.
fn open(schema: &mut Schema) {
    for word in ["additionalProperties", "unevaluatedProperties"] {
        if schema.get(word) == Some(&Value::Bool(false)) {
            schema.remove(word);
        }
    }
}

fn tidy(schema: &mut Schema) {
    RecursiveTransform(in_plain_words).transform(schema);
}

/// Says how large a number may be, where only its type says so.
///
/// Comments are written for readers of the source: links to it, and breaks of its lines, mean nothing elsewhere.
fn in_plain_words(schema: &mut Schema) {
    let most = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint64") => Some(u64::MAX),
        _ => None,
    };
    if let Some(most) = most.filter(|_| schema.get("maximum").is_none()) {
        schema.insert("maximum".into(), most.into());
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace("\n\n", "\u{b6}").replace('\n', " ").replace('\u{b6}', "\n\n");
        while let Some((before, rest)) = text.split_once("[`") {
            let Some((name, after)) = rest.split_once("`]") else { break };
            let name = name.rsplit("::").next().unwrap_or(name);
            let after = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
                Some((_, after)) => after,
                None => after,
            };
            *text = format!("{before}`{name}`{after}");
        }
    }
}
