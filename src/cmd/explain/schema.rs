//! A JSON schema, looked at as a person would: kinds, fields, and words with meanings.

use mcp_api::Kind;
use serde_json::Value;

/// One place in the schema of all documents.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    root: &'a Value,
    /// As it stands where it is used: its own meaning and default.
    here: &'a Value,
    /// What it refers to.
    target: &'a Value,
    pub(super) is_required: bool,
}

static NOTHING: Value = Value::Null;

impl<'a> Node<'a> {
    /// The documents of one kind.
    pub(super) fn of_kind(root: &'a Value, kind: Kind) -> Self {
        let is_it = |node: &&Value| node["properties"]["kind"]["const"] == kind.as_str();
        let here = list(&root["oneOf"]).iter().find(is_it).unwrap_or(&NOTHING);
        Self { root, here, target: here, is_required: true }
    }

    fn new(root: &'a Value, here: &'a Value, is_required: bool) -> Self {
        // What may be left out is "this or null".
        let inner = list(&here["anyOf"]).iter().find(|one| one["type"] != "null").unwrap_or(here);
        let name = inner["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        let target = name.map_or(inner, |name| &root["$defs"][name]);
        Self { root, here, target, is_required }
    }

    /// What it means. Where it is used that is more than what it refers to says of itself.
    pub(super) fn meaning(&self) -> String {
        let of = |node: &Value| node["description"].as_str().map(str::to_owned);
        of(self.here).or_else(|| of(self.target)).unwrap_or_default()
    }

    /// The fields, in their order; of a list those of its items.
    pub(super) fn fields(&self) -> Vec<(&'a str, Self)> {
        if self.target["items"].is_object() {
            return Self::new(self.root, &self.target["items"], true).fields();
        }
        // A choice between mappings has the fields of all of them.
        let choices = list(&self.target["oneOf"]).iter().filter(|one| one["properties"].is_object());
        let one_of: Vec<_> = choices.flat_map(|choice| self.fields_of(choice, Some(choice))).collect();
        if one_of.is_empty() { self.fields_of(self.target, None) } else { one_of }
    }

    fn fields_of(&self, node: &'a Value, meaning: Option<&'a Value>) -> Vec<(&'a str, Self)> {
        let required = list(&node["required"]);
        let all = node["properties"].as_object().into_iter().flatten();
        let own = all.filter(|(name, value)| *name != "kind" || value["const"].is_null());
        let field = |(name, value): (&'a String, &'a Value)| {
            let is_required = meaning.is_none() && required.iter().any(|it| it == name);
            let mut field = Self::new(self.root, value, is_required);
            // The meaning of a choice stands beside its one field.
            field.here = meaning.unwrap_or(field.here);
            (name.as_str(), field)
        };
        own.map(field).collect()
    }

    /// One of its fields.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        self.fields().into_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// The words that it can be, with what each means.
    pub(super) fn words(&self) -> Vec<(&'a str, String)> {
        let word = |one: &'a Value| {
            Some((one["const"].as_str()?, one["description"].as_str().unwrap_or_default().to_owned()))
        };
        list(&self.target["oneOf"]).iter().filter_map(word).collect()
    }

    /// What a text must look like.
    pub(super) fn pattern(&self) -> Option<&'a str> {
        self.target["pattern"].as_str()
    }

    /// What it is if it is left out.
    pub(super) fn default(&self) -> Option<&'a Value> {
        self.here.get("default").filter(|value| !value.is_null() && **value != Value::Array(Vec::new()))
    }

    /// What is to be written there; none for a document as a whole.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        if !self.words().is_empty() {
            return Some("a word");
        }
        if !list(&self.target["oneOf"]).is_empty() {
            return Some("a mapping with one field");
        }
        let name = match &self.target["type"] {
            Value::Array(names) => names.first().and_then(Value::as_str),
            name => name.as_str(),
        };
        match name? {
            "string" => Some("text"),
            "integer" | "number" => Some("a number"),
            "boolean" => Some("true or false"),
            "array" => Some("a list"),
            "object" if self.target["additionalProperties"].is_object() => Some("a mapping of texts"),
            "object" if std::ptr::eq(self.here, self.target) => None,
            "object" => Some("a mapping"),
            _ => None,
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
