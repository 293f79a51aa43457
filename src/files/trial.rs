//! A trial of a folder: whether each step of a rotation works there, with files of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::disk::Disk;

/// The abilities of a folder that a rotation can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Whether two files can be exchanged atomically.
    pub(crate) exchanges: bool,
    /// Whether files can be locked.
    pub(crate) locks: bool,
}

/// A step of the trial that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The step, as a participle: `made`, `written`, `synced`, `renamed`.
    pub(crate) what: &'static str,
    /// Its error.
    pub(crate) error: io::Error,
}

/// Creates two files in a folder, reserves that many bytes for one of them, writes, syncs, locks, renames and exchanges them,
/// and removes them again.
///
/// # Errors
///
/// The first step that failed.
pub(crate) fn run(disk: &Disk, folder: &Path, room: usize) -> Result<Abilities, Failed> {
    let files = Files::beside(folder);
    let [one, other, renamed] = &files.0;
    let failed = |what| move |error| Failed { what, error };
    let file = files.by_name(|| disk.create(one, None)).map_err(failed("made"))?;
    disk.write(&file, one, 0, CONTENT).map_err(failed("written"))?;
    // Before the space is reserved: without a system call for that, it is a write and a sync of its own.
    disk.sync(&file, one).map_err(failed("synced"))?;
    disk.allocate(&file, one, room).map_err(failed("written"))?;
    let locks = match disk.try_lock(&file, one) {
        Ok(_) => true,
        Err(error) if super::platform::means_no_locks(&error) => false,
        Err(error) => return Err(failed("locked")(error)),
    };
    drop(file);
    files.by_name(|| disk.rename(one, renamed)).map_err(failed("renamed"))?;
    drop(files.by_name(|| disk.create(other, None)).map_err(failed("made"))?);
    let exchanges = files.by_name(|| disk.exchange(other, renamed)).map_err(failed("exchanged"))?;
    disk.sync_dir(folder).or_else(unless_unreadable).map_err(failed("synced"))?;
    Ok(Abilities { exchanges, locks })
}

const CONTENT: &[u8] = b"A file of ring-auth doctor. It can be removed.\n";

/// Permission is not required here: a folder that may be written and not read is synced in another way.
fn unless_unreadable(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

/// The files that a process has to remove when a signal ends it, and whether one does.
#[derive(Default)]
struct Ending {
    is_ending: bool,
    names: Vec<PathBuf>,
}

static ENDING: Mutex<Ending> = Mutex::new(Ending { is_ending: false, names: Vec::new() });

fn ending() -> MutexGuard<'static, Ending> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the files of each running trial, before a signal ends the process. Later no trial creates another one. It does not
/// wait for a file system that does not answer.
pub(crate) fn end() {
    let (done, removed) = mpsc::channel();
    let remove = move || {
        let mut ending = ending();
        ending.is_ending = true;
        for name in std::mem::take(&mut ending.names) {
            let _ = std::fs::remove_file(name);
        }
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(remove).is_ok() {
        let _ = removed.recv_timeout(REMOVAL_LIMIT);
    }
}

/// How long [`end`] delays a signal that ends the process.
const REMOVAL_LIMIT: Duration = Duration::from_secs(1);

/// The paths of the files of a trial. They are removed with this value, and by [`end`].
struct Files([PathBuf; 3]);

impl Files {
    fn beside(folder: &Path) -> Self {
        let id = uuid::Uuid::new_v4().simple();
        let files = ["1", "2", "3"].map(|number| folder.join(format!(".ring-auth-doctor-{id}-{number}")));
        ending().names.extend_from_slice(&files);
        Self(files)
    }

    /// Creates or renames a file, unless a signal is ending the process.
    #[allow(clippy::unused_self, reason = "only whose names are to be removed may make files")]
    fn by_name<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let ending = ending();
        if ending.is_ending { Err(io::ErrorKind::Interrupted.into()) } else { work() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
        ending().names.retain(|name| !self.0.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Moment, Probe, fault};
    use super::*;

    /// Refuses one call.
    struct Refuses(&'static str, i32);

    impl Probe for Refuses {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            if call == self.0 && moment == Moment::Before { Err(fault(self.1)) } else { Ok(()) }
        }
    }

    fn left(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_folder_that_can_do_all_of_it_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let abilities = run(&Disk::default(), folder.path(), 4096).unwrap();
        assert!(abilities.locks);
        assert_eq!(left(folder.path()), 0);
        assert!(ending().names.iter().all(|name| !name.starts_with(folder.path())));
    }

    #[test]
    fn the_step_that_fails_is_named_and_nothing_is_left() {
        for (call, errno, what) in [
            ("create", 13, "made"),
            ("write", 28, "written"),
            ("allocate", 28, "written"),
            ("sync", 5, "synced"),
            ("lock", 5, "locked"),
            ("rename", 1, "renamed"),
            ("exchange", 5, "exchanged"),
            ("sync-dir", 5, "synced"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::with_probe(Arc::new(Refuses(call, errno)));
            let failed = run(&disk, folder.path(), 4096).unwrap_err();
            assert_eq!(failed.what, what, "{call}");
            assert_eq!(left(folder.path()), 0, "{call}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let failed = run(&Disk::default(), &folder.path().join("not-there"), 1).unwrap_err();
        assert_eq!((failed.what, failed.error.kind()), ("made", io::ErrorKind::NotFound));
        assert_eq!(left(folder.path()), 0);
    }
}
