//! A log that goes on, also over its being put aside.

use super::{Shown, is_same, open};
use crate::{
    cmd::providers::reader,
    engine::{Place, place::LOGS},
    exit::Exit,
};
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
        } else if reader::is_gone_within(LOOK) {
            return Ok(Exit::OutputClosed);
        }
    }
}
