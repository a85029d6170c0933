//! What is planted is refused, and what is swapped has no effect.

use super::*;
use rustix::fs::{CWD, chownat, mknodat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Gives a path (a link itself, too) to somebody else; only root can.
fn give_away(path: &Path) -> bool {
    let root = rustix::process::geteuid().is_root();
    if root {
        let nobody = Some(rustix::fs::Uid::from_raw(NOBODY));
        chownat(CWD, path, nobody, None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    } else {
        eprintln!("SKIPPED: k07 with a second owner needs root, to give a file to another user");
    }
    root
}

fn fixture() -> (TempDir, PrivateFolder) {
    let home = TempDir::new().unwrap();
    let folder = private_folder(&home.path().join("state")).unwrap();
    (home, folder)
}

#[test]
fn k07_a_missing_folder_is_made_with_those_above_it_and_for_us_alone() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("a/b/c");
    let folder = private_folder(&path).unwrap();
    assert_eq!(folder.path(), path);
    assert!(path.ancestors().take(3).all(|it| mode(it) == 0o700));
    let inner = folder.subfolder("inner").unwrap();
    assert_eq!((inner.path(), mode(inner.path())), (&*path.join("inner"), 0o700));
    private_folder(&path).unwrap();
}

#[test]
fn k07_a_link_in_place_of_the_folder_is_refused_wherever_it_leads() {
    let home = TempDir::new().unwrap();
    chmod(home.path(), 0o700);
    fs::create_dir(home.path().join("real")).unwrap();
    for target in ["real", "nothing-there"] {
        let link = home.path().join(format!("to-{target}"));
        symlink(home.path().join(target), &link).unwrap();
        let error = private_folder(&link).unwrap_err();
        assert!(matches!(error, FileError::InTheWay { .. }), "{error}");
        let error = private_folder(home.path()).unwrap().subfolder(&format!("to-{target}")).unwrap_err();
        assert!(error.to_string().contains("remove it"), "{error}");
    }
    fs::write(home.path().join("file"), "").unwrap();
    assert!(matches!(private_folder(&home.path().join("file")), Err(FileError::InTheWay { .. })));
    assert!(matches!(private_folder(&home.path().join("file/x")), Err(FileError::InTheWay { .. })));
    for no_name in ["/", "/tmp/..", ""] {
        assert!(private_folder(Path::new(no_name)).is_err(), "{no_name:?}");
    }
}

#[test]
fn k07_no_folder_above_may_be_changed_by_others() {
    let home = TempDir::new().unwrap();
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::create_dir(home.path().join("real")).unwrap();
    symlink(home.path().join("real"), open.join("link")).unwrap();
    for mode in [0o770, 0o707, 0o777] {
        chmod(&open, mode);
        let error = private_folder(&open.join("link/state")).unwrap_err();
        assert!(error.to_string().ends_with(&format!("chmod go-w {}", open.display())), "{mode:o}: {error}");
    }
    // Over a link of our own as well: what counts are the folders on its way.
    symlink(&open, home.path().join("detour")).unwrap();
    assert!(matches!(private_folder(&home.path().join("detour/state")), Err(FileError::Writable { .. })));
    assert_eq!(names(&open), ["link"]);
    assert_eq!(names(&home.path().join("real")), [""; 0]);
    // In a sticky folder a link is as safe as its owner.
    chmod(&open, 0o1777);
    private_folder(&open.join("link/state")).unwrap();
    if give_away(&open.join("link")) {
        let error = private_folder(&open.join("link/state")).unwrap_err();
        assert!(matches!(error, FileError::Foreign { owner: NOBODY, .. }), "{error}");
    }
}

#[test]
fn k07_links_that_lead_in_a_circle_end() {
    let home = TempDir::new().unwrap();
    symlink("b", home.path().join("a")).unwrap();
    symlink("x/../a", home.path().join("b")).unwrap();
    fs::create_dir(home.path().join("x")).unwrap();
    assert!(private_folder(&home.path().join("a/state")).is_err());
    // One that leads up and around does not disturb.
    symlink("../x/..", home.path().join("x/up")).unwrap();
    private_folder(&home.path().join("x/up/x/../x/state")).unwrap();
    assert_eq!(names(&home.path().join("x")), ["state", "up"]);
}

#[test]
fn k07_a_folder_that_others_may_enter_is_refused_with_the_chmod_that_mends_it() {
    let (_home, folder) = fixture();
    for mode in [0o750, 0o701, 0o720, 0o707] {
        chmod(folder.path(), mode);
        let error = private_folder(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("chmod 700 {}", folder.path().display())), "{error}");
    }
    chmod(folder.path(), 0o700);
    private_folder(folder.path()).unwrap();
}

#[test]
fn k07_what_another_user_owns_is_refused() {
    let (_home, folder) = fixture();
    folder.write("record", b"theirs").unwrap();
    folder.subfolder("sub").unwrap();
    if !give_away(&folder.path().join("record")) {
        return;
    }
    let foreign = |error| matches!(error, FileError::Foreign { owner: NOBODY, .. });
    assert!(foreign(folder.read("record", 9).unwrap_err()));
    assert!(foreign(folder.open_private("record", OFlags::WRONLY | OFlags::TRUNC).unwrap_err()));
    assert_eq!(fs::read(folder.path().join("record")).unwrap(), b"theirs");
    give_away(&folder.path().join("sub"));
    assert!(foreign(folder.subfolder("sub").unwrap_err()));
    assert!(foreign(private_folder(&folder.path().join("sub/deeper")).unwrap_err()));
    give_away(folder.path());
    assert!(foreign(private_folder(folder.path()).unwrap_err()));
}

