//! Path segments that are names. A text outside the grammar is no path of this server.

use crate::problem::Problem;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use mcp_api::{Subject, SubjectKind, SubjectName};

/// `{name}`.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) SubjectName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::NoSuchPath)?;
        text.parse().map(Self).map_err(|_| Problem::NoSuchPath)
    }
}

/// `{kind}/{name}`.
#[derive(Debug)]
pub(crate) struct Who(pub(crate) Subject);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((kind, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::NoSuchPath)?;
        let kind = SubjectKind::from_path_segment(&kind).ok_or(Problem::NoSuchPath)?;
        let name = name.parse().map_err(|_| Problem::NoSuchPath)?;
        Ok(Self(Subject { kind, name }))
    }
}
