//! A12: with settings that say nothing or nonsense mcpd does not start, and names what is wrong; and the first token goes
//! to one place, once.

use fakes::Mcpd;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

/// Runs `mcpd` with nothing in its environment but this, in a folder of its own.
fn run(home: &Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command.args(args).current_dir(home).env_clear().envs(env.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that it was refused with this word in the reason, that nothing was made and nothing was opened.
fn refused(home: &Path, env: &[(&str, &str)], word: &str) {
    for args in [&["serve"][..], &["bootstrap", "--admin", "ana"], &["migrate"], &["check"]] {
        // Settings of serving alone do not matter to the others.
        let is_about_serving = !matches!(word, "MCPD_DATABASE" | "MCPD_DATA_DIR" | "HOME");
        if is_about_serving && args[0] != "serve" {
            continue;
        }
        let output = run(home, env, args);
        let said = stderr(&output);
        assert!(!output.status.success() && output.stdout.is_empty(), "{env:?} {args:?}: {said}");
        assert!(said.contains(word), "{env:?} {args:?}: {said}");
        assert!(!said.contains("canary"), "{env:?} {args:?}");
    }
    assert_eq!(fs::read_dir(home).unwrap().count(), 0, "{env:?} made something");
}

#[test]
fn a12_a_setting_that_is_empty_or_malformed_is_no_default() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let here = home.to_str().unwrap();
    refused(home, &[], "HOME");
    refused(home, &[("HOME", "")], "HOME");
    refused(home, &[("HOME", "relative"), ("XDG_STATE_HOME", "relative")], "HOME");
    for value in [
        "",
        "mcpd.db",
        "sqlite:",
        "sqlite://",
        "sqlite://mcpd.db",
        "postgres://",
        "postgres://u@h",
        "mysql://u:canary@h/d",
    ] {
        refused(home, &[("HOME", here), ("MCPD_DATABASE", value)], "MCPD_DATABASE");
    }
    refused(home, &[("HOME", here), ("MCPD_DATA_DIR", "")], "MCPD_DATA_DIR");
    for value in
        ["", "3100", ":3100", "0.0.0.0", "*:3100", "localhost:3100", "127.0.0.1:99999", "127.0.0.1:0 x"]
    {
        refused(home, &[("HOME", here), ("MCPD_LISTEN", value)], "MCPD_LISTEN");
    }
    for name in ["MCPD_MAX_BODY", "MCPD_DRAIN", "MCPD_STREAM_RECHECK", "MCPD_UPSTREAM_IDLE_TIMEOUT"] {
        for value in ["", "-1", "soon"] {
            refused(home, &[("HOME", here), (name, value)], name);
        }
    }
}

#[test]
fn a12_what_the_command_line_says_is_not_blamed_on_a_variable() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path().to_str().unwrap();
    let env = [("HOME", here), ("MCPD_LISTEN", "127.0.0.1:1")];
    let output = run(home.path(), &env, &["serve", "--listen", "nowhere"]);
    assert!(
        stderr(&output).contains("--listen") && !stderr(&output).contains("MCPD_LISTEN"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a12_a_port_that_is_taken_and_a_folder_in_use_are_named_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env = [("HOME", home.path().to_str().unwrap())];
    let output = run(home.path(), &env, &["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let hint =
        format!("mcpd: {address} is taken: another program listens there; choose another with --listen");
    assert!(stderr(&output).contains(&hint), "{}", stderr(&output));

    // Only a file is one server's alone.
    let mcpd = Mcpd::builder().sqlite().start();
    let dir = mcpd.data_dir();
    let output = run(home.path(), &[], &["serve", "--listen", &address, "--data-dir", dir.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("mcpd: an mcpd is running on "), "{}", stderr(&output));
}

#[test]
fn a12_the_first_token_goes_to_a_new_private_file_and_nowhere_else() {
    let home = tempfile::tempdir().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("token"));
    let env = [("MCPD_DATA_DIR", data.to_str().unwrap())];
    let bootstrap = |path: &Path, more: &[&str]| {
        let args = ["bootstrap", "--admin", "ana", "--token-file", path.to_str().unwrap()];
        run(home.path(), &env, &[&args, more].concat())
    };
    // A place that will not do is found before anything is made.
    let (taken, link) = (home.path().join("taken"), home.path().join("link"));
    fs::write(&taken, "mine").unwrap();
    symlink(home.path().join("elsewhere"), &link).unwrap();
    for place in [&taken, &link, &home.path().join("no/such/folder"), home.path()] {
        let output = bootstrap(place, &[]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", place.display());
        assert!(stderr(&output).contains(place.to_str().unwrap()), "{}", stderr(&output));
        assert!(!data.exists() && !home.path().join("elsewhere").exists(), "{}", place.display());
    }
    assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");

    let first = bootstrap(&file, &[]);
    assert!(first.status.success() && first.stdout.is_empty(), "{}", stderr(&first));
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("mcpd_")
            && text.len() == 5 + 16 + 1 + 64 + 1
            && !stderr(&first).contains(text.trim())
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Once; and one that was refused leaves no empty file behind.
    let second = home.path().join("second");
    assert!(!bootstrap(&second, &[]).status.success() && !second.exists());
    assert!(bootstrap(&second, &["--recover"]).status.success() && second.exists());
}