#[test]
fn k07_nothing_but_a_file_is_opened_in_place_of_a_file_and_nobody_waits() {
    let (home, folder) = fixture();
    let victim = home.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    chmod(&victim, 0o600);
    symlink(&victim, folder.path().join("link")).unwrap();
    symlink(home.path().join("nowhere"), folder.path().join("dangling")).unwrap();
    fs::create_dir(folder.path().join("directory")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    mknodat(CWD, folder.path().join("pipe"), fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let ways = [
        OFlags::RDONLY,
        OFlags::WRONLY,
        OFlags::RDWR | OFlags::CREATE,
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
    ];
    for name in ["link", "dangling", "directory", "pipe", "socket"] {
        for how in ways {
            let error = folder.open_private(name, how).unwrap_err();
            assert!(matches!(error, FileError::InTheWay { .. }), "{name} {how:?}: {error}");
        }
        assert!(folder.read(name, 99).is_err(), "{name}");
    }
    folder.write("link", b"new").unwrap();
    folder.remove("dangling").unwrap();
    assert!(folder.remove("directory").is_err() && folder.write("directory", b"").is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(names(home.path()), ["state", "victim"]);
    assert_eq!(names(folder.path()), ["directory", "link", "pipe", "socket"]);
}

#[test]
fn k07_a_file_that_others_may_use_is_refused() {
    let (_home, folder) = fixture();
    folder.write("record", b"x").unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o611] {
        chmod(&folder.path().join("record"), mode);
        assert!(matches!(folder.read("record", 9), Err(FileError::Readable(_))), "{mode:o}");
    }
}

#[test]
fn k07_a_path_that_is_swapped_afterwards_changes_nothing() {
    let (home, folder) = fixture();
    let (moved, trap) = (home.path().join("moved"), home.path().join("trap"));
    fs::create_dir(&trap).unwrap();
    fs::rename(folder.path(), &moved).unwrap();
    symlink(&trap, folder.path()).unwrap();
    folder.write("record", b"ours").unwrap();
    folder.open_private("log", OFlags::WRONLY | OFlags::CREATE).unwrap();
    folder.subfolder("sub").unwrap().write("inner", b"").unwrap();
    assert_eq!(folder.read("record", 9).unwrap().unwrap(), b"ours");
    folder.remove("log").unwrap();
    assert_eq!(names(&trap), [""; 0]);
    assert_eq!(names(&moved), ["record", "sub"]);
}

#[test]
fn k07_a_name_does_not_lead_out_of_the_folder() {
    let (home, folder) = fixture();
    fs::write(home.path().join("x"), "").unwrap();
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b"] {
        assert!(folder.open_private(name, OFlags::RDWR | OFlags::CREATE).is_err(), "{name:?}");
        assert!(folder.read(name, 9).is_err() && folder.write(name, b"").is_err(), "{name:?}");
        assert!(folder.remove(name).is_err() && folder.subfolder(name).is_err(), "{name:?}");
    }
    assert!(home.path().join("x").exists());
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_file_is_written_whole_read_with_a_limit_and_removed() {
    let (_home, folder) = fixture();
    assert_eq!(folder.read("record", 9).unwrap(), None);
    folder.write("record", b"first").unwrap();
    folder.write("record", b"second").unwrap();
    assert_eq!(folder.read("record", 6).unwrap().unwrap(), b"second");
    assert!(matches!(folder.read("record", 5), Err(FileError::TooLarge { limit: 5, .. })));
    assert_eq!((names(folder.path()), mode(&folder.path().join("record"))), (vec!["record".into()], 0o600));
    folder.remove("record").unwrap();
    folder.remove("record").unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn one_of_many_that_create_a_file_exclusively_makes_it() {
    let (_home, folder) = fixture();
    let how = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    folder.open_private("lock", how).unwrap();
    let Err(FileError::Write { error, .. }) = folder.open_private("lock", how) else { panic!() };
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    let mut file = folder.open_private("lock", OFlags::WRONLY).unwrap();
    file.write_all(b"123").unwrap();
    folder.open_private("lock", OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).unwrap();
    assert_eq!(folder.read("lock", 9).unwrap().unwrap(), b"");
}

#[test]
fn what_a_killed_writer_left_goes_with_a_later_write_and_a_live_one_is_let_be() {
    let (_home, folder) = fixture();
    let long_ago = SystemTime::now() - 2 * LEFTOVER;
    for (name, old) in [
        (".record.0123456789abcdef", true),
        (".record.fedcba9876543210", false),
        (".record.not-of-a-writer", true),
        (".other.0123456789abcdef", true),
    ] {
        let file = folder.open_private(name, OFlags::WRONLY | OFlags::CREATE).unwrap();
        if old {
            file.set_modified(long_ago).unwrap();
        }
    }
    folder.write("record", b"").unwrap();
    let left = [".other.0123456789abcdef", ".record.fedcba9876543210", ".record.not-of-a-writer", "record"];
    assert_eq!(names(folder.path()), left);
}
