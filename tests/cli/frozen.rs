//! What programs already read and people already write stays: the fields of `schemas/` as they were promised stand in
//! `frozen/v1-fields.txt`, and unlike the schemas nothing makes that list anew. It only grows:
//! `FREEZE=new cargo test --test cli frozen::` promises the fields that are new, and prints them.

use crate::shipped;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// Files that people write. There it is the program that must take what it took.
const WRITTEN: [&str; 2] = ["config-file", "providers"];

/// What may stand at a place, and whether something must.
#[derive(Clone, Debug, Default, PartialEq)]
struct Field {
    /// Names of types, and words in quotes. None: anything.
    types: BTreeSet<String>,
    required: bool,
}

/// Fields by their paths: `.items[].llm`, `.labels.*`, and `<start>.llm` of what goes by a word.
type Fields = BTreeMap<String, Field>;

impl Field {
    fn line(&self, name: &str, path: &str) -> String {
        let names: Vec<&str> = self.types.iter().map(String::as_str).collect();
        let types = if names.is_empty() { "any".to_owned() } else { names.join("|") };
        let path = path.strip_prefix('.').unwrap_or(path);
        format!("{name} {path} {types} {}", if self.required { "required" } else { "optional" })
    }

    fn words(&self) -> BTreeSet<&str> {
        self.types.iter().map(String::as_str).filter(|name| name.starts_with('"')).collect()
    }

    fn kinds(&self) -> BTreeSet<&str> {
        self.types.iter().map(String::as_str).filter(|name| !name.starts_with('"')).collect()
    }

    /// Whether all that `self` lets through passes `other` too, but for new words.
    fn fits(&self, other: &Self) -> bool {
        other.types.is_empty()
            || (!self.types.is_empty()
                && self.kinds().is_subset(&other.kinds())
                && (self.words().is_empty() || !other.words().is_empty() || other.kinds().contains("string")))
    }
}

fn parent(path: &str) -> &str {
    path.rfind('.').map_or("", |at| &path[..at])
}

/// The fields of a schema, of which `root` is the whole.
fn fields(root: &Value, node: &Value) -> Fields {
    let mut found = Fields::new();
    let types = match (&node["type"], &node["const"], &node["enum"]) {
        (_, Value::String(word), _) => vec![format!("{word:?}")],
        (_, _, Value::Array(words)) => words.iter().map(Value::to_string).collect(),
        (Value::String(name), ..) => vec![name.clone()],
        (Value::Array(names), ..) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![],
    };
    found.insert(String::new(), Field { types: types.into_iter().collect(), required: true });
    let mut put = |path: &str, node: &Value, required: bool| {
        for (below, field) in fields(root, node) {
            let required = if below.is_empty() { required } else { field.required };
            found.insert(format!("{path}{below}"), Field { required, ..field });
        }
    };
    let required: Vec<&str> =
        node["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, below) in node["properties"].as_object().into_iter().flatten() {
        put(&format!(".{name}"), below, required.contains(&name.as_str()));
    }
    if node["items"].is_object() {
        put("[]", &node["items"], true);
    }
    if node["additionalProperties"].is_object() {
        put(".*", &node["additionalProperties"], true);
    }
    if let Some(name) = node["$ref"].as_str() {
        let part = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        found = both(found, fields(root, part));
    }
    for part in node["allOf"].as_array().into_iter().flatten() {
        let more = match word_of(&part["if"]) {
            Some(word) => named(&word, fields(root, &part["then"])),
            None => fields(root, part),
        };
        found = both(found, more);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = node[choice].as_array() {
            let choices = choices.iter().map(|one| (word_of(one), fields(root, one))).collect();
            found = both(found, either(choices));
        }
    }
    found
}

/// The word that tells a choice from the others.
fn word_of(choice: &Value) -> Option<String> {
    let fields = choice["properties"].as_object()?;
    fields.values().find_map(|field| field["const"].as_str().map(str::to_owned))
}

fn named(word: &str, fields: Fields) -> Fields {
    let named = |(path, field): (String, Field)| match path.as_str() {
        "" => (path, field),
        _ => (format!("<{word}>{path}"), field),
    };
    fields.into_iter().map(named).collect()
}

/// What holds if both do.
fn both(mut one: Fields, other: Fields) -> Fields {
    for (path, more) in other {
        let field = one.entry(path).or_insert_with(|| more.clone());
        field.required |= more.required;
        if field.types.is_empty() {
            field.types = more.types;
        } else if !more.types.is_empty() {
            let common: BTreeSet<String> = field.types.intersection(&more.types).cloned().collect();
            field.types = if common.is_empty() { &field.types | &more.types } else { common };
        }
    }
    one
}

