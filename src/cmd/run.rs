//! One run: its flags, its environment and its three streams. Nobody else prints.

mod errors;
mod paint;

pub(in crate::cmd) use errors::{ErrorDocument, show_usage};
pub(in crate::cmd) use paint::STYLES;

use super::{Global, columns::ColumnArgs, delivery::Delivery};
use crate::{
    config::{self, Config, Server},
    credential::{
        self, Credential, Source,
        holder::{self, Ending, Reader},
    },
    environment::Environment,
    failover::CallFailure,
    files::FileError,
    gateway::Gateway,
    providers_file::{ProvidersError, ProvidersFile},
    render::{self, Columns, Document, Format, Item, Listing, View, escape_lines},
};
use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    fmt,
    io::{Read, Write},
    path::PathBuf,
};

/// The three streams, and which of them are terminals.
pub struct Io<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output: the answer and nothing else.
    pub out: &'a mut dyn Write,
    /// Standard error: for people.
    pub err: &'a mut dyn Write,
    /// Standard input is a terminal.
    pub input_is_terminal: bool,
    /// Standard output is a terminal.
    pub out_is_terminal: bool,
    /// Standard error is a terminal.
    pub err_is_terminal: bool,
    /// How many characters fit in a line of standard output, if it is a terminal that tells.
    pub width: Option<u16>,
    /// The same of standard error.
    pub err_width: Option<u16>,
}

/// What is said of a full disk, and of whatever else does not take the answer.
const UNWRITABLE: &str = "cannot write to standard output";

/// One run of the program.
pub struct Run<'a> {
    /// Flags that every command takes.
    pub global: Global,
    /// The environment.
    pub env: Environment,
    /// The streams.
    pub io: Io<'a>,
    /// Whom to tell of failovers once all is said.
    pub delivery: Option<Delivery>,
    /// Servers that have sent their decision in this run: they must do so again, remembered or not.
    pub(super) deciding: BTreeSet<String>,
    /// The token that was used ends soon: to be told once all is said.
    ending: OnceCell<Ending>,
    /// Where the token came from that was used last.
    token_from: RefCell<Option<Source>>,
}

/// The command line is not what the command takes. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A call of the server failed, and the command has nothing to add.
#[derive(Debug)]
pub struct Failure(pub CallFailure);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.told_of("the server").fmt(f)
    }
}

impl std::error::Error for Failure {}

impl From<CallFailure> for Failure {
    fn from(failure: CallFailure) -> Self {
        Self(failure)
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(global: Global, env: Environment, io: Io<'a>) -> Self {
        Self {
            global,
            env,
            io,
            delivery: None,
            deciding: BTreeSet::new(),
            ending: OnceCell::new(),
            token_from: RefCell::new(None),
        }
    }

    /// The format that was asked for, if the command has it.
    pub fn format(&self, default: Format, takes: &[Format]) -> anyhow::Result<Format> {
        let name =
            |format: Format| format.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
        if let Some(format) = self.global.output {
            let known = takes.contains(&format);
            let all: Vec<_> = takes.iter().map(|format| name(*format)).collect();
            let wrong =
                || Usage(format!("this command has no -o {}; it has: {}", name(format), all.join(", ")));
            return if known { Ok(format) } else { Err(wrong().into()) };
        }
        match self.env.var("MCPCTL_OUTPUT").map(|word| Format::from_str(word, true)) {
            Some(Err(_)) => Err(Usage("MCPCTL_OUTPUT is no format that mcpctl knows".into()).into()),
            Some(Ok(format)) if takes.contains(&format) => Ok(format),
            Some(Ok(_)) | None => Ok(default),
        }
    }

    /// For commands that print a line for people, and have no document to give.
    pub fn takes_no_format(&self) -> anyhow::Result<()> {
        self.format(Format::Text, &[Format::Text]).map(drop)
    }

    /// How a list of these columns is to be shown. Comes before the server is asked, because flags that make no sense
    /// are told before anything is sent.
    pub(super) fn view(&self, args: &ColumnArgs, columns: Columns) -> anyhow::Result<View> {
        use Format::{Csv, Json, Jsonl, Name, Table, Wide, Yaml};
        let format = self.format(Table, &[Table, Wide, Json, Yaml, Jsonl, Name, Csv])?;
        if (args.columns.is_some() || args.no_headers) && !matches!(format, Table | Wide | Csv) {
            let wrong =
                "only tables and CSV have columns: --columns and --no-headers go with -o table, wide or csv";
            return Err(Usage(wrong.into()).into());
        }
        // A screen reader goes line by line, and so must a row.
        let mut view = View::new(format, columns).within(self.io.width.filter(|_| !self.is_dumb()));
        if let Some(names) = &args.columns {
            view = view.with_columns(names).map_err(|error| Usage(error.to_string()))?;
        }
        Ok(if args.no_headers { view.without_headers() } else { view })
    }

    /// Shows a list.
    pub fn show<T: Item>(&mut self, listing: &Listing<T>) -> anyhow::Result<()> {
        self.print(&listing.text())
    }

    /// Shows one document.
    pub fn show_document<D: Document>(&mut self, content: &D, format: Format) -> anyhow::Result<()> {
        self.print(&render::document_text(&render::envelope(content), format))
    }

    /// Prints a part of the answer; to a terminal without anything that it would obey.
    pub fn print(&mut self, text: &str) -> anyhow::Result<()> {
        let text = if self.io.out_is_terminal { Cow::Owned(escape_lines(text)) } else { Cow::Borrowed(text) };
        self.io.out.write_all(text.as_bytes()).context(UNWRITABLE)
    }

    /// Prints a line of the answer.
    pub fn say(&mut self, line: impl fmt::Display) -> anyhow::Result<()> {
        writeln!(self.io.out, "{line}").context(UNWRITABLE)
    }

    /// Tells people something that they need not act on.
    pub fn note(&mut self, text: impl fmt::Display) {
        if !self.global.quiet {
            self.tell("note", text);
        }
    }

    /// The line by which a note is told, for whoever tells it later; empty with `-q`.
    pub fn note_line(&self, text: impl fmt::Display) -> String {
        if self.global.quiet { String::new() } else { self.line("note", text) + "\n" }
    }

    /// Tells people something that they should act on; `-q` is no reason to keep it back.
    pub fn warn(&mut self, text: impl fmt::Display) {
        self.tell("warning", text);
    }

    /// Tells a command that helps.
    pub fn tip(&mut self, command: impl fmt::Display) {
        if !self.global.quiet {
            self.tell("tip", command);
        }
    }

    /// Tells what was asked for by a flag of its own.
    pub fn tell_usage(&mut self, text: impl fmt::Display) {
        self.tell("note", text);
    }

    /// Tells something only to those who asked for more.
    pub fn detail(&mut self, text: impl fmt::Display) {
        if self.global.verbose > 0 {
            self.tell("debug", text);
        }
    }

    /// A closed stderr is no reason to stop.
    fn tell(&mut self, what: &str, text: impl fmt::Display) {
        let line = self.line(what, text);
        let _ = writeln!(self.io.err, "{line}");
    }

    fn line(&self, what: &str, text: impl fmt::Display) -> String {
        let line = format!("{what}: {}", escape_lines(&text.to_string()));
        self.painted(what, &self.fitted(&line, "  "))
    }

    /// The terminal cannot change what it has shown, or is read aloud.
    pub fn is_dumb(&self) -> bool {
        self.env.var("TERM") == Some("dumb")
    }

    /// Everything that was printed is out.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.io.out.flush().context(UNWRITABLE)
    }

