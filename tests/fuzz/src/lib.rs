//! What must hold of everything that the two programs read from others, whatever the bytes: a function a reader, which
//! panics where it does not hold.
//!
//! `scripts/fuzz` looks for bytes that break one, by the package in `fuzz/`; the test of this package runs each over the
//! bytes that were kept: `fuzz/corpus` and `fuzz/regressions`. What a reader must make of its bytes is said once more
//! here, in the simplest way there is, and not with the code under test.

mod decision;
mod documents;
mod journal;
mod names;
mod provider_file;
mod request_head;
mod sse;
mod upstream_head;

/// A reader, and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its folders and of its file in `fuzz/targets`.
    pub name: &'static str,
    /// Panics if it does not hold for these bytes.
    pub check: fn(&[u8]),
}

/// Server-sent events, and the answer that they make.
pub const SSE: Target = Target { name: "sse", check: sse::check };
/// The provider file.
pub const PROVIDER_FILE: Target = Target { name: "provider_file", check: provider_file::check };
/// Names, ids and keys.
pub const NAMES: Target = Target { name: "names", check: names::check };
/// The answer to a probe, and the question.
pub const DECISION: Target = Target { name: "decision", check: decision::check };
/// Requests on a connection to mcpd.
pub const REQUEST_HEAD: Target = Target { name: "request_head", check: request_head::check };
/// Answers of upstreams.
pub const UPSTREAM_HEAD: Target = Target { name: "upstream_head", check: upstream_head::check };
/// Documents of administration, and JSON that says everything once.
pub const DOCUMENTS: Target = Target { name: "documents", check: documents::check };
/// The history of failovers.
pub const JOURNAL: Target = Target { name: "journal", check: journal::check };

/// All of them.
pub const TARGETS: &[Target] =
    &[SSE, PROVIDER_FILE, NAMES, DECISION, REQUEST_HEAD, UPSTREAM_HEAD, DOCUMENTS, JOURNAL];

/// Ways to cut bytes into pieces, as a network does: none, everywhere, in threes, and each in two.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let everywhere = bytes.chunks(1).collect();
    let threes = bytes.chunks(3).collect();
    // Of what is long, some of the places: `everywhere` has them all at once.
    let step = bytes.len() / 16 + 1;
    let twos = (0..=bytes.len()).step_by(step).map(|at| vec![&bytes[..at], &bytes[at..]]);
    [vec![bytes], everywhere, threes].into_iter().chain(twos).collect()
}
