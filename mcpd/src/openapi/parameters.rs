//! What requests say beside their body, and what answers say in their head.

use mcp_api::{SubjectKind, headers};
use serde_json::{Map, Value, json};

/// One parameter.
pub(super) type Parameter = fn() -> Value;

/// The parameters of a path that has some in braces.
pub(super) fn of_path(path: &str) -> Vec<Value> {
    let named = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    named.map(of_segment).collect()
}

fn of_segment(name: &str) -> Value {
    let (text, schema) = match name {
        "llm" => ("The name or the id of an LLM.", pattern("^[a-z0-9][a-z0-9._-]{0,62}$", "chat-prod")),
        "kind" => {
            let kinds: Vec<&str> = SubjectKind::ALL.iter().map(|kind| kind.path_segment()).collect();
            ("The kind of the subject.", json!({ "type": "string", "enum": kinds }))
        }
        "id" => ("The public part of a token.", pattern("^[a-z0-9]{16}$", "3k9d0smq1b7xw2ta")),
        _ => ("The name.", pattern("^[A-Za-z0-9][A-Za-z0-9@._+-]{0,127}$", "data-team")),
    };
    json!({ "name": name, "in": "path", "required": true, "description": text, "schema": schema })
}

fn pattern(pattern: &str, example: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "examples": [example] })
}

fn query(name: &str, text: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": text, "schema": schema })
}

fn header(name: &str, text: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "description": text, "schema": schema })
}

/// `dryRun`
pub(super) fn dry_run() -> Value {
    query("dryRun", "Checks the change and writes nothing.", &json!({ "type": "string", "enum": ["server"] }))
}

/// `If-Match`
pub(super) fn if_match() -> Value {
    let schema = pattern("^(\\*|\"[0-9a-f]{32}\")$", "*");
    header("If-Match", "The version that is to be changed, as `ETag` said it.", &schema)
}

/// `Mcpd-Probe`
pub(super) fn probe() -> Value {
    let schema = pattern("^run; nonce=[0-9a-f]{32}$", "run; nonce=00112233445566778899aabbccddeeff");
    header(
        "Mcpd-Probe",
        "Asks whether the LLM may be run now; `Mcpd-Decision` answers with the nonce.",
        &schema,
    )
}

/// `after`
pub(super) fn after() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    query("after", "The number of the entry after which to begin.", &schema)
}

/// `limit`
pub(super) fn limit() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    query("limit", "How many entries at most; there is a bound.", &schema)
}

/// `since`
pub(super) fn since() -> Value {
    query("since", "From this time on.", &time())
}

/// `until`
pub(super) fn until() -> Value {
    query("until", "Before this time.", &time())
}

fn time() -> Value {
    pattern(
        "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
        "2026-01-31T12:00:00Z",
    )
}

/// `user`
pub(super) fn user() -> Value {
    query("user", "Only about this subject.", &json!({ "type": "string", "minLength": 1 }))
}

/// `llm`
pub(super) fn llm() -> Value {
    query("llm", "Only about this LLM.", &json!({ "type": "string", "minLength": 1 }))
}

/// `event`
pub(super) fn event() -> Value {
    let words: Vec<&str> = mcp_api::AuditEvent::ALL.iter().map(|event| event.as_str()).collect();
    query("event", "Only of this kind.", &json!({ "type": "string", "enum": words }))
}

/// Headers of answers: their name, and what they say.
const HEADERS: &[(&str, &str)] = &[
    (headers::REQUEST_ID, "The id of the request: the one that came with it, or a new one."),
    (headers::ERROR_ORIGIN, "The same as `error.origin`."),
    (headers::ERROR_CODE, "The same as `error.code`."),
    (headers::DECISION, "What was decided about the LLM."),
    (headers::FAILOVER, "Whether a local provider may stand in for the LLM."),
    ("etag", "The version of what the answer is about."),
    ("retry-after", "How many seconds to wait before the next try."),
    ("www-authenticate", "How to sign in."),
    ("allow", "The methods that the path takes."),
];

/// The headers of answers, for the components.
pub(super) fn headers() -> Map<String, Value> {
    let described = |(name, text): &(&str, &str)| {
        ((*name).to_owned(), json!({ "description": text, "schema": { "type": "string" } }))
    };
    HEADERS.iter().map(described).collect()
}

/// Points at some of them.
pub(super) fn header_refs(names: &[&str]) -> Map<String, Value> {
    let at = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    names.iter().map(at).collect()
}
