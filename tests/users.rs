//! Tests that the users who may read a file stay the same: access lists and attributes survive every rotation.
//!
//! The lists are real ones, on the file system of the temporary folder. Other users are real too, so the tests with
//! them need root. Without it each prints that it was left out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ring_auth::files::Disk;
use ring_auth::location::{Location, Opened};
use ring_auth::manager::{Event, Listener, Manager, Parts, SystemClock};
use ring_auth::mirror::{Purpose, Target};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use support::Ring;

const NOBODY: u32 = 65534;
/// A group that no user of the system needs.
const GROUP: u32 = 60;
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

struct Quiet;

impl Listener for Quiet {
    fn on_event(&self, _event: Event) {}
}

/// An access list in the format of the kernel: the owner, one named user, the group, the mask, all others.
fn access_list(owner: u16, named: (u32, u16), group: u16, mask: u16, others: u16) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let entries =
        [(1_u16, owner, NO_ID), (2, named.1, named.0), (4, group, NO_ID), (0x10, mask, NO_ID), (0x20, others, NO_ID)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty())
}

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1024];
    match rustix::fs::getxattr(path, name, &mut bytes) {
        Ok(length) => {
            bytes.truncate(length);
            Some(bytes)
        }
        Err(Errno::NODATA) => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Sets a list or an attribute. On a file system without them it prints a message and returns false.
fn could_set(path: &Path, name: &str, value: &[u8]) -> bool {
    match set(path, name, value) {
        Err(Errno::OPNOTSUPP) => {
            println!("LEFT OUT: {} has no {name}", path.display());
            false
        }
        done => {
            done.unwrap();
            true
        }
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn text(kind: &str, token: &str) -> String {
    match kind {
        "config.json" => format!("{{\"platforms\": [{{\"platform\": \"Ring\", \"refreshToken\": \"{token}\"}}]}}\n"),
        _ => format!("RING_REFRESH_TOKEN={token}\n"),
    }
}

fn manager_of(ring: &Ring, file: &Path) -> Manager {
    let oauth = support::wire(&ring.url);
    let issuer = oauth.endpoints().issuer();
    let (path, platform, name, key) = (file.to_owned(), None, None, None);
    let target = if file.ends_with("config.json") {
        Target::Homebridge { path, platform, name }
    } else {
        Target::Dotenv { path, key }
    };
    let location = Location::Mirror { target, state_path: None };
    let Opened { store, mirror, .. } = location.open(&issuer.into(), Disk::default(), Purpose::Follow).unwrap();
    let clock = Arc::new(SystemClock::new());
    let runtime = tokio::runtime::Handle::current();
    support::with_parts(Parts { store, mirror, oauth, clock, listener: Arc::new(Quiet), shared: None, runtime }, None)
}

/// Rotates the token in a file, or in a journal, several times.
fn rotate(ring: &Ring, file: &Path, token: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let manager = if file.ends_with("journal.json") {
            let (token, wire) = (Some(token.to_owned()), support::wire(&ring.url));
            support::manager(file, token, Disk::default(), wire, Arc::new(Quiet))
        } else {
            manager_of(ring, file)
        };
        for _ in 0..2 {
            manager.refresh(false).await.unwrap();
        }
        manager.close().await;
        let newest = manager.refresh_token().unwrap();
        assert!(std::fs::read_to_string(file).unwrap().contains(newest.expose()), "{}", file.display());
    });
    assert_eq!(ring.account().stale, 0);
}

/// The process that rotates: the test binary, started again.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let (url, file) = job.split_once('\n').unwrap();
    let ring = Ring::at(url);
    rotate(&ring, &PathBuf::from(file), "");
}

/// Rotates in a process of another user.
fn rotate_as_nobody(ring: &Ring, file: &Path) {
    let child = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("RING_AUTH_CHILD", format!("{}\n{}", ring.url, file.display()))
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(child.status.success(), "{said:?}");
    assert_eq!(ring.account().stale, 0);
}

/// Creates a file of each kind with the token of an account, and rotates once, so that its journal exists.
fn files(folder: &Path) -> [(Ring, PathBuf, String); 3] {
    ["config.json", ".env", "journal.json"].map(|kind| {
        let own = folder.join(format!("of-{kind}"));
        std::fs::create_dir(&own).unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        let ring = Ring::start();
        let (file, token) = (own.join(kind), ring.first_token());
        if kind != "journal.json" {
            support::write_private(&file, &text(kind, &token));
        }
        rotate(&ring, &file, &token);
        (ring, file, token)
    })
}

