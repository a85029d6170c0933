//! Documents of administration: from text to checked values with their places, and back. Nothing here does I/O.

use crate::{
    render,
    yaml::{self, Mistakes, Problem},
};
use mcp_api::{Document, Kind, LlmKey, NameError, SubjectKind, SubjectName, document::API_VERSION, paths};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::HashMap, fmt};

/// Where a document begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    file: String,
    line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A document, and where it stands.
#[derive(Debug, Clone)]
pub struct Described {
    /// What it says.
    pub document: Document,
    /// Where.
    pub source: Source,
}

/// What one document is about, and what the server is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An LLM, by name or id.
    Llm(LlmKey),
    /// A role binding.
    Rbac(SubjectName),
    /// A user, a service account or a group.
    Subject(SubjectKind, SubjectName),
}

impl Key {
    /// Checks a name that somebody typed.
    pub fn new(kind: Kind, name: &str) -> Result<Self, NameError> {
        match kind.subject() {
            Some(kind) => Ok(Self::Subject(kind, name.parse()?)),
            None if kind == Kind::Llm => Ok(Self::Llm(name.parse()?)),
            None => Ok(Self::Rbac(name.parse()?)),
        }
    }

    /// What a document is about.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        match document {
            Document::Llm(spec) => Self::Llm(LlmKey::Name(spec.name.clone())),
            Document::Rbac(rbac) => Self::Rbac(rbac.name.clone()),
            Document::User(named) => Self::Subject(SubjectKind::User, named.name.clone()),
            Document::ServiceAccount(named) => Self::Subject(SubjectKind::ServiceAccount, named.name.clone()),
            Document::Group(group) => Self::Subject(SubjectKind::Group, group.name.clone()),
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Llm(_) => Kind::Llm,
            Self::Rbac(_) => Kind::Rbac,
            Self::Subject(kind, _) => Kind::from(*kind),
        }
    }

    /// The name, or an id that stands for one.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Llm(key) => key.as_str(),
            Self::Rbac(name) | Self::Subject(_, name) => name.as_str(),
        }
    }

    /// The path of it at the server.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Llm(key) => paths::llm(key),
            Self::Rbac(name) => paths::rbac(name),
            Self::Subject(kind, name) => paths::subject(*kind, name),
        }
    }
}

/// `llm/chat-prod`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind().word(), self.name())
    }
}

/// Reads all documents of one text, or says what is wrong with all of them.
pub fn read(file: &str, text: &str) -> Result<Vec<Described>, Mistakes> {
    let text = yaml::without_mark(text);
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (lines_before, part) in yaml::documents(text) {
        match document(part) {
            Ok((document, line)) => {
                let source = Source { file: file.to_owned(), line: line + lines_before };
                found.push(Described { document, source });
            }
            Err(wrong) => problems.extend(wrong.into_iter().map(|mut problem| {
                problem.place.line += lines_before;
                problem
            })),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Mistakes::new(file, text, problems)) }
}

/// Puts documents in an order in which they can be made, whatever the order of their files; within a kind it stays.
/// Two documents about one thing are an error: nobody guesses which one was meant.
pub fn in_order(mut documents: Vec<Described>) -> Result<Vec<Described>, String> {
    let mut seen = HashMap::new();
    for Described { document, source } in &documents {
        let key = Key::of(document);
        if let Some(first) = seen.insert(key.clone(), source) {
            return Err(format!("{source}: {key} is described in {first} already"));
        }
    }
    documents.sort_by_key(|described| described.document.kind());
    Ok(documents)
}

/// A document as a person would write it, ready for `apply`. Ends with a newline.
#[must_use]
pub fn text(document: &Document) -> String {
    render::document_text(&value(document), render::Format::Yaml)
}

/// The same as a value.
#[must_use]
pub fn value(document: &Document) -> Value {
    json!(Written::from(document))
}

/// A document as it is written.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Written<'a> {
    /// The version of its form; the only one.
    #[schemars(extend("const" = API_VERSION))]
    api_version: &'static str,
    #[serde(flatten)]
    document: &'a Document,
}

impl<'a> From<&'a Document> for Written<'a> {
    fn from(document: &'a Document) -> Self {
        Self { api_version: API_VERSION, document }
    }
}

impl render::Item for Written<'_> {
    const LIST: &'static str = "List";
}

