//! Keeps the memory of this program to itself: it holds tokens, keys and prompts.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Lets no core dump and no debugger of the same user read this process. To be called first.
///
/// What it starts inherits the limit, but not that it cannot be debugged.
pub fn no_core_dumps() {
    // Where the kernel refuses one of them the other still helps, and neither is a reason not to work. A core dump
    // that goes to a program (`|` in core_pattern) has no limit, so that the limit alone is not enough.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