    /// The config file and its path.
    pub fn config(&self) -> anyhow::Result<(Config, PathBuf)> {
        let path = Config::path(&self.env)?;
        Ok((Config::read(&self.env, &path)?, path))
    }

    /// The server that is meant.
    pub fn server(&self) -> anyhow::Result<Server> {
        Ok(config::meant(&self.env, self.global.server.as_deref(), self.global.context.as_deref())?)
    }

    /// Remembers where the token comes from that is used now: what a rejection means depends on it.
    pub(super) fn uses(&self, source: Source) {
        self.token_from.replace(Some(source));
    }

    /// The token for a server. If it ends soon, that is told once all is said.
    pub fn credential(&self, server: &Server) -> anyhow::Result<Credential> {
        let credential = credential::find(&self.env, self.global.token_file.as_deref(), server)?;
        self.uses(credential.source.clone());
        let reader = if self.io.err_is_terminal { Reader::Person } else { Reader::Log };
        // Who wants no notes is not to use up the note of the day.
        if !self.global.quiet
            && let Some(ending) =
                holder::notice(&self.env, &server.origin(), &credential, Timestamp::now(), reader)
        {
            let _ = self.ending.set(ending);
        }
        Ok(credential)
    }

    /// Tells that the token which was used ends soon.
    pub(super) fn tell_ending(&mut self) {
        if let Some(ending) = self.ending.take() {
            self.note(format_args!("{ending}; get a new one, then: mcpctl auth login --token-stdin"));
        }
    }

    /// A client of the server that is meant.
    pub fn gateway(&self) -> anyhow::Result<Gateway> {
        let server = self.server()?;
        Ok(Gateway::for_calls(&server, self.credential(&server)?.token)?)
    }

    /// The provider file; none if none was named and the default one does not exist.
    pub fn providers(&self) -> Result<Option<ProvidersFile>, ProvidersError> {
        providers(&self.env, self.global.providers.clone())
    }

    /// All of standard input, as text of at most `limit` bytes.
    pub fn read_input(&mut self, limit: u64) -> anyhow::Result<String> {
        if self.io.input_is_terminal {
            self.note("reading from the terminal; Ctrl-D ends");
        }
        let mut bytes = Vec::new();
        (&mut self.io.input).take(limit + 1).read_to_end(&mut bytes).context("standard input")?;
        if bytes.len() as u64 > limit {
            return Err(Usage(format!("standard input is larger than {limit} bytes")).into());
        }
        String::from_utf8(bytes).map_err(|_| Usage("standard input is not UTF-8 text".into()).into())
    }
}

/// The provider file: the one that is named by flag or variable, else the default one, if it exists.
pub(super) fn providers(
    env: &Environment,
    named: Option<PathBuf>,
) -> Result<Option<ProvidersFile>, ProvidersError> {
    let named = named.or_else(|| env.var("MCPCTL_PROVIDERS").map(PathBuf::from));
    let is_named = named.is_some();
    let default = || env.config_folder().map(|folder| folder.join("providers.yaml"));
    let Some(path) = named.or_else(default) else { return Ok(None) };
    match ProvidersFile::load(&path, env.home().as_deref()) {
        Ok(file) => Ok(Some(file)),
        Err(ProvidersError::File(FileError::Missing(_))) if !is_named => Ok(None),
        Err(error) => Err(error),
    }
}
