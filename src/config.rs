//! Contexts: which server is meant. No secret is in this file.

use crate::{
    credential::TokenCommand,
    environment::Environment,
    files::{self, FileError},
    http, sabotage,
    yaml::{self, Mistakes},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use url::Url;

const SIZE_MAX: u64 = 1 << 20;

/// The config file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The context that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_context: Option<String>,
    /// All contexts.
    #[serde(default)]
    pub contexts: Vec<Context>,
}

/// One server, by a name of the user's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The server's URL.
    pub server: String,
    /// More certificate authorities to trust, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Plain HTTP to another machine is accepted: the token and all prompts can be read on the way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_http: bool,
    /// A program that prints the token, and its arguments. It is run without a shell, for this context only; the file
    /// must then be one that nobody else may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_command: Option<TokenCommand>,
}

impl Context {
    /// A context with nothing but its server.
    #[must_use]
    pub fn new(name: String, server: String) -> Self {
        Self { name, server, ca_file: None, insecure_http: false, token_command: None }
    }
}

/// Says whether two contexts lead to one origin, by whatever words.
#[must_use]
pub fn is_same_origin(one: &Context, other: &Context) -> bool {
    let origin = |context: &Context| {
        parse_server(&context.server, true).map(|url| url.origin().ascii_serialization()).ok()
    };
    origin(one) == origin(other)
}

/// Why no server is known, or the config cannot be used. Each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What the file says is wrong.
    #[error("{0}")]
    Content(#[from] Mistakes),
    /// Neither `HOME` nor `XDG_CONFIG_HOME` is set.
    #[error("there is no config folder: set HOME, XDG_CONFIG_HOME or MCPCTL_CONFIG")]
    NoFolder,
    /// No flag, no variable, no context.
    #[error("no server is configured: mcpctl config set-context NAME --server URL (or set MCPCTL_SERVER)")]
    NoServer,
    /// There is no context of that name.
    #[error("no context is named \"{name}\"{}", near.as_ref().map_or(String::new(), |n| format!(" (did you mean \"{n}\"?)")))]
    NoContext {
        /// The name that was asked for.
        name: String,
        /// The nearest that exists.
        near: Option<String>,
    },
    /// The URL of the server is not one.
    #[error(
        "the server \"{0}\" must be https://HOST[:PORT], or http:// for this machine, with nothing after it{hint}",
        hint = meant_url(.0).map_or(String::new(), |url| format!(" (did you mean {url}?)"))
    )]
    Server(String),
    /// The variable names a file that is not there: most likely its name is misspelt.
    #[error("MCPCTL_CONFIG names {}, which does not exist", .0.display())]
    NotThere(PathBuf),
    /// The token would be readable on the way.
    #[error(
        "plain http to {0} would show the token and all prompts to everybody on the way: use https (or `config set-context NAME --server URL --insecure-http`)"
    )]
    PlainHttp(String),
}

/// Where the server is, after flags, environment and contexts have been looked at.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its origin: scheme, host and port; the path is `/`.
    pub url: Url,
    /// The context it comes from; none if it was given by flag or variable.
    pub context: Option<String>,
    /// More certificate authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// The program that prints the token for it.
    pub token_command: Option<TokenCommand>,
}

