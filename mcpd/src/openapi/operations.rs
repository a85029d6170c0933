//! What each route takes and gives, in the order of the table of routes.

use super::{
    parameters::{self as p, Parameter, header_refs},
    schemas::{Schemas, read},
};
use crate::health::Version;
use mcp_api::{
    AuditHead, AuditPage, CanI, CanIAnswer, FailoverReceipt, FailoverReports, Llm, LlmList, LlmPatch,
    LlmSpec, NewToken, Rbac, TokenCreated, TokenInfo, Whoami, headers,
    identity::{Answer as Warned, Items, SubjectSpec},
    openai::{Model, ModelList},
    paths,
};
use schemars::JsonSchema;
use serde_json::{Value, json};

/// What operations are grouped by.
pub(super) const TAGS: &[(&str, &str)] = &[
    ("openai", "What clients of OpenAI's API ask, unchanged."),
    ("llms", "Language models: who may use which, and the way to them."),
    ("rbac", "Who may do what."),
    ("users", "Users, groups and service accounts."),
    ("tokens", "Credentials."),
    ("identity", "Who you are, and what you may do."),
    ("audit", "What happened."),
    ("server", "How the server is."),
];

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answer: Answer,
    errors: Vec<&'static str>,
}

/// Who may ask.
pub(super) enum Access {
    Anybody,
    Token,
}

/// A body of JSON.
pub(super) struct Body {
    pub(super) schema: fn() -> Value,
    pub(super) example: Value,
}

/// What comes if all is well.
pub(super) struct Answer {
    status: &'static str,
    text: &'static str,
    headers: Vec<&'static str>,
    content: Content,
}

enum Content {
    Nothing,
    Json(fn(&mut Schemas) -> Value),
    Text(&'static str),
    /// What the upstream says: a document or a stream of events.
    Passed,
}

impl Answer {
    /// Its status, and how it is described.
    pub(super) fn described(&self, schemas: &mut Schemas) -> (String, Value) {
        let content = match self.content {
            Content::Nothing => json!({}),
            Content::Json(of) => json!({ "application/json": { "schema": of(schemas) } }),
            Content::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
            Content::Passed => json!({
                "application/json": { "schema": { "type": "object" } },
                "text/event-stream": {},
            }),
        };
        let mut response = json!({ "description": self.text, "headers": header_refs(&self.headers) });
        if content != json!({}) {
            response["content"] = content;
        }
        (self.status.to_owned(), response)
    }
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        let answer = Answer {
            status: "200",
            text: "Done.",
            headers: vec![headers::REQUEST_ID],
            content: Content::Nothing,
        };
        let mut operation = Self {
            method,
            path,
            id,
            tag,
            summary,
            access: Access::Token,
            parameters: Vec::new(),
            body: None,
            answer,
            errors: vec!["400", "401", "429", "500", "503"],
        };
        if path.contains('{') {
            operation.errors.extend(["403", "404"]);
        }
        operation
    }

    /// The statuses of its errors, each once.
    pub(super) fn errors(&self) -> Vec<&'static str> {
        let mut all = self.errors.clone();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn public(self) -> Self {
        Self { access: Access::Anybody, errors: vec!["400", "500", "503"], ..self }
    }

