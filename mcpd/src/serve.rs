//! Serving: the accept loop, one task a connection, and the way down.

use crate::{
    app::App,
    audit::Audit,
    config::Settings,
    database::Database,
    framing::{Ambiguous, Framing},
    metrics::{self, Metrics},
    proxy::Upstream,
    routes,
    socket::ClientSocket,
    stop::Stop,
    store,
};
use anyhow::{Context, anyhow};
use http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long the head of a request may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes and in headers.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// How long connections may take to send their last bytes, once everything was told to end.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// How long to wait when no connection can be accepted, for want of file descriptors for example.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until a signal says to stop and what was open has come to its end.
pub(crate) async fn serve(database: Database, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("signals cannot be received")?;
    let metrics = Arc::new(Metrics::new()?);
    metrics.begin();
    let store = store::open(database).await?.measured(&metrics.database_waits);
    if !store.moment().await?.snapshot.has_users() {
        tracing::warn!(
            "no users yet, so nobody can log in: stop, run `mcpd bootstrap --admin NAME`, start again"
        );
    }
    let listener = listen(settings.listen).await?;
    let upstream = Upstream::new(&settings)?;
    let audit = Audit::begin(settings.audit, store.ledger());
    let app = Arc::new(App { store, settings, upstream, stop: Stop::default(), audit, metrics });
    let _metrics = metrics::listen(&app).await?;
    announce(listener.local_addr()?);

    let server = Server::new(Arc::clone(&app));
    tokio::select! {
        never = server.accept(&listener, &server.begun) => match never {},
        () = signals.next() => {}
    }
    tracing::info!("stopping: nothing new is begun");
    app.stop.draining.cancel();
    // Whoever comes now is told so, and is not waited for.
    let latecomers = TaskTracker::new();
    let clean = tokio::select! {
        never = server.accept(&listener, &latecomers) => match never {},
        () = server.drain() => true,
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
fn announce(address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "mcpd listening on http://{address}").and_then(|()| stdout.flush());
    tracing::info!(%address, "listening");
}

struct Server {
    app: Arc<App>,
    http: http1::Builder,
    router: axum::Router,
    /// The connections from before the drain.
    begun: TaskTracker,
}

impl Server {
    fn new(app: Arc<App>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_MAX)
            .max_buf_size(HEAD_MAX);
        let router = routes::router(Arc::clone(&app));
        Self { app, http, router, begun: TaskTracker::new() }
    }

    /// Takes connections for ever.
    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.attend(stream, tasks),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn attend(&self, stream: TcpStream, tasks: &TaskTracker) {
        // Without it the kernel holds back a token until the one before is acknowledged. A socket that is gone
        // already shows at the first read.
        let _ = stream.set_nodelay(true);
        let ambiguous = Ambiguous::default();
        let framing = Framing::new(ambiguous.clone());
        let stream = ClientSocket::new(stream, framing, self.app.settings.client_stall_timeout);
        let service = self.router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ambiguous.clone());
            request
        });
        let service = TowerToHyperService::new(service);
        let mut connection = self.http.serve_connection(TokioIo::new(stream), service);
        let draining = self.app.stop.draining.clone();
        tasks.spawn(async move {
            let mut connection = std::pin::Pin::new(&mut connection);
            if !draining.is_cancelled() {
                tokio::select! {
                    // What ends one connection is between us and that client.
                    _ = &mut connection => return,
                    () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
                }
            }
            let _ = connection.await;
        });
    }

    /// Waits for the connections from before the drain; at its limit, ends what is still open.
    async fn drain(&self) {
        self.begun.close();
        if tokio::time::timeout(self.app.settings.drain, self.begun.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(open = self.begun.len(), "the drain is over: what is still open is ended");
        self.app.stop.ending.cancel();
        let _ = tokio::time::timeout(LAST_BYTES, self.begun.wait()).await;
    }
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