impl Server {
    /// `https://mcpd.example.com`, with the port where it is not the usual one.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// What a URL without its scheme was meant to be, if it is one with it.
fn meant_url(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let with = |scheme: &str| {
        let url = format!("{scheme}://{text}");
        parse_server(&url, false).ok().map(|_| url)
    };
    with("http").or_else(|| with("https"))
}

/// Checks the URL of a server.
pub fn parse_server(text: &str, insecure_http: bool) -> Result<Url, ConfigError> {
    let wrong = || ConfigError::Server(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() || url.host_str().is_none() {
        // A password in it must not be repeated.
        let shown = if text.contains('@') { "(not shown)" } else { text };
        return Err(ConfigError::Server(shown.to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if http::is_loopback(&url) || insecure_http || sabotage::PLAIN_HTTP => Ok(url),
        "http" => Err(ConfigError::PlainHttp(http::target(&url))),
        _ => Err(wrong()),
    }
}

/// The server that is meant, by flags, variables and the config file.
pub fn meant(env: &Environment, server: Option<&str>, context: Option<&str>) -> Result<Server, ConfigError> {
    let config = match Config::path(env) {
        Ok(path) => Config::read(env, &path)?,
        // Who names the server needs no config, and so no folder for one.
        Err(ConfigError::NoFolder) => Config::default(),
        Err(error) => return Err(error),
    };
    config.server(env, server, context)
}

impl Config {
    /// Where the file is, whether or not it exists.
    pub fn path(env: &Environment) -> Result<PathBuf, ConfigError> {
        let default = || env.config_folder().map(|folder| folder.join("config.yaml"));
        env.var("MCPCTL_CONFIG").map(PathBuf::from).or_else(default).ok_or(ConfigError::NoFolder)
    }

    /// Reads the file; one that is absent although a variable names it is an error.
    pub fn read(env: &Environment, path: &Path) -> Result<Self, ConfigError> {
        let is_absent = || path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if env.var("MCPCTL_CONFIG").is_some() && is_absent() {
            return Err(ConfigError::NotThere(path.into()));
        }
        Self::load(path)
    }

    /// Reads the file; an absent one is empty. One that names programs to run must be safe from others.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (bytes, unsafe_because) = match files::read_trusted(path, SIZE_MAX) {
            Ok(bytes) => (bytes, None),
            Err(FileError::Missing(_)) => return Ok(Self::default()),
            Err(error @ (FileError::Writable { .. } | FileError::Foreign { .. })) => {
                (files::read(path, SIZE_MAX)?, Some(error))
            }
            Err(error) => return Err(error.into()),
        };
        let config = Self::parse(path, &bytes)?;
        match unsafe_because {
            Some(error) if config.names_programs() => Err(error.into()),
            Some(_) | None => Ok(config),
        }
    }

    fn names_programs(&self) -> bool {
        self.contexts.iter().any(|context| context.token_command.is_some())
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = String::from_utf8_lossy(bytes);
        let text = yaml::without_mark(&text);
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed = yaml::from_str(text).map(|(config, _)| config);
        parsed.map_err(|problems| Mistakes::new(path, text, problems).into())
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = yaml::to_string(self);
        Ok(files::write_private(path, text.as_bytes())?)
    }

    /// The context of this name.
    pub fn context(&self, name: &str) -> Result<&Context, ConfigError> {
        self.contexts.iter().find(|context| context.name == name).ok_or_else(|| {
            let names: Vec<_> = self.contexts.iter().map(|context| context.name.as_str()).collect();
            let near = yaml::nearest(name, &names).map(str::to_owned);
            ConfigError::NoContext { name: name.to_owned(), near }
        })
    }

    /// Adds or changes a context. The first one becomes the current one.
    pub fn put(&mut self, context: Context) -> Result<(), ConfigError> {
        parse_server(&context.server, context.insecure_http)?;
        self.current_context.get_or_insert_with(|| context.name.clone());
        match self.contexts.iter_mut().find(|known| known.name == context.name) {
            Some(known) => *known = context,
            None => self.contexts.push(context),
        }
        Ok(())
    }

    /// Removes a context. True if it was the current one; then there is none.
    pub fn remove(&mut self, name: &str) -> Result<bool, ConfigError> {
        self.context(name)?;
        self.contexts.retain(|context| context.name != name);
        Ok(self.current_context.take_if(|current| current == name).is_some())
    }

    /// The server that is meant: by flag, else by variable, else by context.
    pub fn server(
        &self,
        env: &Environment,
        server: Option<&str>,
        context: Option<&str>,
    ) -> Result<Server, ConfigError> {
        // A flag of either kind wins over a variable of either kind.
        let from_env = if context.is_none() { env.var("MCPCTL_SERVER") } else { None };
        if let Some(text) = server.or(from_env) {
            return Ok(Server {
                url: parse_server(text, false)?,
                context: None,
                ca_file: None,
                token_command: None,
            });
        }
        let name = context.or_else(|| env.var("MCPCTL_CONTEXT")).or(self.current_context.as_deref());
        let context = self.context(name.ok_or(ConfigError::NoServer)?)?;
        Ok(Server {
            url: parse_server(&context.server, context.insecure_http)?,
            context: Some(context.name.clone()),
            ca_file: context.ca_file.clone(),
            token_command: context.token_command.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn p08_plain_http_goes_to_this_machine_only() {
        assert!(matches!(parse_server("http://mcpd.example.com", false), Err(ConfigError::PlainHttp(_))));
        for fine in
            ["http://127.0.0.1:3100", "http://localhost:1", "http://[::1]:1", "https://mcpd.example.com"]
        {
            assert!(parse_server(fine, false).is_ok(), "{fine}");
        }
        assert!(parse_server("http://mcpd.example.com", true).is_ok());
        for wrong in
            ["mcpd.example.com", "ftp://x", "https://x/api", "https://x?token=1", "https://u:canary@x", ""]
        {
            let error = parse_server(wrong, true).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_contexts_is_skipped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, contexts) in
            [("\u{feff}contexts: [{ name: a, server: 'https://a' }]\n", 1), ("\u{feff}\n", 0)]
        {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(Config::load(file.path()).unwrap().contexts.len(), contexts);
        }
    }

    fn context(name: &str, server: &str) -> Context {
        Context::new(name.into(), server.into())
    }

    #[test]
    fn k06_a_file_that_others_may_write_names_no_program_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let plain = "contexts: [{ name: a, server: 'https://a' }]\n";
        let naming = "contexts: [{ name: a, server: 'https://a', tokenCommand: [pass] }]\n";
        for (text, mode, fine) in
            [(plain, 0o600, true), (plain, 0o622, true), (naming, 0o600, true), (naming, 0o622, false)]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Config::load(&path).is_ok(), fine, "{mode:o} {text}");
        }
    }

    #[test]
    fn a_command_belongs_to_its_context_and_to_no_server_that_is_named_otherwise() {
        let mut config = Config::default();
        let command = vec!["pass".to_owned()].try_into().ok();
        config.put(Context { token_command: command, ..context("a", "https://a.example") }).unwrap();
        let none = Environment::default();
        assert!(config.server(&none, None, None).unwrap().token_command.is_some());
        for (env, server) in [
            (none, Some("https://a.example")),
            (Environment::from([("MCPCTL_SERVER", "https://a.example")]), None),
        ] {
            assert!(config.server(&env, server, None).unwrap().token_command.is_none());
        }
    }

    #[test]
    fn flags_win_over_variables_over_the_current_context() {
        let mut config = Config::default();
        for name in ["a", "b", "c"] {
            let server = format!("https://{name}.example");
            config.put(context(name, &server)).unwrap();
        }
        let origin =
            |env: &Environment, server, context| config.server(env, server, context).unwrap().origin();
        let (none, some) = (Environment::default(), Environment::from([("MCPCTL_CONTEXT", "b")]));
        let all = Environment::from([("MCPCTL_CONTEXT", "b"), ("MCPCTL_SERVER", "https://e.example")]);
        assert_eq!(origin(&none, None, None), "https://a.example");
        assert_eq!(origin(&some, None, None), "https://b.example");
        assert_eq!(origin(&all, None, None), "https://e.example");
        assert_eq!(origin(&all, None, Some("c")), "https://c.example");
        assert_eq!(origin(&all, Some("https://f.example"), Some("c")), "https://f.example");
        let error = config.server(&none, None, Some("aa")).unwrap_err().to_string();
        assert_eq!(error, "no context is named \"aa\" (did you mean \"a\"?)");
    }
}
