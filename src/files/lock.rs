//! One process at a time at a file: an operating-system lock, which its holder's death releases.

use std::fs::File;
use std::io;
use std::path::Path;

use super::disk::Disk;
use super::names::{sibling, stand_in};
use super::platform;
use crate::{Error, ErrorCode, Result};

/// A lock held. It ends with the value, and with the process at the latest.
#[derive(Debug)]
pub(crate) struct Lock {
    // Closing the file is what releases it.
    _file: File,
}

impl Lock {
    /// Tries to take the lock of a file; `None` while somebody else has it.
    pub(crate) fn try_take(disk: &Disk, file: &Path) -> Result<Option<Self>> {
        let beside = sibling(file, ".lock");
        match take(disk, &beside) {
            Ok(lock) => return Ok(lock),
            Err(Trouble::Unsupported) => {}
            // Nobody can make a lock in a read-only folder, so everybody takes the one that stands in.
            // A full disk is no such folder: it may have room for somebody else a moment later.
            Err(Trouble::Unmakeable(error))
                if platform::means_irreplaceable(&error) && matches!(disk.metadata(&beside), Ok(None)) => {}
            Err(Trouble::Unmakeable(error)) => return Err(unlockable(&beside, &error)),
        }
        let stand_in = stand_in(file, ".lock").map_err(|error| unlockable(&beside, &error))?;
        match take(disk, &stand_in) {
            Ok(lock) => Ok(lock),
            Err(Trouble::Unmakeable(error)) => Err(unlockable(&stand_in, &error)),
            Err(Trouble::Unsupported) => Err(unlockable(&stand_in, &io::Error::from(io::ErrorKind::Unsupported))),
        }
    }
}

enum Trouble {
    /// The file system has no locks.
    Unsupported,
    /// The file cannot be opened or made.
    Unmakeable(io::Error),
}

fn take(disk: &Disk, path: &Path) -> Result<Option<Lock>, Trouble> {
    // Somebody may tidy the file away between our opening and our locking it: then two files would be locked.
    for _ in 0..16 {
        let file = disk.open_lock(path).map_err(Trouble::Unmakeable)?;
        match disk.try_lock(&file, path) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if platform::means_no_locks(&error) => return Err(Trouble::Unsupported),
            Err(error) => return Err(Trouble::Unmakeable(error)),
        }
        if platform::is_still_at(&file, path).map_err(Trouble::Unmakeable)? {
            return Ok(Some(Lock { _file: file }));
        }
    }
    Ok(None)
}

fn unlockable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorCode::StoreLocked,
        format!(
            "The lock {} cannot be taken, so another process could be using the same token. Give this user the right to write it.",
            path.display()
        ),
    )
    .with_cause(error)
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::sync::Arc;

    #[cfg(target_os = "linux")]
    use super::super::disk::{Moment, Probe};
    use super::*;

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
    fn where_a_file_system_cannot_lock_another_place_stands_in() {
        // ENOSYS, EOPNOTSUPP, ENOLCK; and EROFS, EACCES where not even the file can be made.
        for refuses in [("lock", 38), ("lock", 95), ("lock", 37), ("open-lock", 30), ("open-lock", 13)] {
            let folder = tempfile::tempdir().unwrap();
            let journal = folder.path().join("j.json");
            let disk = Disk::with_probe(Arc::new(Refuses(refuses.0, refuses.1)));
            let held = Lock::try_take(&disk, &journal).unwrap();
            assert!(held.is_some(), "{refuses:?}");
            assert!(Lock::try_take(&disk, &journal).unwrap().is_none(), "{refuses:?}: one at a time there too");
            drop(held);
            assert!(Lock::try_take(&disk, &journal).unwrap().is_some());
            let _ = std::fs::remove_file(stand_in(&journal, ".lock").unwrap());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_stands_in_for_a_lock_that_others_may_be_able_to_make() {
        // ENOSPC, EMFILE, EIO
        for errno in [28, 24, 5] {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::with_probe(Arc::new(Refuses("open-lock", errno)));
            let error = Lock::try_take(&disk, &folder.path().join("j.json")).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreLocked);
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

    #[cfg(target_os = "linux")]
    #[test]
    fn after_the_file_was_deleted_everybody_meets_at_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.json");
        let held = Lock::try_take(&Disk::default(), &journal).unwrap();
        // The old one is locked still, but nobody can find it: this is why it is never deleted by us.
        std::fs::remove_file(sibling(&journal, ".lock")).unwrap();
        let next = Lock::try_take(&Disk::default(), &journal).unwrap();
        assert!(next.is_some());
        assert!(Lock::try_take(&Disk::default(), &journal).unwrap().is_none());
        drop(held);
    }
}
