//! What somebody has shown to be let in, and how long it holds: a token of ours, or what an issuer says of them.
//!
//! Nothing of it is kept from one request to the next, but for the keys of issuers. What a login may do is looked up in
//! the state that a request is decided on.

use crate::{
    app::App,
    bearer::Bearer,
    oidc::Assertion,
    policy::Rights,
    problem::Problem,
    record::Record,
    store::{Moment, Snapshot, StoredToken, Who},
};
use jiff::{SignedDuration, Timestamp};
use mcp_api::{Secret, Subject, SubjectKind, SubjectName};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// What a request shows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// A token of ours.
    Token(Bearer),
    /// What could be a JWT of somebody else.
    Jwt(Secret),
}

impl Shown {
    /// The id of the token that this says it is.
    pub(crate) fn token_id(&self) -> Option<&str> {
        match self {
            Self::Token(bearer) => Some(bearer.id()),
            Self::Jwt(_) => None,
        }
    }
}

/// What was found good.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    /// A token that is stored here.
    Token(StoredToken),
    /// The word of an issuer. Its subject need not be known here.
    Assertion(Arc<Assertion>),
}

impl Login {
    /// Who it is.
    pub(crate) fn subject(&self) -> &Subject {
        match self {
            Self::Token(token) => &token.subject,
            Self::Assertion(assertion) => &assertion.subject,
        }
    }

    /// The public part of the token; of a JWT its issuer and its `jti`. The two never look alike.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Token(token) => &token.id,
            Self::Assertion(assertion) => &assertion.id,
        }
    }

    /// Who it is, for the audit trail.
    pub(crate) fn who(&self) -> Who {
        Who { subject: self.subject().clone(), token_id: self.id().to_owned() }
    }

    /// When it ends by itself.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Token(token) => token.expires_at,
            Self::Assertion(assertion) => Some(assertion.expires_at),
        }
    }

    /// The same one in a later state, if it is still good there.
    pub(crate) fn renewed(&self, moment: &Moment) -> Option<Self> {
        match self {
            Self::Token(token) => {
                let token = moment.snapshot.token(&token.id).filter(|token| token.is_valid(moment.now))?;
                Some(Self::Token(token.clone()))
            }
            Self::Assertion(assertion) => {
                let stands = assertion.is_valid(moment.now) && assertion.is_known(&moment.snapshot);
                stands.then(|| self.clone())
            }
        }
    }

    /// What it may do: what its subject may, and what the groups may that its issuer says it is in.
    pub(crate) fn rights<'a>(&self, snapshot: &'a Snapshot) -> Cow<'a, Rights> {
        match self {
            Self::Token(token) => Cow::Borrowed(snapshot.rights(&token.subject)),
            Self::Assertion(assertion) => {
                Cow::Owned(Rights::joined(assertion.subjects().map(|subject| snapshot.rights(subject))))
            }
        }
    }

    /// The groups that it is in, by what is known here and by its issuer, in the order of their names.
    pub(crate) fn groups(&self, snapshot: &Snapshot) -> Vec<SubjectName> {
        let mut groups: BTreeSet<SubjectName> = snapshot.groups_of(self.subject()).into_iter().collect();
        if let Self::Assertion(assertion) = self {
            debug_assert!(assertion.groups.iter().all(|group| group.kind == SubjectKind::Group));
            groups.extend(assertion.groups.iter().map(|group| group.name.clone()));
        }
        groups.into_iter().collect()
    }

    /// Says whether a report is this one's that says whose it is by a token, or by what stands for one. Of tokens of
    /// issuers nothing is kept, so that those of another one are nobody's.
    pub(crate) fn may_report_for(&self, id: &str, snapshot: &Snapshot) -> bool {
        let is_own = match self {
            Self::Token(_) => false,
            Self::Assertion(assertion) => assertion.id == id || assertion.owner.as_deref() == Some(id),
        };
        is_own || snapshot.token(id).is_some_and(|token| token.subject == *self.subject())
    }

    /// For how long a token may last that is made with this one, if not for ever.
    pub(crate) fn token_max(&self) -> Option<SignedDuration> {
        match self {
            Self::Token(_) => None,
            Self::Assertion(assertion) => Some(assertion.token_max),
        }
    }

    /// What belongs to one user of this server whatever token they show: a stored token, or the subject of an issuer,
    /// who can have as many tokens as they like.
    pub(crate) fn holder(&self) -> String {
        match self {
            Self::Token(token) => token.id.clone(),
            Self::Assertion(assertion) => format!("{}/{}", assertion.subject.kind, assertion.subject.name),
        }
    }
}

impl App {
    /// Finds out who shows something, and the state to decide on: one from after everything that had to be waited for.
    pub(crate) async fn log_in(&self, shown: &Shown, record: &Record) -> Result<(Login, Moment), Problem> {
        match shown {
            Shown::Token(bearer) => {
                let moment = self.store.moment().await?;
                let token = bearer.found(&moment).ok_or(Problem::Unauthenticated)?;
                Ok((Login::Token(token.clone()), moment))
            }
            Shown::Jwt(jwt) => {
                let verified = self.oidc.verify(jwt).await;
                let moment = self.store.moment().await?;
                let assertion = verified.map_err(|refusal| {
                    let request_id = record.request_id();
                    tracing::info!(request_id, why = %refusal, "a JWT is not taken");
                    if refusal.is_unknown() { Problem::IssuerAway } else { Problem::Unauthenticated }
                })?;
                if !assertion.is_valid(moment.now) {
                    let (request_id, until) = (record.request_id(), assertion.expires_at);
                    tracing::info!(request_id, id = assertion.id, %until, "a JWT is not taken: it does not count now");
                    return Err(Problem::Unauthenticated);
                }
                if !assertion.is_known(&moment.snapshot) {
                    let (request_id, name) = (record.request_id(), assertion.subject.name.as_str());
                    let id = &assertion.id;
                    tracing::info!(
                        request_id,
                        id,
                        name,
                        "a JWT is not taken: its subject is not registered here"
                    );
                    return Err(Problem::Unauthenticated);
                }
                Ok((Login::Assertion(Arc::new(assertion)), moment))
            }
        }
    }
}

impl Assertion {
    /// Says whether its subject is here, if it has to be.
    fn is_known(&self, snapshot: &Snapshot) -> bool {
        !self.needs_registered || snapshot.subject(&self.subject).is_some()
    }
}

impl Bearer {
    /// The stored token that this is, if it is valid. Takes as long whether or not there is one of its id.
    fn found<'a>(&self, moment: &'a Moment) -> Option<&'a StoredToken> {
        let token = moment.snapshot.token(self.id());
        // The hash first: who does not know the secret learns nothing about the token.
        let is_known = self.is_of(token.map(|token| &token.hash));
        token.filter(|token| is_known && token.is_valid(moment.now))
    }
}
