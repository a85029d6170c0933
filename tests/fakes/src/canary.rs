//! Secrets that are like no other text, so that one search finds every place where one got to.

use crate::{tally, wait_until};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs, io,
    io::Read as _,
    path::Path,
    time::Duration,
};

/// The secrets of one test. Make them, use them, sweep at the end.
#[derive(Debug, Clone, Default)]
pub struct Canary {
    secrets: Vec<(String, String)>,
}

impl Canary {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a secret with 128 random bits in it; `label` is what a finding calls it.
    pub fn secret(&mut self, label: &str) -> String {
        let mut random = [0; 16];
        fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut random)).expect("random bytes");
        let value = random.iter().fold(format!("canary-{label}-"), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        });
        self.watch(label, &value);
        value
    }

    /// Looks for an existing secret too. Of a token of mcpd only the secret part counts; its id may be seen.
    pub fn watch(&mut self, label: &str, value: &str) {
        let secret = match value.strip_prefix("mcpd_").and_then(|rest| rest.split_once('_')) {
            Some((_id, secret)) => secret,
            None => value,
        };
        assert!(secret.len() >= 12, "{label} is too short to be searched for");
        self.secrets.push((label.to_owned(), secret.to_owned()));
    }

    /// Asserts that no secret, plain or in base64, stands in these files, in files under these folders, in their
    /// names, or in these bytes.
    pub fn sweep(&self, paths: &[&Path], bytes: &[(&str, &[u8])]) {
        let findings = self.findings(paths, bytes);
        // The secrets themselves stay out of the message: it may be kept for longer than they.
        assert!(findings.is_empty(), "secrets got out: {findings:#?}");
    }

    /// Where secrets stand, of the places that [`Canary::sweep`] looks at.
    pub fn findings(&self, paths: &[&Path], bytes: &[(&str, &[u8])]) -> Vec<String> {
        assert!(!self.secrets.is_empty(), "a sweep for nothing finds nothing");
        tally("sweeps for secrets", 1);
        let needles = Needles::of(&self.secrets);
        let mut findings = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            let found = needles.in_bytes(bytes);
            findings.extend(found.into_iter().map(|label| format!("{label} in {place}")));
        };
        for path in paths {
            visit(path, &mut look).unwrap_or_else(|e| panic!("sweep of {}: {e}", path.display()));
        }
        for (place, bytes) in bytes {
            look(place, bytes);
        }
        findings
    }
}

/// All forms of all secrets by how they begin, so that thousands of them are looked for in one go.
struct Needles<'a>(HashMap<[u8; BEGINNING], Vec<(&'a str, Vec<u8>)>>);

/// No form of a secret is shorter.
const BEGINNING: usize = 8;

impl<'a> Needles<'a> {
    fn of(secrets: &'a [(String, String)]) -> Self {
        let mut needles: HashMap<_, Vec<_>> = HashMap::new();
        for (label, secret) in secrets {
            for form in forms(secret) {
                let beginning = *form.first_chunk().expect("no form is shorter");
                needles.entry(beginning).or_default().push((label.as_str(), form));
            }
        }
        Self(needles)
    }

    /// The labels of what is in there.
    fn in_bytes(&self, bytes: &[u8]) -> BTreeSet<&'a str> {
        // Nearly no place begins like a secret does: its first two bytes tell.
        let mut possible = vec![false; 1 << 16];
        for beginning in self.0.keys() {
            possible[usize::from(u16::from_le_bytes([beginning[0], beginning[1]]))] = true;
        }
        let mut found = BTreeSet::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            if !possible[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                continue;
            }
            let rest = &bytes[at..];
            let candidates = rest.first_chunk().and_then(|beginning| self.0.get(beginning));
            let here = candidates.into_iter().flatten().filter(|(_, form)| rest.starts_with(form));
            found.extend(here.map(|(label, _)| *label));
        }
        found
    }
}

/// What everybody on this machine can see of a process: its arguments, and its environment for the same user; of a
/// process that hides its memory (ours do) root alone sees the environment.
pub fn process_args_and_env(pid: u32) -> Vec<u8> {
    let read = |what: &str| match fs::read(format!("/proc/{pid}/{what}")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
        seen => seen.expect("the process runs"),
    };
    // A parent goes on a moment before the kernel has put the new program's arguments in their place.
    wait_until(Duration::from_secs(5), "the program is loaded", || !read("cmdline").is_empty());
    [read("cmdline"), read("environ")].concat()
}

