//! A new file for one token. It is made before the token is, so that a path that will not do costs nothing, and goes
//! away again unless the token is in it.

use mcp_api::Secret;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// An empty file that only we can read.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl TokenFile {
    /// Makes it. What is there already is left alone, and a link in its place is not followed.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, is_kept: false })
    }

    /// Writes the token and makes it last.
    pub(crate) fn keep(mut self, token: &Secret) -> io::Result<()> {
        writeln!(self.file, "{}", token.expose())?;
        self.file.sync_all()?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It is empty; if it stays, the next run says that it is there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a12_the_file_of_a_token_is_new_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        TokenFile::create(&path).unwrap().keep(&Secret::new("mcpd_x")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mcpd_x\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(TokenFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mcpd_x\n");
    }

    #[test]
    fn a12_a_link_in_its_place_is_not_followed_and_a_file_without_a_token_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink(&target, &link).unwrap();
        assert_eq!(TokenFile::create(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(TokenFile::create(&target).unwrap());
        assert!(!target.exists());
    }
}
