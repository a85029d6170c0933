//! What is to be started for a provider, checked before it is: an engine itself reports a wrong path or a taken port
//! ten to forty-five seconds later.

use super::{EngineKind, place};
use crate::{
    environment::Environment,
    providers_file::{Kind, Llamacpp, Managed, Provider, Vllm},
    sabotage,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// All that a supervisor needs to know. It goes to it by a pipe: a command line is seen by everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// The provider's name.
    pub provider: String,
    /// Which engine.
    pub kind: EngineKind,
    /// The model, as the provider file names it.
    pub model: String,
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments, without those that say where it listens and by which name it answers.
    pub args: Vec<String>,
    /// Its whole environment, without what belongs to one start only.
    pub env: BTreeMap<String, String>,
    /// A hash of what was declared: another declaration needs another engine.
    pub fingerprint: String,
    /// None: a Unix socket; 0: a free port of 127.0.0.1; else that port.
    pub port: Option<u16>,
    /// After how many seconds without a request it stops; 0 is never.
    pub idle_seconds: f64,
    /// After how many seconds without a line in its log a start has failed.
    pub stall_seconds: u64,
    /// The start goes on when nobody waits for it.
    pub unattended: bool,
    /// The folder of its record.
    pub place: PathBuf,
    /// The folder of its socket.
    pub sockets: PathBuf,
}

/// Why an engine cannot be started as it is declared. Each text names what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The provider has no engine of ours.
    #[error("provider \"{0}\" is not managed: mcpctl neither starts nor stops it")]
    NotManaged(String),
    /// No such program.
    #[error("there is no program {path} ({key} of provider \"{provider}\")", path = path.display())]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
        /// The key of the provider file that says where.
        key: &'static str,
        /// The provider.
        provider: String,
    },
    /// It is not a program.
    #[error("{path} cannot be run: {why}", path = .0.display(), why = .1)]
    NotRunnable(PathBuf, &'static str),
    /// It is not on `PATH`.
    #[error("{program} is not on PATH; give {key}, or install {title}")]
    NotOnPath {
        /// The program.
        program: &'static str,
        /// The key of the provider file that would say where it is.
        key: &'static str,
        /// What to install.
        title: &'static str,
    },
    /// The model is not there or not a model.
    #[error("model {model}: {why}")]
    Model {
        /// As the provider file names it.
        model: String,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody listens there.
    #[error(
        "port {0} of this machine is taken; free it, or give the provider another `port` (or none: a Unix socket)"
    )]
    PortTaken(u16),
}

/// The variables of the caller that an engine may see. An allow-list: no token of ours, no loader or interpreter
/// variable, no key of anybody.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
];

/// Says what would be started for a provider, and that it can be, as far as a look can tell.
///
/// `place` and `sockets` are the folders of its record and of its socket.
pub fn launch(
    provider: &Provider,
    env: &Environment,
    place: PathBuf,
    sockets: PathBuf,
) -> Result<Launch, Unfit> {
    let (kind, managed, program, args) = declared(provider, env)?;
    check_model(kind, &provider.model, managed, env)?;
    let fingerprint = fingerprint(provider, managed, &args);
    Ok(Launch {
        fingerprint,
        provider: provider.name.clone(),
        kind,
        model: provider.model.clone(),
        program,
        args,
        env: environment(kind, managed, env),
        port: managed.port,
        idle_seconds: managed.idle_timeout_minutes * 60.0,
        stall_seconds: managed.start_timeout_seconds,
        unattended: false,
        place,
        sockets,
    })
}

/// Says whether a provider could be started, without making anything. Its port is left out if an engine of ours may
/// still hold it.
pub fn check(provider: &Provider, env: &Environment, with_port: bool) -> Result<(), Unfit> {
    let (kind, managed, ..) = declared(provider, env)?;
    check_model(kind, &provider.model, managed, env)?;
    if with_port { check_port(managed.port) } else { Ok(()) }
}

/// The port is free. Only who is about to start an engine can ask: the engine itself holds it afterwards.
pub fn check_port(port: Option<u16>) -> Result<(), Unfit> {
    match port {
        Some(port @ 1..) if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() => {
            Err(Unfit::PortTaken(port))
        }
        Some(_) | None => Ok(()),
    }
}

/// A hash of everything by which one declared engine differs from another. The environment of the caller is no part of
/// it, nor what its `PATH` leads to: a terminal and a timer of one user share an engine.
fn fingerprint(provider: &Provider, managed: &Managed, args: &[String]) -> String {
    let program = match &provider.kind {
        Kind::OpenAi(_) => None,
        Kind::VllmManaged(spec) => spec.venv.as_ref(),
        Kind::LlamacppManaged(spec) => spec.binary.as_ref(),
    };
    let what = (provider.kind.as_str(), &provider.model, program, args, &managed.env, managed.port);
    // Of plain data, and so without a way to fail.
    let text = serde_json::to_vec(&what).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

type Declared<'a> = (EngineKind, &'a Managed, PathBuf, Vec<String>);