/// What holds if one of them does.
fn either(choices: Vec<(Option<String>, Fields)>) -> Fields {
    let choices: Vec<Fields> = if choices.iter().all(|(word, _)| word.is_some()) {
        choices.into_iter().map(|(word, fields)| named(&word.unwrap_or_default(), fields)).collect()
    } else {
        choices.into_iter().map(|(_, fields)| fields).collect()
    };
    let mut found = Fields::new();
    for (path, field) in choices.iter().flatten() {
        let types = &mut found.entry(path.clone()).or_default().types;
        types.extend(field.types.iter().cloned());
    }
    for (path, field) in &mut found {
        // Where nothing can have it, nothing misses it.
        let may_have =
            |choice: &&Fields| choice.get(parent(path)).is_some_and(|above| above.types.contains("object"));
        let has = |choice: &Fields| choice.get(path).is_some_and(|field| field.required);
        field.required = if path.starts_with('<') {
            choices.iter().any(has)
        } else {
            choices.iter().filter(may_have).all(has)
        };
    }
    found
}

/// What was promised of a schema and does not hold.
fn broken(name: &str, promised: &Fields, now: &Fields) -> Vec<String> {
    let is_written = WRITTEN.contains(&name);
    let mut broken = Vec::new();
    for (path, was) in promised {
        let line = was.line(name, path);
        let Some(is) = now.get(path) else {
            broken.push(format!("{line}: it is gone"));
            continue;
        };
        let (narrow, wide) = if is_written { (was, is) } else { (is, was) };
        let words_stay = is_written && is.kinds().contains("string") || was.words().is_subset(&is.words());
        if !narrow.fits(wide) || !words_stay {
            broken.push(format!("{line}: now `{}`", is.line(name, path)));
        } else if is_written && is.required && !was.required {
            broken.push(format!("{line}: files without it were taken"));
        } else if !is_written && was.required && !is.required {
            broken.push(format!("{line}: it may be missing now"));
        }
    }
    for (path, is) in now {
        if is_written && is.required && !promised.contains_key(path) && promised.contains_key(parent(path)) {
            broken.push(format!("{}: files without it were taken", is.line(name, path)));
        }
    }
    broken
}

fn list() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/frozen/v1-fields.txt")
}

/// The promises of the list, by the schema.
fn promises(text: &str) -> BTreeMap<String, Fields> {
    let mut promises = BTreeMap::<String, Fields>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [name, path, types, required] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} is not NAME PATH TYPES required|optional")
        };
        let types = types.split('|').filter(|name| *name != "any").map(str::to_owned).collect();
        let path = if path.starts_with(['<', '[']) { path.to_owned() } else { format!(".{path}") };
        let field = Field { types, required: required == "required" };
        promises.entry(name.to_owned()).or_default().insert(path, field);
    }
    promises
}

/// The fields of all schemas as they are shipped.
fn shipped_fields() -> BTreeMap<String, Fields> {
    let read = |file: fs::DirEntry| {
        let name = file.path().file_stem().unwrap().to_string_lossy().into_owned();
        let schema = shipped::schema(&name);
        let mut fields = fields(&schema, &schema);
        fields.remove("");
        (name, fields)
    };
    fs::read_dir(shipped::folder()).unwrap().map(|file| read(file.unwrap())).collect()
}

