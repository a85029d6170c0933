//! The program: loads, listens, and fails as it was told.

use super::{
    command_line::{Address, CommandLine, Part},
    listener::Listener,
    log,
    notes::Notes,
    serve::listen,
    settings::{After, Hang, Settings},
    worker,
};
use crate::{Engine, EngineBuilder, Fault};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    env,
    path::Path,
    process::{self, Child, exit},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Nobody stops the program of a test that failed.
const SAFETY_NET: Duration = Duration::from_mins(3);
/// How often it looks for a file that is the test's signal.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How many looks there are between two lines of chatter.
const CHATTER: usize = 20;

/// The whole program. Ends the process.
pub fn play() -> ! {
    let args: Vec<String> = env::args().collect();
    worker::become_one(&args);
    let told = CommandLine::parse(&args[1..]).unwrap_or_else(|error| {
        log::say(&error);
        exit(2)
    });
    thread::spawn(|| {
        thread::sleep(SAFETY_NET);
        exit(99)
    });
    let playing = Arc::new(Playing::new(told, Settings::from_environment()));
    playing.note_start(&args[1..]);
    playing.obey_signals();
    playing.start();
    loop {
        thread::park();
    }
}

/// The state of the running program.
pub(super) struct Playing {
    pub(super) told: CommandLine,
    pub(super) settings: Settings,
    pub(super) notes: Notes,
    key: Option<String>,
    ready: AtomicBool,
    /// SIGTERM came while a client was being answered, and that client still waits.
    pub(super) frozen: AtomicBool,
    /// How many chats are being answered.
    pub(super) running: AtomicUsize,
    /// How many chats came.
    pub(super) chats: AtomicUsize,
    pub(super) listeners: Mutex<Vec<Arc<Listener>>>,
    workers: Mutex<Vec<Child>>,
}

impl Playing {
    fn new(told: CommandLine, settings: Settings) -> Self {
        let notes = Notes::new(settings.folder.clone());
        let cured = settings.once && !notes.first_start();
        let variable = if told.part == Part::Vllm { "VLLM_API_KEY" } else { "LLAMA_API_KEY" };
        Self {
            settings: if cured { settings.cured() } else { settings },
            notes,
            key: env::var(variable).ok().filter(|key| !key.is_empty()),
            told,
            ready: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            chats: AtomicUsize::new(0),
            listeners: Mutex::default(),
            workers: Mutex::default(),
        }
    }

    /// The start itself is noted last: who sees it finds the rest.
    fn note_start(&self, args: &[String]) {
        let lossy = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        self.notes.replace("arguments", args.iter().cloned());
        let variables = env::vars_os().map(|(name, value)| format!("{}={}", lossy(&name), lossy(&value)));
        self.notes.replace("environment", variables);
        let workers = self.settings.workers.iter().map(|worker| worker::start(*worker, &self.notes));
        self.workers.lock().unwrap().extend(workers);
        self.notes.line("starts", &process::id().to_string());
    }

    fn start(self: &Arc<Self>) {
        self.fail_if_told(After::Start);
        if let Some(file) = self.settings.exit_when.clone() {
            let code = self.settings.exit_code;
            thread::spawn(move || {
                wait_for(&file);
                exit(code)
            });
        }
        if self.settings.end_with_worker {
            self.watch_workers();
        }
        // One listens at once and says that it loads; the other is not there before it can answer.
        match self.told.part {
            Part::Llama => {
                self.listen();
                self.load();
            }
            Part::Vllm => {
                self.load();
                self.listen();
            }
        }
        if self.settings.listen_everywhere {
            let listener = Listener::bind(&Address::Tcp(([0, 0, 0, 0], 0).into())).expect("a free port");
            self.notes.replace("everywhere", listener.port().into_iter().map(|port| port.to_string()));
            listen(listener, self);
        }
        self.ready.store(true, Ordering::SeqCst);
        log::say_all(&log::ready(self.told.part, &self.url()));
    }

