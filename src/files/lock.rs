//! A lock between processes: an operating-system lock, which the end of its holder releases.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::names::{make_private_folder_of, sibling, stand_ins};
use super::{platform, remedy};
use crate::{Error, ErrorCode, Result};

/// A lock that this process holds. It ends with the value, and with the process at the latest.
#[derive(Debug)]
pub(crate) struct Lock {
    files: [Option<File>; 2],
}

impl Lock {
    /// Tries to take the lock that is named after a file; `None` if another process has it.
    pub(crate) fn try_take(disk: &Disk, file: &Path) -> Result<Option<Self>> {
        Ok(match take_named(disk, file)? {
            Named::Beside(named) | Named::StandIn(named) => Some(Self { files: [Some(named), None] }),
            Named::Busy => None,
        })
    }

    /// Tries to take the lock that is named after a file, and then that of the file itself: it may be mounted alone into
    /// containers, or have a second name, and each of those has a named lock of its own.
    pub(crate) fn try_take_with_file(disk: &Disk, file: &Path) -> Result<Option<Self>> {
        let (named, has_stand_in) = match take_named(disk, file)? {
            Named::Beside(named) => (named, false),
            Named::StandIn(named) => (named, true),
            Named::Busy => return Ok(None),
        };
        let mut lock = Self { files: [Some(named), None] };
        Ok(match take_itself(disk, file, has_stand_in)? {
            Itself::Taken(itself) => {
                lock.files[1] = Some(itself);
                Some(lock)
            }
            Itself::NotNeeded => Some(lock),
            Itself::Busy => None,
        })
    }

    /// The file system and the number of the lock's file, which a copy of its folder does not have; `None` if the system does not say.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        platform::identity(self.files[0].as_ref()?)
    }

    /// Locks the file that took the place of the locked one: from now on that file can be mounted, or get a second name. If it
    /// cannot be locked, the lock that is named after it is enough.
    pub(crate) fn follow(&mut self, disk: &Disk, file: &Path) {
        if let Ok(Itself::Taken(itself)) = take_itself(disk, file, false) {
            release(self.files[1].replace(itself));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.files.iter_mut().for_each(|file| release(file.take()));
    }
}

/// Releases a lock. Closing the file alone does not, as long as a child that this process is starting has the file as well:
/// from the fork until the program of the child begins.
fn release(file: Option<File>) {
    // If the lock cannot be released, closing the file is all that is possible.
    let _ = file.map(|file| file.unlock());
}

/// The result of an attempt to take a lock that is named after a file.
enum Named {
    Beside(File),
    /// The lock is in a private folder of the user, or for root in that of the owner of the file.
    StandIn(File),
    Busy,
}

fn take_named(disk: &Disk, file: &Path) -> Result<Named> {
    let beside = sibling(file, ".lock");
    // A folder, a link or a device there belongs to another program: it is neither followed nor opened, and every process uses
    // the stand-in lock instead.
    if matches!(disk.metadata(&beside), Ok(Some(there)) if !there.is_file()) {
        return take_stand_in(disk, file, &beside);
    }
    match take(disk, &beside, || disk.open_lock(&beside, file)) {
        Ok(lock) => return Ok(lock.map_or(Named::Busy, Named::Beside)),
        Err(Trouble::Unsupported) => {}
        // No process of any user can create a lock in a read-only folder, so all of them take the stand-in lock.
        Err(Trouble::Unmakeable(error)) if can_nobody_make(disk, &beside, &error) => {}
        Err(Trouble::Unmakeable(error)) => return Err(unlockable(&beside, &error)),
    }
    take_stand_in(disk, file, &beside)
}

/// The lock in a private folder, for one that cannot be beside the file.
fn take_stand_in(disk: &Disk, file: &Path, beside: &Path) -> Result<Named> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for stand_in in stand_ins(disk, file, ".lock") {
        let lock = make_private_folder_of(disk, &stand_in, file)
            .map_err(Trouble::Unmakeable)
            .and_then(|()| take(disk, &stand_in, || disk.open_private_lock(&stand_in, file)));
        match lock {
            Ok(lock) => return Ok(lock.map_or(Named::Busy, Named::StandIn)),
            Err(Trouble::Unsupported) => {}
            // Every process of this user gets the same error, and tries the same next folder.
            Err(Trouble::Unmakeable(error))
                if error.kind() == io::ErrorKind::NotFound || can_nobody_make(disk, &stand_in, &error) =>
            {
                refused = error;
            }
            Err(Trouble::Unmakeable(error)) => return Err(unlockable(&stand_in, &error)),
        }
    }
    Err(unlockable(beside, &refused))
}