#[test]
fn what_was_promised_of_documents_and_files_holds() {
    let text = fs::read_to_string(list()).unwrap();
    let (promised, now) = (promises(&text), shipped_fields());
    let none = Fields::new();
    let broken: Vec<String> = promised
        .iter()
        .flat_map(|(name, fields)| broken(name, fields, now.get(name).unwrap_or(&none)))
        .collect();
    assert!(broken.is_empty(), "programs and files that relied on these break: {broken:#?}");
    let is_new = |name: &str, path: &str| !promised.get(name).is_some_and(|fields| fields.contains_key(path));
    let all =
        now.iter().flat_map(|(name, fields)| fields.iter().map(move |(path, field)| (name, path, field)));
    let new: BTreeSet<String> = all
        .filter(|(name, path, _)| is_new(name, path))
        .map(|(name, path, field)| field.line(name, path))
        .collect();
    let extend = env::var("FREEZE").is_ok_and(|what| what == "new");
    for line in &new {
        println!("{}: {line}", if extend { "frozen" } else { "not frozen yet" });
    }
    if extend {
        let (head, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let lines: BTreeSet<&str> = lines.into_iter().chain(new.iter().map(String::as_str)).collect();
        let lines = head.into_iter().chain(lines).map(|line| format!("{line}\n"));
        fs::write(list(), lines.collect::<String>()).unwrap();
    }
}

#[test]
fn the_list_is_sorted_and_says_nothing_twice() {
    let text = fs::read_to_string(list()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 300, "{} lines", lines.len());
    assert!(lines.is_sorted_by(|one, next| one < next));
}

/// The schema that promises are made of.
fn promised() -> Value {
    json!({
        "type": "object", "required": ["id", "state", "items"],
        "properties": {
            "id": { "type": "string" },
            "note": { "type": ["string", "null"] },
            "state": { "oneOf": [{ "type": "string", "const": "ok" }, { "type": "string", "const": "cut" }] },
            "items": { "type": "array", "items": { "$ref": "#/$defs/Item" } },
            "usage": { "anyOf": [{ "$ref": "#/$defs/Usage" }, { "type": "null" }] },
        },
        "$defs": {
            "Item": { "oneOf": [
                { "type": "object", "required": ["kind", "n"],
                  "properties": { "kind": { "const": "A" }, "n": { "type": "integer" } } },
                { "type": "object", "required": ["kind"], "properties": { "kind": { "const": "B" } } },
            ] },
            "Usage": { "type": "object", "required": ["tokens"], "properties": { "tokens": { "type": "integer" } } },
        },
    })
}

/// What breaks, of a document and of a file, once `value` stands at `place` (or nothing does).
fn after(place: &str, value: Option<Value>) -> [Vec<String>; 2] {
    let mut schema = promised();
    let was = fields(&schema, &schema);
    let (above, name) = place.rsplit_once('/').unwrap();
    match (schema.pointer_mut(above).unwrap(), value) {
        (Value::Object(above), Some(value)) => drop(above.insert(name.to_owned(), value)),
        (Value::Object(above), None) => drop(above.remove(name)),
        (above, value) => above[name.parse::<usize>().unwrap()] = value.unwrap_or_default(),
    }
    let now = fields(&schema, &schema);
    ["Anything", WRITTEN[0]].map(|name| broken(name, &was, &now))
}

#[test]
fn a_list_of_promises_reads_as_it_was_written() {
    let schema = promised();
    let mut was = fields(&schema, &schema);
    was.remove("");
    let lines: Vec<String> = was.iter().map(|(path, field)| field.line("Anything", path)).collect();
    for line in [
        "Anything items[]<A>.n integer required",
        "Anything note null|string optional",
        "Anything state \"cut\"|\"ok\" required",
        "Anything usage.tokens integer required",
    ] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
    }
    assert_eq!(promises(&lines.join("\n"))["Anything"], was);
}

#[test]
fn what_takes_something_away_breaks_a_promise_and_what_adds_something_does_not() {
    let text = || Some(json!({ "type": "string" }));
    for (place, value, document, file) in [
        ("/properties/id", None, true, true),
        ("/properties/id", Some(json!({ "type": "integer" })), true, true),
        ("/properties/id", Some(json!({})), true, false),
        ("/properties/id", Some(json!({ "type": ["string", "null"] })), true, false),
        ("/properties/note", text(), false, true),
        ("/properties/more", text(), false, false),
        ("/required", Some(json!(["state", "items"])), true, false),
        ("/required", Some(json!(["id", "state", "items", "note"])), false, true),
        ("/properties/state/oneOf/0", Some(json!({ "type": "string", "const": "done" })), true, true),
        ("/properties/state/oneOf/0", Some(json!({ "enum": ["ok", "new"] })), false, false),
        ("/properties/items", text(), true, true),
        ("/$defs/Item/oneOf/0/properties/n", None, true, true),
        ("/$defs/Item/oneOf/0/required", Some(json!(["kind"])), true, false),
        ("/$defs/Usage/properties/tokens", text(), true, true),
        ("/$defs/Usage/required", Some(json!(["tokens", "cached"])), false, false),
        (
            "/$defs/Usage",
            Some(json!({ "type": "object", "required": ["tokens", "cached"],
            "properties": { "tokens": { "type": "integer" }, "cached": { "type": "integer" } } })),
            false,
            true,
        ),
    ] {
        let found = after(place, value.clone());
        let is = found.each_ref().map(|broken| !broken.is_empty());
        assert_eq!(is, [document, file], "{place}: {value:?}: {found:#?}");
    }
}
