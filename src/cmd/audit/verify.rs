//! `audit verify`: computes the whole chain anew, and compares its end with ends that were seen before.
//!
//! The server is not believed: what it says of a hash is computed here, and where the trail ended the last time is
//! remembered here.

use super::list::pages;
use crate::{
    cmd::{Failure, Run, Usage},
    exit::Exit,
    memory,
    render::{Document, Format},
};
use clap::Args;
use mcp_api::{
    AuditEntry, AuditHead,
    audit::{Chain, Flaw},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Check that nothing in the audit trail was changed, removed or added afterwards; exits 3 if something was
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl audit verify\n  mcpctl audit verify --head \"$(cat last-head.txt)\" -o json\n  \
                        mcpctl audit verify --file audit.jsonl\n\nIt prints the end of the trail, SEQ:HASH. Keep that elsewhere, and give it as --head later: \
                        whoever can write the database can write the whole trail anew, but not so that it ends the \
                        same. This machine remembers the last end that it has seen by itself."
)]
pub(in crate::cmd) struct VerifyArgs {
    /// An end that the trail had once: it must still have it
    #[arg(long, value_name = "SEQ:HASH")]
    head: Vec<AuditHead>,
    /// Check a trail that was exported by audit list -o jsonl, and ask no server; "-" is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Forget which end this machine has seen, and go by what is there now: after a restore that you know of
    #[arg(long, conflicts_with = "file")]
    forget: bool,
}

/// The longest list of flaws that is shown; the first ones say where to look.
const FLAWS_MAX: usize = 20;

pub(super) fn verify(run: &mut Run<'_>, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let mut check = Check::new(args.head.clone());
    match &args.file {
        Some(path) if path == Path::new("-") => check.lines("stdin", BufReader::new(&mut *run.io.input))?,
        Some(path) => check.file(path)?,
        None => check.server(run, args.forget)?,
    }
    check.tell(run, format)
}

/// Whether the audit trail is still what the server wrote.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct AuditVerification {
    /// Nothing was found that was changed, removed or added.
    sound: bool,
    /// How many entries were checked.
    entries: u64,
    /// The number of the first one; above 1, the file holds a part of a trail. 0 if there is none.
    first_entry: u64,
    /// The number of the last one; 0 if there is none.
    last_entry: u64,
    /// Where the trail ends, as `SEQ:HASH`: what `--head` takes later.
    head: Option<String>,
    /// What is wrong, in words; empty if it is sound.
    flaws: Vec<String>,
}

impl Document for AuditVerification {
    const KIND: &'static str = "AuditVerification";
}

/// A trail on its way past.
struct Check {
    chain: Option<Chain>,
    /// Ends that the trail must have had.
    known: Vec<AuditHead>,
    first: u64,
    entries: u64,
    flaws: Vec<Flaw>,
}

impl Check {
    fn new(known: Vec<AuditHead>) -> Self {
        Self { chain: None, known, first: 0, entries: 0, flaws: Vec::new() }
    }

    fn server(&mut self, run: &mut Run<'_>, forget: bool) -> anyhow::Result<()> {
        let origin = run.server()?.origin();
        let gateway = run.gateway()?;
        let remembered = if forget { None } else { remembered(run, &origin)? };
        let before = gateway.audit_head().map_err(Failure)?;
        self.known.extend(remembered.iter().cloned().chain([before]));
        self.chain = Some(Chain::whole());
        pages(&gateway, &[], |entries| {
            for entry in &entries {
                self.take(entry);
            }
            Ok(())
        })?;
        // Entries that came meanwhile are fine; those behind the end that the server knows of are not.
        let after = gateway.audit_head().map_err(Failure)?;
        let last = self.head().map_or(0, |head| head.seq);
        if last > after.seq {
            self.flaws.push(Flaw::Beyond { head: after.seq, last });
        }
        self.end();
        if self.flaws.is_empty() {
            self.remember(run, &origin, forget)?;
        } else if let Some(head) = remembered {
            run.note(format_args!(
                "this machine still goes by the end {head} that it has seen; if the server was restored from a backup \
                 on purpose, accept its trail with mcpctl audit verify --forget"
            ));
        }
        Ok(())
    }

