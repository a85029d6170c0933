//! A folder for what an engine puts beside its endpoint: vLLM's processes talk by sockets that they leave behind when
//! they are killed. It is of one start, and goes with it.

use super::{launch::Launch, place::SOCKET_PATH_MAX};
use crate::files;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The name of a socket of vLLM: a slash and a UUID.
const SOCKET_NAME: usize = 1 + 36;

/// Makes the folder of a start, if its engine takes one, nobody has chosen another, and its sockets would fit.
///
/// None is no reason not to start: the engine takes the folder for temporary files then.
pub(super) fn make(launch: &Launch, instance: &str) -> Option<PathBuf> {
    let variable = launch.kind.traits().scratch_variable?;
    if launch.env.contains_key(variable) || !launch.sockets.is_absolute() {
        return None;
    }
    let folder = launch.sockets.join(instance);
    if folder.as_os_str().len() + SOCKET_NAME > SOCKET_PATH_MAX {
        return None;
    }
    files::private_folder(&folder).ok().map(|_| folder)
}

/// Removes the folder of a start with the files in it, and no folder below it.
pub(super) fn remove(folder: &Path, instance: &str) {
    // What a record names that is not of its start is left alone.
    if folder.file_name().is_none_or(|name| name != instance) {
        return;
    }
    if !folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return;
    }
    let Ok(folder) = files::private_folder(folder) else { return };
    for name in folder.names().unwrap_or_default() {
        let _ = folder.remove(&name);
    }
    let _ = fs::remove_dir(folder.path());
}