    fn load(&self) {
        let key = self.key.as_deref().filter(|_| self.settings.print_key);
        for line in log::stages(self.told.part, &self.told.model, key) {
            self.say_while_loading(&line);
        }
        let mut looks = 0;
        let gate = self.settings.ready_gate.as_ref();
        while self.settings.hang == Some(Hang::Load) || gate.is_some_and(|gate| !gate.exists()) {
            thread::sleep(LOOK);
            looks += 1;
            if self.settings.chatter && looks % CHATTER == 0 {
                self.say_while_loading(&log::plain(self.told.part, "still loading"));
            }
        }
        self.fail_if_told(After::Stages);
    }

    fn say_while_loading(&self, line: &str) {
        if !self.settings.quiet_while_loading {
            log::say(line);
        }
    }

    fn fail_if_told(&self, now: After) {
        if let Some(fail) = self.settings.fail.as_ref().filter(|fail| fail.after == now) {
            log::say_all(&fail.lines);
            exit(fail.code)
        }
    }

    fn listen(self: &Arc<Self>) {
        let Ok(listener) = Listener::bind(&self.told.address) else {
            log::say_all(&log::address_in_use(self.told.part, &self.url()));
            exit(1)
        };
        listen(listener, self);
    }

    fn url(&self) -> String {
        match &self.told.address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    fn obey_signals(self: &Arc<Self>) {
        let mut signals = Signals::new([SIGTERM, SIGINT]).expect("signals can be had");
        let playing = Arc::clone(self);
        thread::spawn(move || signals.forever().for_each(|signal| playing.obey(signal)));
    }

    fn obey(&self, signal: i32) {
        self.notes.line("signals", if signal == SIGTERM { "SIGTERM" } else { "SIGINT" });
        if (signal == SIGTERM && self.settings.ignore_term) || self.frozen.load(Ordering::SeqCst) {
            return;
        }
        if self.settings.hang_on_term_with_stream && self.running.load(Ordering::SeqCst) > 0 {
            self.frozen.store(true, Ordering::SeqCst);
            self.listeners.lock().unwrap().iter().for_each(|listener| listener.refuse());
            log::say(&log::plain(self.told.part, "Waiting for connections to close"));
            return;
        }
        self.end_well();
    }

    fn watch_workers(self: &Arc<Self>) {
        let playing = Arc::clone(self);
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        thread::spawn(move || {
            while !playing.workers.lock().unwrap().iter_mut().any(ended) {
                thread::sleep(LOOK);
            }
            playing.end_well()
        });
    }

    /// Ends with all that it started.
    pub(super) fn end_well(&self) -> ! {
        for child in self.workers.lock().unwrap().iter_mut() {
            let _already_dead = child.kill();
        }
        log::say(&log::plain(self.told.part, "cleaning up before exit"));
        exit(0)
    }

    /// What an engine in good health would answer with now.
    pub(super) fn answers(&self) -> EngineBuilder {
        let loading = !self.ready.load(Ordering::SeqCst);
        let engine = Engine::builder()
            .model(self.settings.served_name.as_ref().unwrap_or(&self.told.name))
            .fault(if loading { Fault::Loading } else { Fault::None });
        match &self.key {
            Some(key) => engine.key(key),
            None => engine,
        }
    }

    /// The status of `/health`, where it is not the usual one.
    pub(super) fn health(&self) -> Option<u16> {
        let gate = self.settings.health_gate.as_ref();
        self.settings.health.filter(|_| gate.is_none_or(|gate| gate.exists()))
    }
}

/// Ends this process as a crash would.
pub(super) fn die() -> ! {
    let me = Pid::from_raw(process::id().cast_signed()).expect("a process has an id");
    kill_process(me, Signal::KILL).expect("a process may kill itself");
    loop {
        thread::park();
    }
}

/// Waits for the test's signal.
fn wait_for(file: &Path) {
    while !file.exists() {
        thread::sleep(LOOK);
    }
}