/// State of a lock that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// It can be taken. Its file may not exist yet.
    Free,
    /// Another process has it.
    Held,
    /// It can be taken in that private folder, which stands in for a folder in which no lock can be created.
    StandIn(PathBuf),
}

/// Tries whether the lock of a file can be taken as by [`Lock::try_take_with_file`]. Creates nothing, and releases the lock at
/// once. `is_made_beside` says whether a lock can be created in the folder of the file.
///
/// # Errors
///
/// `STORE_LOCKED` or `STORE` if no lock can be taken at all.
pub(crate) fn look(disk: &Disk, file: &Path, is_made_beside: bool) -> Result<Look> {
    let beside = sibling(file, ".lock");
    let is_free = match disk.metadata(&beside) {
        Ok(Some(there)) if there.is_file() => look_at(disk, &beside)?,
        Ok(Some(_)) => None,
        _ => is_made_beside.then_some(true),
    };
    match is_free {
        Some(false) => return Ok(Look::Held),
        Some(true) if matches!(take_itself(disk, file, false)?, Itself::Busy) => return Ok(Look::Held),
        Some(true) => return Ok(Look::Free),
        None => {}
    }
    let owner = disk.owner_of_stand_ins(file);
    for stand_in in stand_ins(disk, file, ".lock") {
        let Some(folder) = stand_in.parent() else { continue };
        if matches!(disk.metadata(&stand_in), Ok(Some(_))) {
            match look_at(disk, &stand_in)? {
                Some(false) => return Ok(Look::Held),
                Some(true) => return Ok(Look::StandIn(folder.to_owned())),
                None => continue,
            }
        }
        let can_be_made = if folder.exists() {
            platform::check_private_folder(folder, owner).is_ok()
        } else {
            folder.parent().is_some_and(platform::may_write)
        };
        if can_be_made {
            return Ok(Look::StandIn(folder.to_owned()));
        }
    }
    Err(unlockable(&beside, &io::ErrorKind::Unsupported.into()))
}

/// Whether an existing lock can be taken; `None` if its file system has no locks.
fn look_at(disk: &Disk, lock: &Path) -> Result<Option<bool>> {
    match take(disk, lock, || disk.open_lock_if_there(lock)) {
        Ok(taken) => {
            let is_free = taken.is_some();
            release(taken);
            Ok(Some(is_free))
        }
        Err(Trouble::Unsupported) => Ok(None),
        Err(Trouble::Unmakeable(error)) => Err(unlockable(lock, &error)),
    }
}

/// Whether a lock does not exist, and no process can create it. A full disk does not mean that: another process may find space
/// a moment later.
fn can_nobody_make(disk: &Disk, lock: &Path, error: &io::Error) -> bool {
    let is_refused = platform::means_irreplaceable(error) || error.kind() == io::ErrorKind::PermissionDenied;
    is_refused && matches!(disk.metadata(lock), Ok(None))
}

/// The result of an attempt to lock a file itself.
enum Itself {
    Taken(File),
    /// The file does not exist, has no other names that matter, or cannot be locked.
    NotNeeded,
    Busy,
}

fn take_itself(disk: &Disk, path: &Path, has_stand_in: bool) -> Result<Itself> {
    let failed = |error: io::Error| unlockable(path, &error);
    for _ in 0..TRIES {
        let Some(file) = disk.open_itself(path).map_err(failed)? else { return Ok(Itself::NotNeeded) };
        if !platform::is_locked_itself(&file, path, has_stand_in).map_err(failed)? {
            return Ok(Itself::NotNeeded);
        }
        match disk.try_lock(&file, path) {
            Ok(true) => {}
            Ok(false) => return Ok(Itself::Busy),
            Err(error) if platform::means_no_locks(&error) => return Ok(Itself::NotNeeded),
            // A network file system locks only files that were opened for writing, and this one is read-only.
            Err(error) if platform::means_not_writable(&error) => return Ok(Itself::NotNeeded),
            Err(error) => return Err(failed(error)),
        }
        if !platform::is_still_at(&file, path).map_err(failed)? {
            release(Some(file));
            continue;
        }
        if platform::is_left_over(&file, path).map_err(failed)? {
            release(Some(file));
            return Err(left_over(path));
        }
        return Ok(Itself::Taken(file));
    }
    Ok(Itself::Busy)
}

