//! The exit codes: each is reached through the real program, and the pages say what the program says.

use crate::{
    docs::blocks,
    support::{Client, PROMPT, Stage, TEN_WORDS},
};
use fakes::{Fault, Gate};
use mcpctl::exit::Exit;
use rustix::process::{Pid, Signal, kill_process};
use snapbox::{Data, assert_data_eq};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::pipe,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

/// Something that a user meets, and what mcpctl says to it.
struct Story {
    code: u8,
    why: &'static str,
    ends: fn(&Stage) -> ExitStatus,
}

const STORIES: &[Story] = &[
    Story { code: 0, why: "the server answers", ends: |stage| infer(&stage.dana, &[]) },
    Story {
        code: 0,
        why: "a local provider answers",
        ends: |stage| {
            stage.upstream.stop();
            infer(&stage.dana, &[])
        },
    },
    Story {
        code: 1,
        why: "the disk is full",
        ends: |stage| {
            let full = File::options().write(true).open("/dev/full").unwrap();
            status(stage.dana.raw(["version"]).stdout(full))
        },
    },
    Story { code: 2, why: "a flag that is none", ends: |stage| infer(&stage.dana, &["--no-such-flag"]) },
    Story {
        code: 2,
        why: "a broken provider file",
        ends: |stage| {
            stage.dana.providers("providers: [{ nam: laptop }]");
            status(stage.dana.raw(["providers", "validate"]).stdout(Stdio::null()))
        },
    },
    Story {
        code: 3,
        why: "a failover that would not hold",
        ends: |stage| {
            stage.local.stop();
            status(stage.dana.raw(["providers", "failovers", "--probe"]).stdout(Stdio::null()))
        },
    },
    Story {
        code: 4,
        why: "nobody logged in",
        ends: |stage| infer(&Client::stranger(&stage.mcpd.url()), &[]),
    },
    Story {
        code: 4,
        why: "a token that was revoked",
        ends: |stage| {
            stage.mcpd.revoke_token(&stage.dana_token);
            infer(&stage.dana, &[])
        },
    },
    Story {
        code: 5,
        why: "no right to run it",
        ends: |stage| {
            stage.mcpd.delete_binding("dana-chat");
            infer(&stage.dana, &[])
        },
    },
    Story {
        code: 6,
        why: "the server cannot be asked",
        ends: |stage| {
            let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let dana = Client::of(&format!("http://{nobody}"), &stage.dana_token);
            infer(dana.failover("chat-prod", &stage.local.url()), &[])
        },
    },
    Story {
        code: 7,
        why: "the upstream is down, and nobody stands in",
        ends: |stage| {
            stage.upstream.stop();
            stage.dana.providers("providers: []");
            infer(&stage.dana, &[])
        },
    },
    Story {
        code: 8,
        why: "an answer that breaks off",
        ends: |stage| {
            stage.upstream.set_fault(Fault::CutAfter(3));
            infer(&stage.dana, &[])
        },
    },
    Story {
        code: 8,
        why: "--strict, and the model was not done",
        ends: |stage| {
            stage.upstream.set_fault(Fault::FinishReason("length".into()));
            infer(&stage.dana, &["--strict"])
        },
    },
    Story {
        code: 9,
        why: "a request that the upstream rejects",
        ends: |stage| {
            stage.upstream.set_fault(Fault::Status(422, serde_json::json!({ "error": "no" })));
            infer(&stage.dana, &[])
        },
    },
    Story { code: 130, why: "Ctrl-C", ends: |stage| signalled(stage, Signal::INT) },
    Story {
        code: 141,
        why: "nobody reads",
        ends: |stage| {
            let (reader, writer) = pipe().unwrap();
            drop(reader);
            status(stage.dana.raw(["help", "failover"]).stdout(writer))
        },
    },
    Story { code: 143, why: "told to end", ends: |stage| signalled(stage, Signal::TERM) },
];

fn status(command: &mut Command) -> ExitStatus {
    command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

fn infer(client: &Client, more: &[&str]) -> ExitStatus {
    status(client.raw(["infer", "chat-prod", PROMPT].iter().chain(more)).stdout(Stdio::null()))
}

/// While the model thinks.
fn signalled(stage: &Stage, signal: Signal) -> ExitStatus {
    let gate = Gate::new();
    stage.upstream.set_fault(Fault::WaitAt(gate.clone()));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.upstream.wait_for_request(1, Duration::from_secs(30));
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap()
}

/// What a shell makes of it.
fn shell_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap()
}

#[test]
fn every_exit_code_is_reached_through_the_real_program() {
    for story in STORIES {
        let ended = (story.ends)(&Stage::new());
        assert_eq!(shell_code(ended), i32::from(story.code), "{}", story.why);
    }
    let reached: BTreeSet<u8> = STORIES.iter().map(|story| story.code).collect();
    let promised: BTreeSet<u8> = Exit::table().iter().map(|row| row.0).collect();
    assert_eq!(reached, promised);
}

/// `SNAPSHOTS=overwrite cargo test --test cli exit_codes::` writes the tables anew.
#[test]
fn the_tables_of_the_pages_are_those_of_the_program() {
    let rows =
        Exit::table().into_iter().map(|(code, name, meaning)| format!("| {code} | {name} | {meaning} |\n"));
    let table = format!("| code | name | meaning |\n|---|---|---|\n{}", rows.collect::<String>());
    for page in ["docs/exit-codes.md", "README.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("| code | name | meaning |\n").expect(page);
        let (_, after) = rest.split_once("\n\n").expect(page);
        assert_data_eq!(format!("{before}{table}\n{after}"), Data::read_from(&path, None).raw());
    }
}

#[test]
fn the_script_of_the_page_says_what_to_do_next() {
    let stage = Stage::new();
    fs::write(stage.dana.home().join("issue.md"), "It crashes.\n").unwrap();
    let run = || {
        let output = stage.dana.bash(&blocks("exit-codes.md")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(), (0, format!("{TEN_WORDS}\n"), String::new()));
    stage.upstream.set_fault(Fault::CutAfter(3));
    let (code, stdout, stderr) = run();
    assert_eq!((code, &*stdout), (8, ""), "a cut answer was passed on");
    assert!(stderr.ends_with("the answer is not whole: try again, and do not use this one\n"), "{stderr}");
    stage.mcpd.delete_binding("dana-chat");
    let (code, _, stderr) = run();
    assert_eq!(code, 5);
    assert!(stderr.ends_with("ask an administrator for the right to run it\n"), "{stderr}");
}
