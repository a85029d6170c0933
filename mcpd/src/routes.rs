//! Every route, on one screen. Everything else is a 404 that says so.

use crate::{
    app::App, audit::trail, failover_reports, frame::frame, health, identity, infer, llms, metrics, openai,
    openapi, problem::Problem, rbac, subjects, tokens,
};
use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter},
};
use mcp_api::paths;
use std::sync::Arc;

/// Writes the table once, for the router and for the test that walks it.
macro_rules! routes {
    ($($path:path => $($method:ident $handler:path),+;)+) => {
        /// Every path with the methods that it takes.
        pub const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$(stringify!($method)),+])),+];

        fn table() -> Router<Arc<App>> {
            Router::new()$(.route($path, MethodRouter::new()$(.on(MethodFilter::$method, $handler))+))+
        }
    };
}

routes! {
    paths::LLMS     => GET llms::list, POST llms::create;
    paths::LLM      => GET llms::show, HEAD llms::show, PUT llms::replace, PATCH llms::edit, DELETE llms::delete;
    paths::INFER    => POST infer::infer;
    paths::OPENAI_CHAT        => POST openai::chat;
    paths::OPENAI_COMPLETIONS => POST openai::completions;
    paths::OPENAI_EMBEDDINGS  => POST openai::embeddings;
    paths::OPENAI_RESPONSES   => POST openai::responses;
    paths::OPENAI_MODELS      => GET openai::models;
    paths::OPENAI_MODEL       => GET openai::model;
    paths::RBACS    => GET rbac::list, POST rbac::create;
    paths::RBAC     => GET rbac::show, PUT rbac::replace, DELETE rbac::delete;
    paths::SUBJECTS => GET subjects::list, POST subjects::create;
    paths::SUBJECT  => GET subjects::show, PUT subjects::replace, DELETE subjects::delete;
    paths::TOKENS   => GET tokens::list, POST tokens::create;
    paths::TOKEN    => GET tokens::show, DELETE tokens::revoke;
    paths::WHOAMI   => GET identity::whoami;
    paths::CAN_I    => POST identity::can_i;
    paths::AUDIT    => GET trail::list;
    paths::AUDIT_HEAD => GET trail::head;
    paths::FAILOVER_REPORTS => POST failover_reports::take;
    paths::HEALTHZ  => GET health::healthz;
    paths::READYZ   => GET health::readyz;
    paths::VERSION  => GET health::version;
    paths::METRICS  => GET metrics::show;
    paths::OPENAPI  => GET openapi::show;
}

pub(crate) fn router(app: Arc<App>) -> Router {
    table()
        .fallback(async || Problem::NoSuchPath)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&app), frame))
        .with_state(app)
}
