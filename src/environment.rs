//! The environment variables and folders of this run, read once.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::PathBuf};

/// Environment variables, as they were at the start. An empty one counts as absent, except where it would mean another
/// identity.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    /// Names of our own variables whose values are no text.
    unreadable: Vec<String>,
}

/// Every variable that this program reads, with its meaning: what `mcpctl help environment` shows.
pub const VARIABLES: &[(&str, &str)] = &[
    ("MCPCTL_SERVER", "URL of the server, instead of that of the context"),
    ("MCPCTL_CONTEXT", "name of the context to use, instead of the current one"),
    ("MCPCTL_TOKEN", "token; sent to the server that is used, whichever it is"),
    ("MCPCTL_TOKEN_FILE", "file that holds the token: yours alone (chmod 600), one line"),
    ("MCPCTL_PROVIDERS", "path of the provider file"),
    ("MCPCTL_CONFIG", "path of the config file"),
    ("MCPCTL_OUTPUT", "default of -o"),
    (
        "XDG_CONFIG_HOME",
        "folder of mcpctl/config.yaml, mcpctl/providers.yaml and stored tokens; ~/.config if absent",
    ),
    ("XDG_STATE_HOME", "folder of mcpctl's records, locks and logs of engines; ~/.local/state if absent"),
    (
        "XDG_RUNTIME_DIR",
        "folder of the sockets of engines; /tmp/mcpctl-UID if absent, open to others or too long",
    ),
    ("HTTPS_PROXY, NO_PROXY", "proxy for the server; never used for this machine"),
    ("NO_COLOR, CLICOLOR_FORCE", "no colours; colours also in a pipe (NO_COLOR wins over it)"),
];

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.vars.insert(name, value)),
                Err(_) if name.starts_with("MCPCTL_") => environment.unreadable.push(name),
                Err(_) => {}
            }
        }
        environment
    }

    /// A variable of ours whose value is not UTF-8: passing over it could mean another server or another identity.
    #[must_use]
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.first().map(String::as_str)
    }

    /// The value of a variable, unless it is empty.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables that are not empty, with their values.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        let vars = self.vars.iter().filter(|(_, value)| !value.is_empty());
        vars.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Says whether a variable is set to nothing.
    #[must_use]
    pub fn is_empty(&self, name: &str) -> bool {
        self.vars.get(name).is_some_and(String::is_empty)
    }

    /// The same with another variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The program of this name on `PATH`. Only absolute folders count: a relative one would mean another program in
    /// every folder.
    #[must_use]
    pub fn on_path(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(self.var("PATH").unwrap_or_default())
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .find(|path| {
                path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
            })
    }

    /// `$XDG_CONFIG_HOME/mcpctl`.
    #[must_use]
    pub fn config_folder(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME", ".config")
    }

    /// `$XDG_STATE_HOME/mcpctl`.
    #[must_use]
    pub fn state_folder(&self) -> Option<PathBuf> {
        self.folder("XDG_STATE_HOME", ".local/state")
    }

    /// The XDG specification has relative values ignored.
    fn folder(&self, variable: &str, default: &str) -> Option<PathBuf> {
        let given = self.var(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| self.home().map(|home| home.join(default))).map(|base| base.join("mcpctl"))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(vars: [(&str, &str); N]) -> Self {
        Self {
            vars: vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            ..Self::default()
        }
    }
}
