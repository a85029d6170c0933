//! Names that can be typed: what the server has, what the files of this machine say, and the words of this program.

use crate::{
    cmd::{Global, apply, formats, help},
    config::Config,
    credential,
    engine::Place,
    environment::Environment,
    gateway::Gateway,
    providers_file::{Kind, ProvidersFile},
    render::Format,
};
use clap::builder::ArgExt;
use std::{
    ffi::OsString,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// What of the time is left for the start of the program and for its answer.
const RESERVE: Duration = Duration::from_millis(50);

/// Marks an argument with what its values are names of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cmd) enum Names {
    /// LLMs of the server.
    Llms,
    /// Providers of the provider file.
    Providers,
    /// Providers whose engines mcpctl starts, and engines whose entry is gone.
    Engines,
    /// Contexts of the config.
    Contexts,
    /// Kinds of documents.
    Kinds,
    /// `KIND NAME` or `KIND/NAME`.
    Things,
    /// What may be done with a thing.
    Verbs,
    /// With what: `llm/NAME`, `audit`.
    Resources,
    /// Topics of `help`, and commands.
    Topics,
    /// Formats of one command.
    Formats(&'static [Format]),
}

impl ArgExt for Names {}

/// A command line that somebody is typing.
pub(super) struct Typed {
    env: Environment,
    global: Option<Global>,
    words: Vec<OsString>,
    deadline: Instant,
}

impl Typed {
    pub(super) fn new(
        env: Environment,
        global: Option<Global>,
        words: Vec<OsString>,
        deadline: Instant,
    ) -> Self {
        Self { env, global, words, deadline }
    }

    /// All names of a sort. What a shell would take for more than a word is left out, whoever wrote it.
    pub(super) fn names(&self, names: Names, begun: &str) -> Vec<String> {
        let mut found = match names {
            Names::Llms => self.llms(),
            Names::Providers => self.providers(|_| true),
            Names::Engines => self.engines(),
            Names::Contexts => self.contexts().unwrap_or_default(),
            Names::Kinds => kinds(),
            Names::Things => self.things(begun),
            Names::Verbs => mcp_api::Verb::ALL.iter().map(|verb| verb.as_str().to_owned()).collect(),
            Names::Resources => self.resources(begun),
            Names::Topics => help::topics(),
            Names::Formats(formats) => formats::words(formats),
        };
        found
            .retain(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@/".contains(&byte)));
        found
    }

    /// Those of the server; if it does not answer in time, those that a provider stands in for.
    fn llms(&self) -> Vec<String> {
        self.llms_of_server().unwrap_or_else(|| {
            let file = self.provider_file();
            file.iter().flat_map(|file| file.registry.failovers()).map(|(llm, _)| llm.to_string()).collect()
        })
    }

    /// Typing is no command yet: the token of this environment goes to no server that is only being typed, and nothing
    /// is run to get one.
    fn llms_of_server(&self) -> Option<Vec<String>> {
        let global = self.global.as_ref()?;
        let config =
            Config::path(&self.env).ok().map_or(Some(Config::default()), |path| Config::load(&path).ok())?;
        let server = config.server(&self.env, global.server.as_deref(), global.context.as_deref()).ok()?;
        let is_typed = global.server.is_some() || global.context.is_some();
        let credential = match global.token_file {
            Some(_) => return None,
            None if is_typed => credential::stored_at_hand(&self.env, &server.origin())?,
            None => credential::at_hand(&self.env, None, &server)?,
        };
        let limit = self.deadline.checked_duration_since(Instant::now())?.checked_sub(RESERVE)?;
        // The thread ends with the program: neither a name server nor a server can hold up whoever types.
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            let gateway = Gateway::new(&server, credential.token, limit, limit).ok()?;
            answer.send(gateway.llms().ok()?.items).ok()
        });
        let llms = answers.recv_timeout(limit).ok()?;
        Some(llms.into_iter().map(|llm| llm.name.to_string()).collect())
    }

    fn provider_file(&self) -> Option<ProvidersFile> {
        let typed = self.global.as_ref().and_then(|global| global.providers.clone());
        let named = typed.or_else(|| self.env.var("MCPCTL_PROVIDERS").map(Into::into));
        let path = named.or_else(|| Some(self.env.config_folder()?.join("providers.yaml")))?;
        ProvidersFile::load(&path, self.env.home().as_deref()).ok()
    }

    fn providers(&self, is_meant: fn(&Kind) -> bool) -> Vec<String> {
        let file = self.provider_file();
        let all = file.iter().flat_map(|file| file.registry.providers());
        all.filter(|provider| is_meant(&provider.kind)).map(|provider| provider.name.clone()).collect()
    }

    fn engines(&self) -> Vec<String> {
        let mut names = self.providers(|kind| match kind {
            Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => true,
            Kind::OpenAi(_) => false,
        });
        names.extend(Place::all(&self.env));
        names.sort();
        names.dedup();
        names
    }

    fn contexts(&self) -> Option<Vec<String>> {
        let config = Config::load(&Config::path(&self.env).ok()?).ok()?;
        Some(config.contexts.into_iter().map(|context| context.name).collect())
    }

    /// All of a kind; one LLM once `llm/` is typed.
    fn resources(&self, begun: &str) -> Vec<String> {
        if begun.starts_with("llm/") {
            return self.llms().into_iter().map(|name| format!("llm/{name}")).collect();
        }
        ["llms", "llm/", "rbac", "users", "tokens", "secrets", "audit"].map(str::to_owned).to_vec()
    }

    /// A kind first; after it, or after `llm/`, names.
    fn things(&self, begun: &str) -> Vec<String> {
        if begun.starts_with("llm/") {
            return self.llms().into_iter().map(|name| format!("llm/{name}")).collect();
        }
        let words: Vec<&str> = self.words.iter().filter_map(|word| word.to_str()).collect();
        let command = words.iter().position(|word| matches!(*word, "get" | "delete")).unwrap_or_default();
        let kind = words.iter().skip(command + 1).find_map(|word| apply::sources::kind(word).ok());
        match kind {
            Some(mcp_api::Kind::Llm) => self.llms(),
            Some(_) => Vec::new(),
            None => {
                let all = words.get(command).filter(|word| **word == "get").map(|_| "all".to_owned());
                kinds().into_iter().chain(all).collect()
            }
        }
    }
}

fn kinds() -> Vec<String> {
    apply::kind_words().into_iter().map(str::to_owned).collect()
}
