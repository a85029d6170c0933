//! What is started, for which machine and which entry of a provider file.

use super::*;
use std::os::unix::fs::symlink;

/// A machine with a program and a model.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let machine = Self { home };
        machine.program("bin/llama-server");
        fs::write(machine.path("tiny.gguf"), b"GGUF and more").unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn program(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn env(&self, more: &[(&str, &str)]) -> Environment {
        let path = format!(".:relative:/nonexistent:{}", self.path("bin").display());
        let mut env = Environment::from([("PATH", path.as_str())]);
        for (name, value) in more {
            env = env.with(name, value);
        }
        env
    }

    fn provider(&self, managed: Managed) -> Provider {
        Provider {
            name: "laptop".into(),
            failover_for: Vec::new(),
            model: self.path("tiny.gguf").to_string_lossy().into_owned(),
            kind: Kind::LlamacppManaged(Llamacpp { managed, binary: None, context_size: Some(512) }),
            line: 1,
        }
    }
}

fn launched(provider: &Provider, env: &Environment) -> Result<Launch, Unfit> {
    launch(provider, env, "/place".into(), "/sockets".into())
}

fn managed() -> Managed {
    Managed {
        idle_timeout_minutes: 0.5,
        start_timeout_seconds: 600,
        port: None,
        env: BTreeMap::new(),
        extra_args: vec!["--threads".into(), "$(touch x); `id`".into()],
    }
}

#[test]
fn e09_a_program_comes_from_an_absolute_folder_and_arguments_are_words_of_their_own() {
    let machine = Machine::new();
    let launch = launched(&machine.provider(managed()), &machine.env(&[])).unwrap();
    assert_eq!(launch.program, machine.path("bin/llama-server"));
    assert_eq!(launch.args.last().unwrap(), "$(touch x); `id`");
    assert_eq!(launch.args[4..6], ["--ctx-size", "512"]);
    assert!((launch.idle_seconds - 30.0).abs() < f64::EPSILON);
    let nowhere = Environment::from([("PATH", ".:relative:")]);
    let missing = launched(&machine.provider(managed()), &nowhere).unwrap_err();
    assert!(matches!(missing, Unfit::NotOnPath { program: "llama-server", .. }), "{missing}");
}

#[test]
fn k02_e09_an_engine_sees_an_allow_list_and_what_its_entry_says() {
    let machine = Machine::new();
    let env = machine.env(&[
        ("LANG", "C.UTF-8"),
        ("MCPCTL_TOKEN", "canary"),
        ("AWS_SECRET_ACCESS_KEY", "canary"),
        ("LD_PRELOAD", "canary"),
        ("PYTHONPATH", "canary"),
        ("HTTPS_PROXY", "canary"),
        ("HF_TOKEN", "canary"),
        ("VLLM_API_KEY", "canary"),
    ]);
    let own = Managed { env: [("LANG".into(), "de_DE".into())].into(), ..managed() };
    let launch = launched(&machine.provider(own), &env).unwrap();
    assert_eq!(launch.env.keys().map(String::as_str).collect::<Vec<_>>(), ["LANG", "PATH"]);
    assert_eq!(launch.env["LANG"], "de_DE");
}

#[test]
fn the_caller_s_environment_makes_no_other_engine_and_the_entry_s_does() {
    let machine = Machine::new();
    let fingerprint =
        |managed: Managed, env: &Environment| launched(&machine.provider(managed), env).unwrap().fingerprint;
    let first = fingerprint(managed(), &machine.env(&[]));
    assert_eq!(first, fingerprint(managed(), &machine.env(&[("LANG", "C"), ("TZ", "UTC")])));
    let others = [
        Managed { port: Some(0), ..managed() },
        Managed { extra_args: Vec::new(), ..managed() },
        Managed { env: [("A".into(), "b".into())].into(), ..managed() },
    ];
    for other in others {
        assert_ne!(first, fingerprint(other, &machine.env(&[])));
    }
    // How long it may be idle is no reason to start it anew.
    assert_eq!(first, fingerprint(Managed { idle_timeout_minutes: 9.0, ..managed() }, &machine.env(&[])));
}

#[test]
fn a_wrong_model_or_program_is_named_before_anything_starts() {
    let machine = Machine::new();
    let provider = |model: &str, binary: Option<PathBuf>| {
        let mut provider = machine.provider(managed());
        provider.model = machine.path(model).to_string_lossy().into_owned();
        provider.kind = Kind::LlamacppManaged(Llamacpp { managed: managed(), binary, context_size: None });
        launched(&provider, &machine.env(&[])).map(drop).map_err(|unfit| unfit.to_string())
    };
    fs::write(machine.path("other.gguf"), b"PK\x03\x04").unwrap();
    fs::write(machine.path("plain"), b"x").unwrap();
    symlink("/nonexistent", machine.path("dangling")).unwrap();
    assert!(provider("none.gguf", None).unwrap_err().contains("No such file"));
    assert!(provider("other.gguf", None).unwrap_err().contains("not a GGUF file"));
    let binary = |name: &str| provider("tiny.gguf", Some(machine.path(name))).unwrap_err();
    assert!(binary("none").contains("there is no program"));
    assert!(binary("dangling").contains("there is no program"));
    assert!(binary("plain").contains("chmod +x"));
    assert!(binary("bin").contains("not a file"));
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    assert_eq!(check_port(Some(port)), Err(Unfit::PortTaken(port)));
    drop(taken);
    assert_eq!(check_port(Some(port)), Ok(()));
    assert_eq!((check_port(None), check_port(Some(0))), (Ok(()), Ok(())));
}
