//! A log that goes on, also over its being put aside.

use super::{Shown, is_same, open};
use crate::{
    engine::{Place, place::LOGS},
    exit::Exit,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{fs::File, time::Duration};

/// How often it is looked whether there is more.
const LOOK: Duration = Duration::from_millis(200);

/// Shows what is logged until nobody reads it any more. What is in `current` was shown already as far as it was read.
pub(super) fn follow(place: &Place, mut current: File, shown: &mut Shown<'_>) -> anyhow::Result<Exit> {
    loop {
        shown.copy(&mut current)?;
        shown.out.flush()?;
        if let Some(next) = open(place, LOGS[0])?.filter(|next| !is_same(next, &current)) {
            // What was written between our last look and the change of names.
            shown.copy(&mut current)?;
            // One that came and went meanwhile.
            if let Some(mut missed) = open(place, LOGS[1])?.filter(|older| !is_same(older, &current)) {
                shown.copy(&mut missed)?;
            }
            current = next;
        } else if reader_is_gone() {
            return Ok(Exit::OutputClosed);
        }
    }
}

/// Waits a little; ends at once when nobody reads standard output any more, which nothing else would tell as long as
/// the engine is silent.
fn reader_is_gone() -> bool {
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    let out = rustix::stdio::stdout();
    let mut out = [PollFd::new(&out, PollFlags::empty())];
    poll(&mut out, Some(&look)).is_ok_and(|ready| ready > 0)
}