    /// Only what is sound is remembered, and never an earlier end than another command has seen meanwhile.
    fn remember(&self, run: &mut Run<'_>, origin: &str, forget: bool) -> anyhow::Result<()> {
        let Some(head) = self.head() else { return Ok(()) };
        let later = if forget { None } else { remembered(run, origin)?.filter(|it| it.seq > head.seq) };
        if later.is_none()
            && let Err(error) = memory::audit_seen(&run.env, origin, head)
        {
            run.warn(format_args!("cannot remember where the trail ends: {error}"));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let fail = |why: String| Usage(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|error| fail(error.to_string()))?;
        self.lines(&path.display().to_string(), BufReader::new(file))
    }

    fn lines(&mut self, name: &str, source: impl BufRead) -> anyhow::Result<()> {
        let fail = |why: String| Usage(format!("{name}: {why}"));
        for (number, line) in (1..).zip(source.lines()) {
            let line = line.map_err(|error| fail(error.to_string()))?;
            let entry = serde_json::from_str(&line);
            let entry = entry.map_err(|error| fail(format!("line {number} is no audit entry: {error}")))?;
            self.take(&entry);
        }
        if self.entries == 0 {
            return Err(
                fail("it holds no entry of an audit trail, so there is nothing to check".into()).into()
            );
        }
        self.end();
        Ok(())
    }

    fn take(&mut self, entry: &AuditEntry) {
        if self.entries == 0 {
            self.first = entry.seq;
        }
        let starts_whole = entry.seq == 1;
        let chain =
            self.chain.get_or_insert_with(|| if starts_whole { Chain::whole() } else { Chain::part() });
        self.flaws.extend(chain.take(entry));
        let is_another = |known: &AuditHead| known.seq == entry.seq && known.hash != entry.hash;
        if self.known.iter().any(is_another) {
            self.flaws.push(Flaw::Rewritten { seq: entry.seq });
        }
        self.entries += 1;
    }

    /// Nothing more comes: what was there once must have come by.
    fn end(&mut self) {
        let at = self.head().map_or(0, |head| head.seq);
        let known = self.known.iter().map(|head| head.seq).filter(|seq| *seq > at).max();
        self.flaws.extend(known.map(|known| Flaw::CutOff { at, known }));
    }

    fn head(&self) -> Option<&AuditHead> {
        self.chain.as_ref().and_then(Chain::head)
    }

    fn document(&self) -> AuditVerification {
        AuditVerification {
            sound: self.flaws.is_empty(),
            entries: self.entries,
            first_entry: self.first,
            last_entry: self.head().map_or(0, |head| head.seq),
            head: self.head().map(ToString::to_string),
            flaws: self.flaws.iter().map(ToString::to_string).collect(),
        }
    }

    fn tell(&self, run: &mut Run<'_>, format: Format) -> anyhow::Result<Exit> {
        let is_sound = self.flaws.is_empty();
        let head = self.head().map(ToString::to_string);
        if self.first > 1 && format != Format::Json {
            run.note(format_args!(
                "the file begins with entry {}; what was before it is not checked",
                self.first
            ));
        }
        if format == Format::Json {
            run.show_document(&self.document(), format)?;
        } else if is_sound {
            let (first, last) = (self.first, self.head().map_or(0, |head| head.seq));
            if first > 1 {
                run.say(format_args!("This part of the audit trail is sound: entries {first} to {last}."))?;
            } else {
                run.say(format_args!("The audit trail is sound: {} entries.", self.entries))?;
            }
            run.say(format_args!("head {}", head.unwrap_or_default()))?;
        } else {
            run.say("The audit trail is not sound:")?;
            for flaw in self.flaws.iter().take(FLAWS_MAX) {
                run.say(format_args!("  {flaw}"))?;
            }
            let more = self.flaws.len().saturating_sub(FLAWS_MAX);
            if more > 0 {
                run.say(format_args!("  and {more} more"))?;
            }
        }
        Ok(if is_sound { Exit::Ok } else { Exit::No })
    }
}

/// The end that this machine has seen. One that cannot be read is not the same as none.
fn remembered(run: &Run<'_>, origin: &str) -> anyhow::Result<Option<AuditHead>> {
    let unreadable =
        |error| Usage(format!("where the trail ended the last time: {error}; --forget goes on without it"));
    Ok(memory::audit_head(&run.env, origin).map_err(unreadable)?)
}
