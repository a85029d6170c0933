//! A panic is a bug of the program, and no outage of the server.

use crate::{
    scripts::{answer, down, whole},
    support::{PROMPT, Scripted},
};
use fakes::{Evild, wire};
use mcpctl::{
    cmd::{self, Io},
    environment::Environment,
};
use serde_json::Value;
use std::io::{self, Write};

/// Takes so many writes and panics at the next; what comes after that is taken again.
struct Panics {
    after: usize,
    taken: Vec<u8>,
    writes: usize,
    /// How many writes there were when it was told who answers.
    before_failover: Option<usize>,
}

impl Panics {
    fn after(writes: usize) -> Self {
        Self { after: writes, taken: Vec::new(), writes: 0, before_failover: None }
    }

    fn text(&self) -> String {
        String::from_utf8(self.taken.clone()).unwrap()
    }
}

impl Write for Panics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        assert!(self.writes != self.after + 1, "the code is wrong, and works on {PROMPT}");
        self.taken.extend_from_slice(bytes);
        if self.before_failover.is_none() && self.text().contains("failover: answering") {
            self.before_failover = Some(self.writes - 1);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The program inside this process, because nothing from outside can make the real one panic.
fn infer(scene: &Scripted, out: &mut Panics, err: &mut Panics, more: &[&str]) -> u8 {
    let url = scene.central.url();
    let (home, providers) = (scene.dana.home().to_str().unwrap(), scene.dana.providers_path());
    let env = Environment::from([
        ("HOME", home),
        ("MCPCTL_SERVER", &url),
        ("MCPCTL_TOKEN", "mcpd_0123456789abcdef_canarycanarycanarycanary"),
        ("MCPCTL_PROVIDERS", providers.to_str().unwrap()),
    ]);
    let io = Io {
        input: &mut io::empty(),
        out,
        err,
        input_is_terminal: true,
        out_is_terminal: false,
        width: None,
        err_width: None,
        err_is_terminal: false,
    };
    let args = [&["mcpctl", "infer", "chat-prod", PROMPT], more].concat();
    cmd::run(args.into_iter().map(Into::into), env, io).code()
}

/// Without the hook of the real program the place is not known.
const TOLD: &str = "error: internal: a bug of mcpctl; please report it\n";
const NEVER: usize = usize::MAX - 1;

#[test]
fn p24_a_panic_while_the_primary_answers_is_no_outage() {
    let scene = Scripted::new(Evild::start([whole(wire::sse_chunked(&wire::answer("Hello.")))]));
    let (mut out, mut err) = (Panics::after(0), Panics::after(NEVER));
    assert_eq!(infer(&scene, &mut out, &mut err, &[]), 1);
    assert_eq!((out.text().as_str(), err.text().as_str()), ("", TOLD));
    assert_eq!((scene.central.connections(), scene.probes()), (1, 0));
    scene.assert_local_untouched();
}

/// Why somebody else may answer is told before the provider is asked; who answers, when the first piece of the answer
/// is there.
#[test]
fn p24_a_panic_between_the_permission_and_the_provider_asks_nobody() {
    let (before, all) = {
        let scene = Scripted::new(Evild::start([down(), answer(200, &[], "")]));
        let (mut out, mut err) = (Panics::after(NEVER), Panics::after(NEVER));
        assert_eq!(infer(&scene, &mut out, &mut err, &[]), 0);
        (err.before_failover.expect("it is told"), err.writes)
    };
    assert!(0 < before && before < all);
    for n in 0..all {
        let scene = Scripted::new(Evild::start([down(), answer(200, &[], "")]));
        let (mut out, mut err) = (Panics::after(NEVER), Panics::after(n));
        assert_eq!(infer(&scene, &mut out, &mut err, &[]), 1);
        assert!(err.text().ends_with(TOLD), "{}", err.text());
        assert_eq!(out.text(), "");
        if n < before {
            scene.assert_local_untouched();
        }
    }
}

#[test]
fn p24_a_panic_is_a_document_where_documents_are_asked_for() {
    let scene = Scripted::new(Evild::start([down(), answer(200, &[], "")]));
    let (mut out, mut err) = (Panics::after(NEVER), Panics::after(0));
    assert_eq!(infer(&scene, &mut out, &mut err, &["-o", "json"]), 1);
    let document: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!((&document["kind"], &document["exitCode"]), (&"Error".into(), &1.into()));
    assert!(err.text().ends_with(TOLD), "{}", err.text());
    scene.assert_local_untouched();
}