    fn may_fail(mut self, statuses: &[&'static str]) -> Self {
        self.errors.extend(statuses);
        self
    }

    fn with(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    fn gives<T: JsonSchema>(mut self) -> Self {
        self.answer.content = Content::Json(Schemas::of::<T>);
        self
    }

    fn gives_text(mut self, kind: &'static str) -> Self {
        self.answer.content = Content::Text(kind);
        self
    }

    fn about_llm(mut self) -> Self {
        self.answer.headers.extend([headers::DECISION, headers::FAILOVER]);
        self
    }

    fn versioned(mut self) -> Self {
        self.answer.headers.push("etag");
        self
    }

    fn takes<T: JsonSchema>(mut self, example: Value) -> Self {
        self.body = Some(Body { schema: read::<T>, example });
        self.may_fail(&["408", "413", "415", "422"])
    }

    fn creates(mut self) -> Self {
        self.answer.status = "201";
        self.answer.text = "It is made.";
        self.may_fail(&["403", "409"])
    }

    /// A change that can be rehearsed, and be meant for one version.
    fn on_terms(self) -> Self {
        self.rehearsable().with(&[p::if_match]).may_fail(&["409"])
    }

    /// A change that can be rehearsed.
    fn rehearsable(self) -> Self {
        self.with(&[p::dry_run]).may_fail(&["403", "412", "422"])
    }

    /// An answer of an upstream, to a body of which only the top level is looked at.
    fn passes_on(mut self, schema: fn() -> Value, example: Value) -> Self {
        self.body = Some(Body { schema, example });
        self.answer.content = Content::Passed;
        self.answer.text = "What the upstream answers, as it comes.";
        let own = ["403", "404", "408", "413", "415", "422", "429", "501", "502", "504", "5XX"];
        self.about_llm().may_fail(&own)
    }
}

fn get(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new("GET", path, id, tag, summary)
}

fn post(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new("POST", path, id, tag, summary)
}

fn put(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new("PUT", path, id, tag, summary)
}

fn delete(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new("DELETE", path, id, tag, summary)
}

/// A body that names its LLM.
fn naming() -> Value {
    json!({
        "type": "object",
        "required": ["model"],
        "properties": {
            "model": { "type": "string", "description": "The name or the id of an LLM." },
            "stream": { "type": "boolean", "description": "Whether the answer is to come as it is made." },
        },
    })
}

/// A body for the LLM of the path.
fn prompt() -> Value {
    json!({
        "type": "object",
        "properties": {
            "messages": { "description": "The conversation, as OpenAI's chat completions have it." },
            "stream": { "type": "boolean", "description": "Whether the answer is to come as it is made." },
        },
    })
}

/// All of them.
#[expect(clippy::too_many_lines, reason = "a table, a few lines for each route")]
pub(super) fn operations() -> Vec<Operation> {
    let messages = json!([{ "role": "user", "content": "Who are you?" }]);
    let llm = json!({ "name": "chat-prod", "type": "openai", "url": "http://10.0.0.5:8000/v1", "model": "Qwen/Qwen3-8B" });
    let rbac = json!({
        "name": "data-team",
        "subjects": [{ "kind": "User", "name": "dana@example.com" }],
        "roleBindings": [{ "role": "run", "resource": "llms", "name": "chat-prod" }],
    });
    let subject = json!({ "kind": "User", "name": "dana@example.com" });
    vec![
        get(paths::LLMS, "listLlms", "llms", "List the LLMs that you may view").gives::<LlmList>(),
        post(paths::LLMS, "createLlm", "llms", "Describe a new LLM")
            .takes::<LlmSpec>(llm.clone())
            .gives::<Llm>()
            .creates()
            .rehearsable()
            .versioned(),
        get(paths::LLM, "showLlm", "llms", "Show an LLM, or ask whether you may run it")
            .with(&[p::probe])
            .gives::<Llm>()
            .versioned()
            .about_llm(),
        Operation::new(
            "HEAD",
            paths::LLM,
            "probeLlm",
            "llms",
            "Ask whether you may run an LLM, without a body",
        )
        .with(&[p::probe])
        .versioned()
        .about_llm(),
        put(paths::LLM, "replaceLlm", "llms", "Describe an LLM anew")
            .takes::<LlmSpec>(llm)
            .gives::<Llm>()
            .on_terms()
            .versioned()
            .about_llm(),
        Operation::new(
            "PATCH",
            paths::LLM,
            "editLlm",
            "llms",
            "Change some fields of an LLM (JSON merge patch)",
        )
        .takes::<LlmPatch>(json!({ "enabled": false }))
        .gives::<Llm>()
        .on_terms()
        .versioned()
        .about_llm(),
        delete(paths::LLM, "deleteLlm", "llms", "Delete an LLM").gives::<Value>().on_terms(),
        post(paths::INFER, "infer", "llms", "Ask an LLM for a chat completion")
            .passes_on(prompt, json!({ "messages": messages, "stream": true })),
        post(paths::OPENAI_CHAT, "openaiChat", "openai", "Chat completion of the LLM that `model` names")
            .passes_on(naming, json!({ "model": "chat-prod", "messages": messages })),
        post(paths::OPENAI_COMPLETIONS, "openaiCompletions", "openai", "Completion of a text")
            .passes_on(naming, json!({ "model": "chat-prod", "prompt": "Once upon a time" })),
        post(paths::OPENAI_EMBEDDINGS, "openaiEmbeddings", "openai", "Vectors of texts")
            .passes_on(naming, json!({ "model": "chat-prod", "input": ["a text"] })),
        post(paths::OPENAI_RESPONSES, "openaiResponses", "openai", "A response, where the upstream has them")
            .passes_on(naming, json!({ "model": "chat-prod", "input": "Who are you?" })),
        get(
            paths::OPENAI_MODELS,
            "openaiModels",
            "openai",
            "List the LLMs that you may view and that are on",
        )
        .gives::<ModelList>(),
        get(paths::OPENAI_MODEL, "openaiModel", "openai", "Show one of them").gives::<Model>().about_llm(),
        get(paths::RBACS, "listRbac", "rbac", "List the role bindings that you may view")
            .gives::<Items<Rbac>>(),
        post(paths::RBACS, "createRbac", "rbac", "Make a role binding")
            .takes::<Rbac>(rbac.clone())
            .gives::<Warned<Rbac>>()
            .creates()
            .rehearsable()
            .versioned(),
        get(paths::RBAC, "showRbac", "rbac", "Show a role binding").gives::<Rbac>().versioned(),
        put(paths::RBAC, "replaceRbac", "rbac", "Describe a role binding anew")
            .takes::<Rbac>(rbac)
            .gives::<Rbac>()
            .on_terms()
            .versioned(),
        delete(paths::RBAC, "deleteRbac", "rbac", "Delete a role binding").gives::<Value>().on_terms(),
        get(paths::SUBJECTS, "listSubjects", "users", "List the subjects that you may view")
            .gives::<Items<SubjectSpec>>(),
        post(paths::SUBJECTS, "createSubject", "users", "Register a user, a group or a service account")
            .takes::<SubjectSpec>(subject.clone())
            .gives::<Warned<SubjectSpec>>()
            .creates()
            .rehearsable()
            .versioned(),
        get(paths::SUBJECT, "showSubject", "users", "Show a subject").gives::<SubjectSpec>().versioned(),
        put(paths::SUBJECT, "replaceSubject", "users", "Describe a subject anew")
            .takes::<SubjectSpec>(subject.clone())
            .gives::<SubjectSpec>()
            .on_terms()
            .versioned(),
        delete(paths::SUBJECT, "deleteSubject", "users", "Delete a subject, with its tokens")
            .gives::<Value>()
            .on_terms(),
        get(paths::TOKENS, "listTokens", "tokens", "List the tokens that you may view")
            .gives::<Items<TokenInfo>>(),
        post(paths::TOKENS, "createToken", "tokens", "Make a token; only this answer shows it")
            .takes::<NewToken>(json!({ "subject": subject, "expiresInSeconds": 86_400 }))
            .gives::<TokenCreated>()
            .creates()
            .may_fail(&["404"]),
        get(paths::TOKEN, "showToken", "tokens", "Show a token, without its secret").gives::<TokenInfo>(),
        delete(paths::TOKEN, "revokeToken", "tokens", "Revoke a token")
            .gives::<TokenInfo>()
            .may_fail(&["409", "422"]),
        get(paths::WHOAMI, "whoami", "identity", "Say who you are").gives::<Whoami>(),
        post(paths::CAN_I, "canI", "identity", "Say whether you may do something")
            .takes::<CanI>(json!({ "verb": "run", "resource": "llms", "name": "chat-prod" }))
            .gives::<CanIAnswer>(),
        get(paths::AUDIT, "listAudit", "audit", "Read the audit trail, a page at a time")
            .with(&[p::since, p::until, p::user, p::llm, p::event, p::after, p::limit])
            .gives::<AuditPage>()
            .may_fail(&["403", "422"]),
        get(paths::AUDIT_HEAD, "auditHead", "audit", "Say where the audit trail ends")
            .gives::<AuditHead>()
            .may_fail(&["403"]),
        post(
            paths::FAILOVER_REPORTS,
            "reportFailovers",
            "audit",
            "Say what local providers answered instead",
        )
        .takes::<FailoverReports>(json!({ "reports": [] }))
        .gives::<FailoverReceipt>(),
        get(paths::HEALTHZ, "healthz", "server", "Say that the process lives")
            .public()
            .gives_text("text/plain"),
        get(paths::READYZ, "readyz", "server", "Say whether the server takes requests")
            .public()
            .gives_text("text/plain"),
        get(paths::VERSION, "version", "server", "Say which version runs").public().gives::<Version>(),
        get(paths::METRICS, "metrics", "server", "Show what is measured, in Prometheus' text format")
            .gives_text("text/plain")
            .may_fail(&["403"]),
        get(paths::OPENAPI, "openapi", "server", "Show this document").public().gives::<Value>(),
    ]
}