#[test]
fn an_access_list_and_attributes_survive_a_rotation() {
    let folder = folder();
    for (ring, file, token) in files(folder.path()) {
        // The list lets one user read the file, and not the group, although the mode looks as if the group could.
        let list = access_list(6, (NOBODY, 4), 0, 4, 0);
        if !could_set(&file, ACCESS, &list) || !could_set(&file, "user.backup", b"yes") {
            return;
        }
        set(&file, "user.long", &[b'x'; 2000]).unwrap();
        // The file stays open, so that no other file gets its inode number.
        let open = std::fs::File::open(&file).unwrap();
        let inode = open.metadata().unwrap().ino();
        rotate(&ring, &file, &token);
        assert_ne!(std::fs::metadata(&file).unwrap().ino(), inode, "{} was replaced, not written over", file.display());
        assert_eq!(value(&file, ACCESS), Some(list), "{}", file.display());
        assert_eq!(value(&file, "user.backup").as_deref(), Some(&b"yes"[..]), "{}", file.display());
        assert_eq!(rustix::fs::getxattr(&file, "user.long", &mut [0; 4096][..]), Ok(2000), "{}", file.display());
    }
}

#[test]
fn a_default_list_of_the_folder_gives_no_user_a_right() {
    let folder = folder();
    for (ring, file, token) in files(folder.path()) {
        let generous = access_list(7, (NOBODY, 7), 7, 7, 7);
        let own = file.parent().unwrap();
        if !could_set(own, DEFAULT, &generous) {
            return;
        }
        rotate(&ring, &file, &token);
        assert_eq!(value(&file, ACCESS), None, "{}", file.display());
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
        for entry in std::fs::read_dir(own).unwrap().map(Result::unwrap) {
            assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{}", entry.path().display());
        }
    }
}

#[test]
fn the_user_named_in_a_list_can_read_and_the_group_that_it_refuses_cannot() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: other users need root");
        return;
    }
    let folder = folder();
    let can_read = |file: &Path, user: u32, group: u32| {
        let ids = [("--reuid", user), ("--regid", group)];
        let ids = ids.iter().flat_map(|(option, id)| [(*option).to_owned(), id.to_string()]);
        let read = Command::new("setpriv").args(ids).arg("--clear-groups").arg("cat").arg(file).output().unwrap();
        read.status.success()
    };
    for (ring, file, token) in files(folder.path()) {
        chown(&file, Some(0), Some(GROUP)).unwrap();
        if !could_set(&file, ACCESS, &access_list(6, (NOBODY, 4), 0, 4, 0)) {
            return;
        }
        for _ in 0..2 {
            assert!(can_read(&file, NOBODY, NOBODY), "{}", file.display());
            assert!(!can_read(&file, 1, GROUP), "{}", file.display());
            rotate(&ring, &file, &token);
        }
    }
}

#[test]
fn attributes_that_cannot_be_copied_are_kept_by_writing_in_place() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: an attribute that its owner cannot set needs root");
        return;
    }
    let folder = folder();
    for (ring, file, _) in files(folder.path()) {
        let own = file.parent().unwrap();
        for path in [own.to_owned(), file.clone()].into_iter().chain(walk(own)) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        if !could_set(&file, "security.ring-auth-test", b"kept") {
            return;
        }
        let inode = std::fs::metadata(&file).unwrap().ino();
        rotate_as_nobody(&ring, &file);
        assert_eq!(value(&file, "security.ring-auth-test").as_deref(), Some(&b"kept"[..]), "{}", file.display());
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode, "{}", file.display());
    }
}

#[test]
fn a_folder_that_may_be_written_and_not_read_is_enough() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: another user needs root");
        return;
    }
    let folder = folder();
    for (ring, file, _) in files(folder.path()) {
        let own = file.parent().unwrap();
        for path in [own.to_owned()].into_iter().chain(walk(own)) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o300)).unwrap();
        rotate_as_nobody(&ring, &file);
    }
}

/// The files and folders below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], walk(&path)].concat() } else { vec![path] })
        .collect()
}