/// Calls `look` with every file at or under a path. Links are read as what they say, not followed.
fn visit(path: &Path, look: &mut impl FnMut(&str, &[u8])) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    let name = path.display().to_string();
    look(&name, path.as_os_str().as_encoded_bytes());
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            visit(&entry?.path(), look)?;
        }
    } else if kind.is_symlink() {
        look(&name, fs::read_link(path)?.as_os_str().as_encoded_bytes());
    } else if kind.is_file() {
        look(&name, &fs::read(path)?);
    }
    Ok(())
}

/// The secret as it is, and the part of its base64 that does not depend on what stands around it, for each of the
/// three places at which it can start.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    for lead in 0..3 {
        let bytes = [&vec![0; lead], secret.as_bytes()].concat();
        let whole = bytes.len() / 3 * 3;
        // The first group has foreign bits in it unless the secret starts there.
        let first = if lead == 0 { 0 } else { 3 };
        for alphabet in [b"+/", b"-_"] {
            forms.push(base64(&bytes[first..whole], *alphabet));
        }
    }
    forms
}

/// Of whole groups of three bytes only.
fn base64(bytes: &[u8], last_two: [u8; 2]) -> Vec<u8> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |six_bits: u32| {
        let at = (six_bits & 63) as usize;
        *ALPHABET.get(at).unwrap_or_else(|| &last_two[at - 62])
    };
    let groups =
        bytes.chunks_exact(3).map(|g| u32::from(g[0]) << 16 | u32::from(g[1]) << 8 | u32::from(g[2]));
    groups.flat_map(|g| [letter(g >> 18), letter(g >> 12), letter(g >> 6), letter(g)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(bytes: &[u8], needle: &[u8]) -> bool {
        bytes.windows(needle.len()).any(|window| window == needle)
    }

    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn found(canary: &Canary, bytes: &[u8]) -> bool {
        catch_unwind(AssertUnwindSafe(|| canary.sweep(&[], &[("bytes", bytes)]))).is_err()
    }

    #[test]
    fn base64_is_base64() {
        assert_eq!(base64(b"Man\xff\xff\xfe", *b"+/"), b"TWFu///+");
        assert_eq!(base64(b"Man\xff\xff\xfe", *b"-_"), b"TWFu___-");
    }

    #[test]
    fn a_secret_is_found_plain_and_in_base64_wherever_it_starts() {
        let mut canary = Canary::new();
        let secret = canary.secret("key");
        assert!(!found(&canary, b"nothing to see"));
        assert!(found(&canary, format!("before {secret} after").as_bytes()));
        for before in ["", "u", "us", "user:", "Bearer "] {
            let mut text = format!("{before}{secret}").into_bytes();
            text.resize(text.len().next_multiple_of(3), b'.');
            assert!(found(&canary, &base64(&text, *b"+/")), "after {before:?}");
        }
    }

    #[test]
    fn the_id_of_a_token_may_be_seen_and_its_secret_may_not() {
        let mut canary = Canary::new();
        canary.watch("token", "mcpd_abc123_0123456789abcdef0123456789abcdef");
        assert!(!found(&canary, b"revoked token abc123"));
        assert!(found(&canary, b"0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn files_in_folders_and_names_of_files_are_searched() {
        let mut canary = Canary::new();
        let secret = canary.secret("prompt");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/log"), "harmless").unwrap();
        canary.sweep(&[dir.path()], &[]);
        fs::write(dir.path().join("a/b/log"), format!("x{secret}")).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| canary.sweep(&[dir.path()], &[]))).is_err());
        fs::rename(dir.path().join("a/b/log"), dir.path().join("a").join(&secret)).unwrap();
        fs::write(dir.path().join("a").join(&secret), "harmless").unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| canary.sweep(&[dir.path()], &[]))).is_err());
    }

    #[test]
    fn a_process_shows_its_arguments_and_environment() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env("MARK", "seen-in-env").spawn().unwrap();
        let seen = process_args_and_env(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(contains(&seen, b"sleep\x0060") && contains(&seen, b"MARK=seen-in-env"));
    }
}
