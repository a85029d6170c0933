//! What an administrator does by the API, with bodies of the wire types. Each call panics unless it succeeds.

use super::Mcpd;
use crate::Response;
use mcp_api::{
    FailoverPolicy, Labels, Limits, Llm, LlmKey, LlmPatch, LlmSpec, NewToken, Rbac, RoleBinding, Subject,
    SubjectKind, SubjectName, Timeouts, TokenCreated, identity::SubjectSpec, paths,
};
use serde::Serialize;
use std::str::FromStr;

/// A role, a resource, and the one thing of it that is meant, or all.
pub type Grant<'a> = (&'a str, &'a str, Option<&'a str>);

impl Mcpd {
    /// Sends one JSON request with any token and gives the answer, whatever it is.
    pub fn api(&self, method: &str, path: &str, token: &str, body: &impl Serialize) -> Response {
        self.request(method, path, Some(token), &[], &serde_json::to_vec(body).expect("a wire type is JSON"))
    }

    fn admin(&self, method: &str, path: &str, body: &impl Serialize) -> Response {
        self.api(method, path, self.admin_token(), body).expect_success(&format!("{method} {path}"))
    }

    fn remove(&self, path: &str) {
        let answer = self.request("DELETE", path, Some(self.admin_token()), &[], b"");
        let _empty = answer.expect_success(&format!("DELETE {path}"));
    }

    /// Registers an LLM with an OpenAI-compatible upstream (`upstream_url` as `http://host:port/v1`), no key.
    pub fn create_llm(&self, name: &str, upstream_url: &str) -> Llm {
        self.create_llm_from(&llm_spec(name, upstream_url))
    }

    /// Registers an LLM; [`llm_spec`](crate::Mcpd::llm_spec) makes one to change.
    pub fn create_llm_from(&self, spec: &LlmSpec) -> Llm {
        self.admin("POST", paths::LLMS, spec).json()
    }

    /// What [`Mcpd::create_llm`] sends: type `openai`, model `tiny`, no key, enabled, failover allowed.
    pub fn llm_spec(name: &str, upstream_url: &str) -> LlmSpec {
        llm_spec(name, upstream_url)
    }

    /// Changes some fields of an LLM.
    pub fn patch_llm(&self, key: &str, patch: &LlmPatch) -> Llm {
        self.admin("PATCH", &paths::llm(&parse::<LlmKey>(key)), patch).json()
    }

    /// Removes an LLM.
    pub fn delete_llm(&self, key: &str) {
        self.remove(&paths::llm(&parse::<LlmKey>(key)));
    }

    /// Makes a user without rights.
    pub fn create_user(&self, name: &str) {
        self.create_subject(SubjectKind::User, name, &[]);
    }

    /// Makes a user, a service account, or a group of users.
    pub fn create_subject(&self, kind: SubjectKind, name: &str, members: &[&str]) {
        let members = members.iter().map(|member| user(member)).collect();
        let _created = self.admin(
            "POST",
            paths::SUBJECTS,
            &SubjectSpec { kind, name: parse(name), members, labels: Labels::default() },
        );
    }

    /// Removes a user with its tokens.
    pub fn delete_user(&self, name: &str) {
        self.remove(&paths::subject(SubjectKind::User, &parse::<SubjectName>(name)));
    }

    /// Gives a user rights by a binding of that name.
    pub fn grant(&self, binding: &str, to_user: &str, grants: &[Grant<'_>]) {
        self.grant_to(binding, user(to_user), grants);
    }

    /// Gives anybody rights by a binding of that name.
    pub fn grant_to(&self, binding: &str, subject: Subject, grants: &[Grant<'_>]) {
        let role_bindings = grants.iter().map(|(role, resource, name)| RoleBinding {
            role: parse(role),
            resource: parse(resource),
            name: name.map(parse),
        });
        let rbac = Rbac {
            name: parse(binding),
            labels: Labels::default(),
            subjects: vec![subject],
            role_bindings: role_bindings.collect(),
        };
        let _created = self.admin("POST", paths::RBACS, &rbac);
    }

    /// Takes a binding away, and with it the rights.
    pub fn delete_binding(&self, name: &str) {
        self.remove(&paths::rbac(&parse::<SubjectName>(name)));
    }

    /// Makes a token of a user that does not expire.
    pub fn token_for(&self, of_user: &str) -> String {
        self.token_of(user(of_user), None)
    }

    /// Makes a token of anybody.
    pub fn token_of(&self, subject: Subject, expires_in_seconds: Option<u64>) -> String {
        let created: TokenCreated =
            self.admin("POST", paths::TOKENS, &NewToken { subject, expires_in_seconds }).json();
        created.token
    }

    /// Revokes a token, given whole or by its public part.
    pub fn revoke_token(&self, token_or_id: &str) {
        let id =
            token_or_id.strip_prefix("mcpd_").and_then(|rest| rest.split('_').next()).unwrap_or(token_or_id);
        self.remove(&paths::token(id));
    }

    /// Makes a user with rights by a binding named like the user, and gives a token.
    pub fn user_with(&self, name: &str, grants: &[Grant<'_>]) -> String {
        self.create_user(name);
        self.grant(name, name, grants);
        self.token_for(name)
    }
}

fn llm_spec(name: &str, upstream_url: &str) -> LlmSpec {
    LlmSpec {
        name: parse(name),
        labels: Labels::default(),
        display_name: None,
        kind: "openai".to_owned(),
        url: upstream_url.to_owned(),
        urls: Vec::new(),
        model: "tiny".to_owned(),
        api_key_ref: None,
        enabled: true,
        failover: FailoverPolicy::Allowed,
        context_length: None,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
    }
}

fn user(name: &str) -> Subject {
    Subject { kind: SubjectKind::User, name: parse(name) }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
