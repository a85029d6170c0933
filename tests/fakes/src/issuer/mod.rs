//! An issuer of `OpenID` Connect, over TLS, with keys of its own: what a CI system or a cluster is to mcpd.
//!
//! It is one as far as mcpd asks: it answers for its configuration and its keys, and signs whatever a test wants.

mod key;

pub use key::{KeyKind, SigningKey, encoded};

use crate::{
    Certificate,
    server::{End, Server},
    tls, wire,
};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The audience of every token unless it says another one.
pub const AUDIENCE: &str = "https://mcpd.example";

/// The issuer. Ends when it is dropped.
pub struct Issuer {
    server: Server,
    folder: TempDir,
    published: Arc<Mutex<Published>>,
    key: Mutex<SigningKey>,
}

struct Published {
    keys: Value,
    cache_control: String,
    /// The status of every answer.
    status: u16,
    /// Where it says that its keys are, if not where they are.
    elsewhere: Option<String>,
    /// As long as somebody holds it, nobody who asks for keys is answered.
    silence: Arc<RwLock<()>>,
}

impl Issuer {
    /// Starts one with a key for `ES256`.
    pub fn start() -> Self {
        Self::with(KeyKind::P256)
    }

    /// Starts one with a key of this kind.
    pub fn with(kind: KeyKind) -> Self {
        let key = SigningKey::new(kind, "first");
        let published = Published {
            keys: json!({ "keys": [key.public()] }),
            cache_control: "public, max-age=3600".to_owned(),
            status: 200,
            elsewhere: None,
            silence: Arc::default(),
        };
        let published = Arc::new(Mutex::new(published));
        let (config, ca) = tls::tls_identity(Certificate::Good);
        let told = Arc::clone(&published);
        let server = Server::start(
            Some(config),
            Arc::new(move |connection| {
                let Some(request) = connection.read_request()? else { return Ok(End::Politely) };
                let host = request.header("host").unwrap_or_default();
                let silence = Arc::clone(&told.lock().unwrap().silence);
                drop(silence.read().unwrap_or_else(PoisonError::into_inner));
                let Published { keys, cache_control, status, elsewhere, .. } = &*told.lock().unwrap();
                let body = match request.target.as_str() {
                    "/.well-known/openid-configuration" => {
                        let base = format!("https://{host}");
                        let keys = elsewhere.clone().unwrap_or_else(|| format!("{base}/keys"));
                        json!({ "issuer": base, "jwks_uri": keys })
                    }
                    "/keys" => keys.clone(),
                    other => panic!("nobody asks an issuer for {other}"),
                };
                let headers =
                    [("content-type", "application/json"), ("cache-control", cache_control.as_str())];
                connection.send(&wire::http(*status, &headers, body.to_string()))?;
                Ok(End::Politely)
            }),
        );
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.pem"), ca).expect("the folder is writable");
        Self { server, folder, published, key: Mutex::new(key) }
    }

    /// What its tokens say as `iss`.
    pub fn url(&self) -> String {
        format!("https://{}", self.server.addr())
    }

    /// The authority that has signed its certificate, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What the configuration file of a mcpd says of it, with more keys if need be.
    pub fn settings(&self, name: &str, more: Value) -> Value {
        let mut settings = json!({
            "name": name,
            "issuer": self.url(),
            "audiences": [AUDIENCE],
            "caFile": self.ca_file(),
            "keys": { "minRefreshSeconds": 1, "maxAgeSeconds": 2, "keepSeconds": 3600 },
        });
        let Value::Object(more) = more else { panic!("keys and values") };
        settings.as_object_mut().expect("an object").extend(more);
        settings
    }

    /// A configuration file that names this issuer, and nothing else, as `ci`.
    pub fn config_file(&self, more: Value) -> PathBuf {
        let path = self.folder.path().join("mcpd.yaml");
        let text = json!({ "oidc": [self.settings("ci", more)] }).to_string();
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// The key that it signs with.
    pub fn key(&self) -> SigningKey {
        self.key.lock().unwrap().clone()
    }

    /// The claims of a token for five minutes, with others added or put in their place; a null takes one away.
    pub fn claims(&self, more: Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.url(), "aud": AUDIENCE, "sub": "job", "iat": now, "exp": now + 300, "jti": "jti-1",
        });
        let (Value::Object(all), Value::Object(more)) = (&mut claims, more) else { panic!("objects") };
        all.extend(more);
        all.retain(|_, value| !value.is_null());
        claims
    }

    /// A token with these claims beside, or in place of, the usual ones.
    pub fn token(&self, more: Value) -> String {
        let key = self.key();
        let header = json!({ "alg": key.algorithm(), "kid": key.id(), "typ": "JWT" });
        key.token(&header.to_string(), &self.claims(more).to_string())
    }

    /// Signs with another key from now on, and publishes that one and no other.
    pub fn rotate(&self, key: SigningKey) {
        self.publish(json!({ "keys": [key.public()] }));
        *self.key.lock().unwrap() = key;
    }

    /// Publishes something else as its keys.
    pub fn publish(&self, keys: Value) {
        self.published.lock().unwrap().keys = keys;
    }

    /// Answers everything with this status.
    pub fn answer_with(&self, status: u16) {
        self.published.lock().unwrap().status = status;
    }

    /// Says that its keys are at this URL.
    pub fn point_at(&self, keys: &str) {
        self.published.lock().unwrap().elsewhere = Some(keys.to_owned());
    }

    /// Takes questions and answers none of them while `during` runs.
    pub fn silent<T>(&self, during: impl FnOnce() -> T) -> T {
        let silence = Arc::clone(&self.published.lock().unwrap().silence);
        let _held = silence.write().unwrap();
        during()
    }

    /// The paths that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.server.look(|all| all.iter().flat_map(|c| &c.requests).map(|r| r.target.clone()).collect())
    }

    /// Is down from now on: its port refuses.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Is back, on the same port.
    pub fn resume(&self) {
        self.server.resume();
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}