fn declared<'a>(provider: &'a Provider, env: &Environment) -> Result<Declared<'a>, Unfit> {
    let mut args: Vec<String>;
    let (kind, managed, named, key) = match &provider.kind {
        Kind::OpenAi(_) => return Err(Unfit::NotManaged(provider.name.clone())),
        Kind::VllmManaged(spec) => {
            args = vec!["serve".into(), provider.model.clone()];
            if let Some(share) = spec.gpu_memory_utilization {
                args.extend(["--gpu-memory-utilization".into(), share.to_string()]);
            }
            if let Some(tokens) = spec.max_model_len {
                args.extend(["--max-model-len".into(), tokens.to_string()]);
            }
            let program = spec.venv.as_ref().map(|venv| venv.join("bin/vllm"));
            (EngineKind::Vllm, &spec.managed, program, "venvPath")
        }
        Kind::LlamacppManaged(spec) => {
            args = vec!["--model".into(), provider.model.clone(), "--jinja".into(), "--metrics".into()];
            if let Some(tokens) = spec.context_size {
                args.extend(["--ctx-size".into(), tokens.to_string()]);
            }
            (EngineKind::Llamacpp, &spec.managed, spec.binary.clone(), "binaryPath")
        }
    };
    args.extend(managed.extra_args.iter().cloned());
    let program = match named {
        Some(path) if !path.exists() => {
            return Err(Unfit::NoProgram { path, key, provider: provider.name.clone() });
        }
        Some(path) => path,
        None => on_path(kind, key, env)?,
    };
    runnable(&program)?;
    Ok((kind, managed, program, args))
}

/// Only absolute folders count: a relative one means another program in every folder.
fn on_path(kind: EngineKind, key: &'static str, env: &Environment) -> Result<PathBuf, Unfit> {
    let traits = kind.traits();
    let folders = std::env::split_paths(env.var("PATH").unwrap_or_default()).collect::<Vec<_>>();
    folders
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(traits.program))
        .find(|program| runnable(program).is_ok())
        .ok_or(Unfit::NotOnPath { program: traits.program, key, title: traits.title })
}

fn runnable(program: &Path) -> Result<(), Unfit> {
    match fs::metadata(program) {
        Err(_) => Err(Unfit::NotRunnable(program.into(), "it cannot be read")),
        Ok(meta) if !meta.is_file() => Err(Unfit::NotRunnable(program.into(), "it is not a file")),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            Err(Unfit::NotRunnable(program.into(), "it is not executable (chmod +x)"))
        }
        Ok(_) => Ok(()),
    }
}

fn check_model(kind: EngineKind, model: &str, managed: &Managed, env: &Environment) -> Result<(), Unfit> {
    let unfit = |why: String| Err(Unfit::Model { model: model.to_owned(), why });
    let path = Path::new(model);
    match kind {
        EngineKind::Llamacpp => {
            let mut magic = [0; 4];
            match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
                Err(error) => unfit(format!("{error}; give the path of a GGUF file")),
                Ok(()) if &magic != b"GGUF" => unfit("this is not a GGUF file".into()),
                Ok(()) => Ok(()),
            }
        }
        EngineKind::Vllm if path.is_absolute() => match path.join("config.json").metadata() {
            Ok(_) => Ok(()),
            Err(_) if !path.exists() => unfit("there is no such folder".into()),
            Err(_) => {
                unfit("there is no config.json in this folder, so it is not a model that vLLM reads".into())
            }
        },
        EngineKind::Vllm => {
            let value = |name: &str| managed.env.get(name).map(String::as_str).or_else(|| env.var(name));
            let offline =
                value("HF_HUB_OFFLINE").is_some_and(|word| matches!(word, "1" | "true" | "TRUE" | "yes"));
            let hub = value("HF_HUB_CACHE").map(PathBuf::from).or_else(|| {
                let home = value("HF_HOME").map(PathBuf::from);
                let default = || env.home().map(|home| home.join(".cache/huggingface"));
                home.or_else(default).map(|folder| folder.join("hub"))
            });
            let Some(hub) = hub.filter(|_| offline) else { return Ok(()) };
            let repository = model.split(':').next().unwrap_or_default();
            let cached = hub.join(format!("models--{}", repository.replace('/', "--")));
            if cached.exists() {
                Ok(())
            } else {
                unfit(format!("it is not in {}, and HF_HUB_OFFLINE forbids to fetch it", hub.display()))
            }
        }
    }
}

fn environment(kind: EngineKind, managed: &Managed, env: &Environment) -> BTreeMap<String, String> {
    let is_inherited = |name: &str| INHERITED.contains(&name) || sabotage::ENV_TO_ENGINE;
    let inherited = env.vars().filter(|(name, _)| is_inherited(name));
    let inherited = inherited.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fixed =
        kind.traits().environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    // The file has the last word.
    inherited.chain(fixed).chain(managed.env.clone()).collect()
}

/// The folders of an engine's files, for [`launch`].
///
/// An engine that listens on a port needs no folder for sockets, and takes one that can be had.
pub fn folders(provider: &Provider, env: &Environment) -> Result<(place::Place, PathBuf), place::PlaceError> {
    let place = place::Place::of(env, &provider.name)?;
    let sockets = match &provider.kind {
        Kind::VllmManaged(Vllm { managed, .. }) | Kind::LlamacppManaged(Llamacpp { managed, .. })
            if managed.port.is_some() =>
        {
            place::socket_folder(env).unwrap_or_default()
        }
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) | Kind::OpenAi(_) => place::socket_folder(env)?,
    };
    Ok((place, sockets))
}

#[cfg(test)]
mod tests;
