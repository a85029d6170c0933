//! What an answer must not tell: who exists, what they hold, and what something is, to who may not view it.

use crate::{caller::Caller, policy::On, problem::Problem};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use mcp_api::{Kind, Resource, RoleBinding, Subject, Verb};
use serde::Serialize;

/// What somebody is told who may view no bindings, whatever it is that they lack.
const UNNAMED: &str = "some of the rights that this is about";

impl Caller {
    /// Lets the caller pass if it holds all that others hold already. What it lacks is named only to who may view all
    /// bindings: whoever may not would learn by it what others may do.
    pub(crate) fn must_hold_unseen<'a>(
        &self,
        held: impl IntoIterator<Item = &'a RoleBinding>,
    ) -> Result<(), Problem> {
        match self.must_hold(held) {
            Err(Problem::Escalation(_)) if !self.rights().allow(Verb::View, On::All(Resource::Rbac)) => {
                Err(Problem::Escalation(UNNAMED.into()))
            }
            decided => decided,
        }
    }

    /// Lets the caller pass if it may view everybody whom it names, whether or not they exist, but for those whom it
    /// was `shown`.
    pub(crate) fn must_view(&self, named: &[Subject], shown: &[Subject]) -> Result<(), Problem> {
        let mut others = named.iter().filter(|subject| !shown.contains(subject));
        if others.all(|subject| self.may_view(subject)) { Ok(()) } else { Err(Problem::Forbidden) }
    }

    /// Says whether the caller may view somebody.
    pub(crate) fn may_view(&self, subject: &Subject) -> bool {
        self.rights().allow(Verb::View, On::One(Resource::Users, &[subject.name.as_str()]))
    }

    /// The answer after something was removed: all of it to who may view it, to others which one it was.
    pub(crate) fn farewell(&self, on: On<'_>, kind: Kind, name: &str, whole: impl IntoResponse) -> Response {
        if self.rights().allow(Verb::View, on) {
            whole.into_response()
        } else {
            Json(Removed { kind: kind.as_str(), name }).into_response()
        }
    }
}

/// What is gone, to who may not know more.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    kind: &'static str,
    name: &'a str,
}
