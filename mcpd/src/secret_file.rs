//! Small files that hold a secret and are read each time it is needed, since others may replace them.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

/// Reads at most `limit` bytes, on another thread: it can lie on a slow disk.
pub(crate) async fn read(path: &Path, limit: u64) -> io::Result<String> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_now(&path, limit));
    reading.await.unwrap_or_else(|_| Err(ErrorKind::Interrupted.into()))
}

fn read_now(path: &Path, limit: u64) -> io::Result<String> {
    // Looked at first: opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