/// How often a file is opened again that was replaced between its opening and its locking.
const TRIES: u32 = 16;

enum Trouble {
    /// The file system has no locks.
    Unsupported,
    /// The file cannot be opened or created.
    Unmakeable(io::Error),
}

fn take(disk: &Disk, path: &Path, open: impl Fn() -> io::Result<File>) -> Result<Option<File>, Trouble> {
    // A person may remove the file between the opening and the locking here: then two processes would lock two files.
    for _ in 0..TRIES {
        let file = open().map_err(Trouble::Unmakeable)?;
        match disk.try_lock(&file, path) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if platform::means_no_locks(&error) => return Err(Trouble::Unsupported),
            Err(error) => return Err(Trouble::Unmakeable(error)),
        }
        if platform::is_still_at(&file, path).map_err(Trouble::Unmakeable)? {
            return Ok(Some(file));
        }
        release(Some(file));
    }
    Ok(None)
}

fn unlockable(path: &Path, error: &io::Error) -> Error {
    // A full disk says nothing about other processes.
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::Store,
        _ => ErrorCode::StoreLocked,
    };
    let sentence = format!(
        "The lock {} cannot be taken, so another process could be using the same token. {}",
        path.display(),
        remedy(error)
    );
    Error::new(code, sentence).with_cause(error)
}

