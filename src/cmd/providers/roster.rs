//! Which engines can be meant: those of the provider file, and those that were started here, whatever the file says
//! by now.

use crate::{
    cmd::{Run, Usage},
    engine::{EngineError, Place, PlaceError, Unfit},
    providers_file::{Kind, Provider, ProvidersError, ProvidersFile},
    yaml,
};
use mcp_api::name::check_name;
use std::collections::BTreeSet;

/// The engines of this machine and user.
pub(super) struct Roster {
    file: Result<Option<ProvidersFile>, ProvidersError>,
    started: Vec<String>,
}

/// What the file says of a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Declared<'a> {
    /// This.
    As(&'a Provider),
    /// Nothing, or that it is no engine of ours.
    Not,
    /// The file cannot be read.
    Unknown,
}

impl Roster {
    /// Looks. A file that cannot be used is an error only of those commands that need it. Without a folder for records
    /// nothing could be said of any engine.
    pub(super) fn of(run: &Run<'_>) -> Result<Self, EngineError> {
        run.env.state_folder().ok_or(EngineError::Place(PlaceError::NoFolder))?;
        let mut started = Place::all(&run.env);
        // What has another name lies there by accident.
        started.retain(|name| check_name(name).is_ok());
        Ok(Self { file: run.providers(), started })
    }

    /// Says that an engine can have this name.
    pub(super) fn check(self, name: &str) -> anyhow::Result<Self> {
        if self.started.iter().any(|started| started == name) {
            return Ok(self);
        }
        let file = self.file.as_ref().ok().and_then(Option::as_ref);
        if let Some(provider) = file.and_then(|file| file.registry.provider(name)) {
            managed(provider)?;
            return Ok(self);
        }
        let names = self.names();
        self.file?;
        Err(unknown(name, names.iter().map(String::as_str)).into())
    }

    /// The names of all engines, in order.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let providers = self.file.iter().flatten().flat_map(|file| file.registry.providers());
        let managed = providers.filter(|provider| managed(provider).is_ok());
        managed.map(|provider| provider.name.clone()).chain(self.started()).collect()
    }

    /// The names of those that were ever started here.
    pub(super) fn started(&self) -> impl Iterator<Item = String> {
        self.started.iter().cloned()
    }

    /// What the file says of a name.
    pub(super) fn declared(&self, name: &str) -> Declared<'_> {
        let Ok(file) = &self.file else { return Declared::Unknown };
        let provider = file.as_ref().and_then(|file| file.registry.provider(name));
        provider.filter(|provider| managed(provider).is_ok()).map_or(Declared::Not, Declared::As)
    }

    /// Says whether the file has an engine of this name.
    pub(super) fn is_declared(&self, name: &str) -> bool {
        matches!(self.declared(name), Declared::As(_))
    }

    /// What is wrong with the file.
    pub(super) fn broken(&self) -> Option<&ProvidersError> {
        self.file.as_ref().err()
    }
}

/// The provider of this name.
pub(super) fn provider<'a>(file: Option<&'a ProvidersFile>, name: &str) -> anyhow::Result<&'a Provider> {
    let known = file.into_iter().flat_map(|file| file.registry.providers()).map(|p| p.name.as_str());
    Ok(file.and_then(|file| file.registry.provider(name)).ok_or_else(|| unknown(name, known))?)
}

/// Says that a provider has an engine of ours.
pub(super) fn managed(provider: &Provider) -> Result<(), EngineError> {
    match provider.kind {
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => Ok(()),
        Kind::OpenAi(_) => Err(Unfit::NotManaged(provider.name.clone()).into()),
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Usage {
    let known: Vec<_> = known.collect();
    let near =
        yaml::nearest(name, &known).map_or(String::new(), |near| format!(" (did you mean \"{near}\"?)"));
    Usage(format!("no provider is named \"{name}\"{near}"))
}
