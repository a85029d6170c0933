//! Who the caller is, and what it may do.

use crate::{
    body::Document,
    caller::Caller,
    policy::{On, Verdict, decide},
    problem::Problem,
};
use axum::Json;
use mcp_api::{CanI, CanIAnswer, LlmKey, Resource, Whoami};

pub(crate) async fn whoami(caller: Caller) -> Json<Whoami> {
    let login = caller.login();
    Json(Whoami {
        subject: login.subject().clone(),
        groups: login.groups(caller.snapshot()),
        token_id: login.id().to_owned(),
        token_expires_at: login.expires_at().map(|time| time.to_string()),
    })
}

/// Answers from the caller's own bindings. What it says about a name that nothing has is no secret: it repeats them.
pub(crate) async fn can_i(
    caller: Caller,
    Document(asked): Document<CanI>,
) -> Result<Json<CanIAnswer>, Problem> {
    let name = asked.name.as_ref().map(mcp_api::rbac::ResourceName::as_str);
    // An LLM has two names and a right on one of them is a right on both.
    let key: Option<LlmKey> =
        name.filter(|_| asked.resource == Resource::Llms).and_then(|name| name.parse().ok());
    let llm = key.and_then(|key| caller.snapshot().llm(&key));
    let names: Vec<&str> = match llm {
        Some(llm) => llm.aliases().to_vec(),
        None => name.into_iter().collect(),
    };
    let on = if names.is_empty() { On::All(asked.resource) } else { On::One(asked.resource, &names) };
    Ok(Json(match decide(caller.rights(), asked.verb, on) {
        Verdict::Allowed { binding } => CanIAnswer { allowed: true, binding: Some(binding.clone()) },
        Verdict::Denied => CanIAnswer { allowed: false, binding: None },
    }))
}