fn left_over(path: &Path) -> Error {
    Error::new(
        ErrorCode::Store,
        format!(
            "The journal {} was replaced outside of this container, which still has the old file. Restart the container, or mount the journal's folder instead of the file. Nothing was sent.",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::sync::Arc;

    #[cfg(target_os = "linux")]
    use super::super::disk::{Moment, Probe};
    use super::*;

    #[test]
    fn a_lock_ends_with_its_value_also_while_a_child_that_is_being_started_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("j.json");
        let held = Lock::try_take(&Disk::default(), &file).unwrap().unwrap();
        // The copy that a fork has until the program of the child begins.
        let inherited = held.files[0].as_ref().unwrap().try_clone().unwrap();
        assert!(Lock::try_take(&Disk::default(), &file).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take(&Disk::default(), &file).unwrap().is_some());
        drop(inherited);
    }

    #[test]
    fn a_lock_has_the_same_identity_whenever_it_is_taken_and_that_of_a_copy_has_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let [file, copy] = ["original", "copy"].map(|name| folder.path().join(name).join("j.json"));
        let identity = |file: &Path| Lock::try_take(&Disk::default(), file).unwrap().unwrap().identity();
        for file in [&file, &copy] {
            std::fs::create_dir(file.parent().unwrap()).unwrap();
        }
        let first = identity(&file);
        std::fs::copy(sibling(&file, ".lock"), sibling(&copy, ".lock")).unwrap();
        assert!(first.is_some());
        assert_eq!(identity(&file), first);
        assert_ne!(identity(&copy), first);
    }

    /// Has the file of each lock that is taken as well, as a fork has it until the child's own program begins.
    #[cfg(target_os = "linux")]
    #[derive(Default)]
    struct Inherits(std::sync::Mutex<Vec<std::os::fd::OwnedFd>>);

    #[cfg(target_os = "linux")]
    impl Probe for Inherits {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            if (call, moment) != ("lock", Moment::After) || path.extension().is_none_or(|ending| ending != "lock") {
                return Ok(());
            }
            let this = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
            for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
                let number = entry.file_name().to_string_lossy().parse::<i32>();
                if let (Ok(number), true) = (number, std::fs::read_link(entry.path()).is_ok_and(|file| file == path)) {
                    let flags = rustix::process::PidfdGetfdFlags::empty();
                    self.0.lock().unwrap().push(rustix::process::pidfd_getfd(&this, number, flags)?);
                }
            }
            Ok(())
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_that_is_given_up_ends_also_while_a_child_that_is_being_started_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = platform::canonicalize(folder.path()).unwrap().join("j.json");
        std::fs::write(&file, "").unwrap();
        let busy = File::open(&file).unwrap();
        assert!(busy.try_lock().is_ok());
        let inherits = Arc::new(Inherits::default());
        let disk = Disk::with_probe(Arc::clone(&inherits) as Arc<dyn Probe>);
        match Lock::try_take_with_file(&disk, &file) {
            Ok(taken) => assert!(taken.is_none()),
            Err(error) => return println!("LEFT OUT: this system lets no process have a file twice: {error}"),
        }
        assert!(!inherits.0.lock().unwrap().is_empty());
        assert!(Lock::try_take(&Disk::default(), &file).unwrap().is_some(), "the lock that is named after the file");
        drop(busy);
        assert!(Lock::try_take_with_file(&Disk::default(), &file).unwrap().is_some());
    }

    #[test]
    fn a_look_shows_who_has_the_lock_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, file) = (Disk::default(), folder.path().join("j.json"));
        let look = |is_made_beside| look(&disk, &file, is_made_beside).unwrap();
        assert_eq!(look(true), Look::Free);
        assert!(matches!(look(false), Look::StandIn(_)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let held = Lock::try_take_with_file(&disk, &file).unwrap();
        assert!(held.is_some());
        assert_eq!(look(true), Look::Held);
        drop(held);
        assert_eq!([look(true), look(false)], [Look::Free, Look::Free], "its file is there");
        assert!(Lock::try_take_with_file(&disk, &file).unwrap().is_some(), "the look is over");
    }

    #[test]
    fn one_at_a_time_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        let held = Lock::try_take(&Disk::default(), &journal).unwrap();
        assert!(held.is_some());
        assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none());
        drop(held);
        assert!(folder.path().join("j.json.lock").exists());
        assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_some());
    }

    #[test]
    fn a_file_that_has_the_name_of_the_lock_is_locked_and_stays_as_it_is() {
        for content in [&b"somebody else's notes"[..], b"", b"{\"bridge\": {}}", &[0; 5000]] {
            let folder = tempfile::tempdir().unwrap();
            let (journal, lock) = (folder.path().join("j.json"), folder.path().join("j.json.lock"));
            std::fs::write(&lock, content).unwrap();
            let before = std::fs::metadata(&lock).unwrap();
            let held = Lock::try_take_with_file(&Disk::default(), &journal).unwrap();
            assert!(held.is_some());
            assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none());
            drop(held);
            assert_eq!(std::fs::read(&lock).unwrap(), content);
            assert!(platform::is_untouched(&before, &std::fs::metadata(&lock).unwrap()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_path_that_is_not_a_file_is_not_changed_and_a_stand_in_lock_is_used() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        use std::os::unix::net::UnixListener;
        type Make = fn(&Path);
        let kinds: [(&str, Make); 5] = [
            ("a folder", |lock| std::fs::create_dir(lock).unwrap()),
            ("a link to nothing", |lock| symlink("not-there", lock).unwrap()),
            ("a link to a file", |lock| symlink("theirs", lock).unwrap()),
            ("a device behind a link", |lock| symlink("/dev/null", lock).unwrap()),
            ("a socket", |lock| drop(UnixListener::bind(lock).unwrap())),
        ];
        for (kind, make) in kinds {
            let folder = tempfile::tempdir().unwrap();
            let (journal, lock) = (folder.path().join("j.json"), folder.path().join("j.json.lock"));
            std::fs::write(folder.path().join("theirs"), "theirs").unwrap();
            make(&lock);
            let before = std::fs::symlink_metadata(&lock).unwrap();
            let held = Lock::try_take_with_file(&Disk::default(), &journal).unwrap();
            assert!(held.is_some(), "{kind}");
            assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none(), "{kind}: one at a time there too");
            drop(held);
            let after = std::fs::symlink_metadata(&lock).unwrap();
            assert!(platform::is_untouched(&before, &after), "{kind}");
            assert_eq!(after.file_type().is_socket(), kind == "a socket");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "{kind}");
            for stand_in in stand_ins(&Disk::default(), &journal, ".lock") {
                let _ = std::fs::remove_file(stand_in);
            }
        }
    }

    /// Refuses one call on the file beside the journal.
    #[cfg(target_os = "linux")]
    struct Refuses(&'static str, i32);

    #[cfg(target_os = "linux")]
    impl Probe for Refuses {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            let refused = call == self.0 && moment == Moment::Before && path.ends_with("j.json.lock");
            if refused { Err(io::Error::from_raw_os_error(self.1)) } else { Ok(()) }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_stand_in_lock_is_used_on_a_file_system_without_locks() {
        // ENOSYS, EOPNOTSUPP, ENOLCK; and EROFS, EACCES if not even the file can be created.
        for refuses in [("lock", 38), ("lock", 95), ("lock", 37), ("open-lock", 30), ("open-lock", 13)] {
            let folder = tempfile::tempdir().unwrap();
            let journal = folder.path().join("j.json");
            let disk = Disk::with_probe(Arc::new(Refuses(refuses.0, refuses.1)));
            let held = Lock::try_take(&disk, &journal).unwrap();
            assert!(held.is_some(), "{refuses:?}");
            assert!(Lock::try_take(&disk, &journal).unwrap().is_none(), "{refuses:?}: one at a time there too");
            drop(held);
            assert!(Lock::try_take(&disk, &journal).unwrap().is_some());
            for stand_in in stand_ins(&Disk::default(), &journal, ".lock") {
                let _ = std::fs::remove_file(stand_in);
            }
        }
    }

    /// Refuses to lock the file itself.
    #[cfg(target_os = "linux")]
    struct RefusesItself(i32);

    #[cfg(target_os = "linux")]
    impl Probe for RefusesItself {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            let refused = call == "lock" && moment == Moment::Before && path.ends_with("j.json");
            if refused { Err(io::Error::from_raw_os_error(self.0)) } else { Ok(()) }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_locked_itself_has_the_lock_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        std::fs::write(&journal, "").unwrap();
        // ENOSYS, EOPNOTSUPP, ENOLCK; and EBADF of a network file system, for a file that may only be read.
        for errno in [38, 95, 37, 9] {
            let disk = Disk::with_probe(Arc::new(RefusesItself(errno)));
            let held = Lock::try_take_with_file(&disk, &journal).unwrap();
            assert!(held.is_some(), "{errno}");
            assert!(Lock::try_take_with_file(&Disk::default(), &journal).unwrap().is_none(), "{errno}");
        }
        let disk = Disk::with_probe(Arc::new(RefusesItself(5)));
        assert_eq!(Lock::try_take_with_file(&disk, &journal).unwrap_err().code(), ErrorCode::StoreLocked);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_names_of_one_file_have_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["j.json", "k.json"].map(|name| folder.path().join(name));
        std::fs::write(&one, "").unwrap();
        std::fs::hard_link(&one, &other).unwrap();
        let held = Lock::try_take_with_file(&Disk::default(), &one).unwrap();
        assert!(held.is_some());
        assert!(Lock::try_take_with_file(&Disk::default(), &other).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take_with_file(&Disk::default(), &other).unwrap().is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_stands_in_for_a_lock_that_others_may_be_able_to_make() {
        // EMFILE, EIO; and ENOSPC, EDQUOT, which say nothing about another process.
        let cases = [(24, "STORE_LOCKED"), (5, "STORE_LOCKED"), (28, "STORE"), (122, "STORE")];
        for (errno, code) in cases {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::with_probe(Arc::new(Refuses("open-lock", errno)));
            let error = Lock::try_take(&disk, &folder.path().join("j.json")).unwrap_err();
            assert_eq!(error.code().as_str(), code, "{errno}");
            assert_eq!(error.message().contains("Free some space"), code == "STORE", "{errno}: {error}");
            assert!(!error.message().contains("the right"), "{errno}: {error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_that_only_others_can_open_is_never_gone_around() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        drop(Lock::try_take(&Disk::default(), &journal).unwrap());
        let disk = Disk::with_probe(Arc::new(Refuses("open-lock", 13)));
        assert_eq!(Lock::try_take(&disk, &journal).unwrap_err().code(), ErrorCode::StoreLocked);
    }

    #[cfg(windows)]
    #[test]
    fn the_file_can_be_neither_removed_nor_renamed_while_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        let lock = sibling(&journal, ".lock");
        for _ in 0..2 {
            // Made by the first, opened by the second.
            let held = Lock::try_take(&Disk::default(), &journal).unwrap();
            assert!(held.is_some());
            assert!(std::fs::remove_file(&lock).is_err());
            assert!(std::fs::rename(&lock, sibling(&lock, ".away")).is_err());
            assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none());
        }
        std::fs::remove_file(&lock).unwrap();
        assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_lock_file_was_deleted_all_processes_use_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        let held = Lock::try_take(&Disk::default(), &journal).unwrap();
        // The old file is still locked, but no other process can find it: this is why this package never deletes it.
        std::fs::remove_file(sibling(&journal, ".lock")).unwrap();
        let next = Lock::try_take(&Disk::default(), &journal).unwrap();
        assert!(next.is_some());
        assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none());
        drop(held);
    }
}
