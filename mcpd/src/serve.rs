//! Serving: what has to be there before the first connection, and the way down.

use crate::trace::Tracer;
use crate::{
    app::App,
    audit::Audit,
    bodies::Bodies,
    config::Settings,
    connections::Connections,
    database::Database,
    limits::{Attempts, Limits},
    metrics::{self, Metrics},
    oidc::Oidc,
    proxy::Upstream,
    stop::Stop,
    store,
    tls::Tls,
};
use anyhow::{Context, anyhow};
use sd_notify::NotifyState;
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::task::TaskTracker;

/// How long connections may take to send their last bytes, once everything was told to end.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Serves until a signal says to stop and what was open has come to its end.
pub(crate) async fn serve(database: Database, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("signals cannot be received")?;
    let tls = settings.tls.files()?.map(Tls::open).transpose()?.map(Arc::new);
    let metrics = Arc::new(Metrics::new()?);
    metrics.begin();
    let store = store::open(database).await?.measured(&metrics.database_waits);
    if !store.moment().await?.snapshot.has_users() {
        tracing::warn!(
            "no users yet, so nobody can log in: stop, run `mcpd bootstrap --admin NAME`, start again"
        );
    }
    let listener = listen(settings.listen).await?;
    let upstream = Upstream::new(&settings.upstream, Arc::clone(&metrics))?;
    let oidc = Oidc::new(settings.structured.oidc.clone(), &metrics)?;
    let limits = Limits::new(&settings.limits, &metrics);
    let attempts = Attempts::new(settings.limits.failed_logins_per_minute);
    let bodies = Arc::new(Bodies::new(settings.max_bodies, settings.max_body));
    let audit = Audit::begin(settings.audit, store.ledger());
    let stop = Stop::default();
    let tracer = Tracer::begin(&settings.trace)?;
    let app = Arc::new(App {
        store,
        settings,
        tls,
        upstream,
        stop,
        audit,
        metrics,
        tracer,
        oidc,
        limits,
        bodies,
        attempts,
    });
    let _metrics = metrics::listen(&app).await?;
    if let Some(tls) = &app.tls {
        tokio::spawn(Arc::clone(tls).follow(app.metrics.tls_expiry.clone()));
    }
    announce(listener.local_addr()?, app.tls.as_deref());

    let connections = Arc::new(Connections::new(&app));
    let begun = TaskTracker::new();
    let was_patient = tokio::select! {
        never = connections.accept(&listener, &begun) => match never {},
        was_patient = leave(&app, &mut signals) => was_patient,
    };
    tracing::info!("stopping: nothing new is begun");
    app.stop.draining.cancel();
    // Whoever comes now is told so, and is not waited for.
    let latecomers = TaskTracker::new();
    let clean = was_patient
        && tokio::select! {
            never = connections.accept(&listener, &latecomers) => match never {},
            () = drain(&app, &begun) => true,
            () = signals.next() => false,
        };
    if clean {
        app.audit.close(LAST_BYTES).await;
        // At most a change that has begun is still to be waited for.
        let _ = tokio::time::timeout(LAST_BYTES, app.store.close()).await;
    }
    tracing::info!(clean, "stopped");
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{address} is taken: another program listens there; choose another with --listen, such as --listen \
             127.0.0.1:3101"
        ),
        _ => anyhow::Error::new(error).context(format!("listening on {address}")),
    })
}

/// Says where the server listens: the one line that it prints. Nobody need be reading it.
fn announce(address: SocketAddr, tls: Option<&Tls>) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "mcpd listening on {scheme}://{address}").and_then(|()| stdout.flush());
    let ends = tls.and_then(Tls::ends).map(|ends| ends.to_string());
    tracing::info!(%address, scheme, tls_certificate_ends = ends, "listening");
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            "tokens and prompts come in without TLS, from other machines too: see --tls-cert, or have a TLS proxy of \
             this machine or pod do it"
        );
    }
    tell(NotifyState::Ready);
}

/// Tells a service manager that waits for it.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Waits for the first signal, and then, not ready any more, for those to find out who send requests. False if a second
/// signal ended the wait.
async fn leave(app: &App, signals: &mut Signals) -> bool {
    signals.next().await;
    tell(NotifyState::Stopping);
    app.stop.leaving.cancel();
    let delay = app.settings.drain_delay;
    if delay.is_zero() {
        return true;
    }
    tracing::info!("leaving: not ready any more, requests are still taken");
    tokio::select! {
        () = tokio::time::sleep(delay) => true,
        () = signals.next() => false,
    }
}

/// Waits for the connections from before the drain; at its limit, ends what is still open.
async fn drain(app: &App, begun: &TaskTracker) {
    begun.close();
    if tokio::time::timeout(app.settings.drain, begun.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(open = begun.len(), "the drain is over: what is still open is ended");
    app.stop.ending.cancel();
    let _ = tokio::time::timeout(LAST_BYTES, begun.wait()).await;
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