/// Reads one document, and finds the line that it begins with; `apiVersion` may be left out.
fn document(text: &str) -> Result<(Document, usize), Vec<Problem>> {
    let (mut value, mut places) = yaml::from_str::<Value>(text)?;
    let line = places.value("").line;
    let Some(fields) = value.as_object_mut() else {
        return Err(vec![Problem::new(places.value(""), "a document is a mapping, such as `kind: User`")]);
    };
    if fields.remove("apiVersion").is_some_and(|version| version != API_VERSION) {
        let problem = Problem::new(places.value("apiVersion"), "unknown apiVersion");
        return Err(vec![problem.with_label(format!("expected {API_VERSION}"))]);
    }
    let kind = fields.remove("kind");
    for key in ["apiVersion", "kind"] {
        places.forget_key(key);
    }
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    let document = match kind.parse() {
        Ok(Kind::Llm) => typed(value, &places).map(Document::Llm),
        Ok(Kind::Rbac) => typed(value, &places).map(Document::Rbac),
        Ok(Kind::User) => typed(value, &places).map(Document::User),
        Ok(Kind::ServiceAccount) => typed(value, &places).map(Document::ServiceAccount),
        Ok(Kind::Group) => typed(value, &places).map(Document::Group),
        Err(_) => Err(vec![unknown_kind(kind, &places)]),
    };
    document.map(|document| (as_kept(document), line))
}

fn unknown_kind(kind: &str, places: &yaml::Places) -> Problem {
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let label = match yaml::nearest(kind, &known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected one of: {}", known.join(", ")),
    };
    Problem::new(places.value("kind"), "unknown kind").with_label(label)
}

/// As the server keeps it: the members of a group are a set.
fn as_kept(mut document: Document) -> Document {
    if let Document::Group(group) = &mut document {
        group.members.sort();
        group.members.dedup();
    }
    document
}

/// The document without its kind.
fn typed<T: DeserializeOwned>(value: Value, places: &yaml::Places) -> Result<T, Vec<Problem>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { path.as_str() };
        yaml::from_message(&error.inner().to_string(), path, places, places.value(""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(text: &str) -> Result<Vec<String>, String> {
        let ordered = in_order(read("f", text).map_err(|mistakes| mistakes.to_string())?)?;
        Ok(ordered.iter().map(|it| format!("{} {}", it.source, Key::of(&it.document))).collect())
    }

    #[test]
    fn documents_come_in_an_order_in_which_they_can_be_made() {
        let rbac = "kind: Rbac\nname: r\nsubjects: []\nroleBindings: []\n";
        let llm = "kind: Llm\nname: l\ntype: openai\nurl: http://a\nmodel: m\n";
        let text = format!(
            "# first\n{rbac}---\n{llm}---\nkind: Group\nname: g\n---\nkind: User\nname: b\n---\nkind: User\nname: a\n---\n\n\
             kind: ServiceAccount\nname: s\n"
        );
        let ordered = order(&text).unwrap();
        assert_eq!(
            ordered,
            [
                "f:16 user/b",
                "f:19 user/a",
                "f:23 serviceaccount/s",
                "f:13 group/g",
                "f:7 llm/l",
                "f:2 rbac/r"
            ]
        );
    }

    #[test]
    fn two_documents_about_one_thing_are_an_error_that_names_both() {
        let twice = "kind: User\nname: a\n---\nkind: Group\nname: a\n---\nkind: User\nname: a\n";
        assert_eq!(order(twice), Err("f:7: user/a is described in f:1 already".into()));
    }

    #[test]
    fn a_label_that_is_none_has_its_place() {
        let wrong = order("kind: User\nname: a\nlabels:\n  team: data\n  tier: -x\n").unwrap_err();
        assert!(wrong.starts_with("f:5:9: a label begins"), "{wrong}");
    }

    proptest! {
        /// Words that YAML takes for something else, characters of its own, and text of other scripts.
        #[test]
        fn what_is_written_is_read_back(
            text in "[ -~]{1,40}|\\PC{1,20}|true|null|~|1e3|0x1f|- a|a: b|'|\"|#x| x |---",
            label in "[a-z0-9]{0,6}|true|null|no|1\\.0|1e3",
            member in "[a-z0-9]{1,6}|true|null|no|1",
        ) {
            let llm = json!({"kind": "Llm", "name": "chat", "displayName": text, "type": text, "model": text,
                "url": "http://a", "labels": {"null": label, "1": "2"}, "apiKeyRef": {"env": "KEY"}});
            let user = json!({"kind": "User", "name": member});
            let group = json!({"kind": "Group", "name": member, "members": [user]});
            let rbac = json!({"kind": "Rbac", "name": member, "subjects": [user], "labels": {"a": label},
                "roleBindings": [{"role": "view", "resource": "*", "name": member}]});
            let documents = [llm, user, group, rbac].map(|it| serde_json::from_value::<Document>(it).unwrap());
            let written: Vec<String> = documents.iter().map(super::text).collect();
            let back = read("f", &written.join("---\n")).unwrap();
            prop_assert_eq!(back.into_iter().map(|it| it.document).collect::<Vec<_>>(), documents);
        }
    }
}
