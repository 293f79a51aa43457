//! Ways to write a file so that one whole version of it is on the disk at every moment.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::names::sibling;
use super::platform::{self, Ownership};

/// How a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Another file replaced it atomically.
    Replaced,
    /// It was written in place, with a whole copy beside it during the write.
    InPlace,
    /// It could not be written: the whole copy stays beside it.
    Beside,
}

/// A file whose space is reserved for bytes that are yet to come.
#[derive(Debug)]
pub(crate) struct Reservation {
    file: File,
    path: PathBuf,
    bytes: usize,
    /// Whether it can only hold the copy beside the target, and cannot replace it.
    only_copy: bool,
}

impl Reservation {
    /// Reserves space for that many bytes at a path. The file begins with a signature, so that the reservation is known again if this
    /// process is stopped.
    pub(crate) fn reserve(
        disk: &Disk,
        path: &Path,
        bytes: usize,
        signature: &[u8],
        ownership: Option<Ownership<'_>>,
    ) -> io::Result<Self> {
        let reservation = Self::empty(disk, path, ownership)?;
        let kept = disk
            .write(&reservation.file, path, 0, signature)
            .and_then(|()| disk.allocate(&reservation.file, path, bytes));
        reservation.unless_failed(disk, kept).map(|reservation| Self { bytes, ..reservation })
    }

    /// The path of the reserved file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new private file at a path. It replaces what a crash left there.
    pub(crate) fn empty(disk: &Disk, path: &Path, ownership: Option<Ownership<'_>>) -> io::Result<Self> {
        disk.remove(path)?;
        Self::made(disk, path, disk.create(path, ownership))
    }

    /// A new file at a path that the same users can read as another one. It replaces what a crash left there.
    fn like(disk: &Disk, path: &Path, file: &Path, there: &Metadata) -> io::Result<Self> {
        disk.remove(path)?;
        Self::made(disk, path, disk.create_like(path, file, Ownership::exactly(there, file)))
    }

    fn made(disk: &Disk, path: &Path, file: io::Result<File>) -> io::Result<Self> {
        let file = or_nothing(disk, path, file)?;
        Ok(Self { file, path: path.to_owned(), bytes: 0, only_copy: false })
    }

    /// Makes this a reservation that is never renamed over the target, because it does not have the owner of the target.
    pub(crate) fn only_as_copy(self) -> Self {
        Self { only_copy: true, ..self }
    }

    /// Writes the bytes, and makes them survive a power cut.
    fn fill(&self, disk: &Disk, bytes: &[u8]) -> io::Result<()> {
        disk.write(&self.file, &self.path, 0, bytes)?;
        if self.bytes > bytes.len() {
            disk.truncate(&self.file, &self.path, bytes.len() as u64)?;
        }
        disk.sync(&self.file, &self.path)
    }

    /// Removes the reservation. The file is closed first: on Windows, a FAT drive or an older share keeps the name of a removed
    /// file until its last handle is closed, and until then nothing can be created under that name.
    pub(crate) fn release(self, disk: &Disk) {
        let Self { file, path, .. } = self;
        drop(file);
        let _ = disk.remove(&path);
    }

    /// The reservation, or the error of a step that failed. Then the reservation is removed.
    fn unless_failed(self, disk: &Disk, step: io::Result<()>) -> io::Result<Self> {
        match step {
            Ok(()) => Ok(self),
            Err(error) => {
                self.release(disk);
                Err(error)
            }
        }
    }
}

/// Creates a file at a path, writes those bytes, and makes them survive a power cut. It replaces what a crash left there, and
/// is private, or can be read by the same users as another file.
pub(crate) fn make(disk: &Disk, path: &Path, like: Option<(&Path, &Metadata)>, bytes: &[u8]) -> io::Result<()> {
    let reservation = match like {
        Some((file, there)) => Reservation::like(disk, path, file, there)?,
        None => Reservation::empty(disk, path, None)?,
    };
    let filled = reservation.fill(disk, bytes);
    reservation.unless_failed(disk, filled).map(drop)
}

/// Creates a private file with those bytes, and makes its name survive a power cut as well, so that a later start finds it.
pub(crate) fn copy(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    make(disk, path, None, bytes)?;
    or_nothing(disk, path, sync_folder(disk, path))
}

/// Removes a file if a step with it failed.
pub(crate) fn or_nothing<T>(disk: &Disk, path: &Path, done: io::Result<T>) -> io::Result<T> {
    if done.is_err() {
        let _ = disk.remove(path);
    }
    done
}

/// Writes bytes to a target by a reservation beside it.
///
/// # Errors
///
/// The error of the first step that failed. The target is then as it was, or a whole copy of the new bytes is in the
/// reservation.
pub(crate) fn replace(disk: &Disk, reservation: Reservation, target: &Path, bytes: &[u8]) -> io::Result<Way> {
    let filled = reservation.fill(disk, bytes);
    let reservation = reservation.unless_failed(disk, filled)?;
    if !reservation.only_copy {
        let Err(refused) = disk.rename(&reservation.path, target) else {
            sync_folder(disk, target)?;
            return Ok(Way::Replaced);
        };
        if !platform::means_irreplaceable(&refused) || !matches!(disk.metadata(target), Ok(Some(_))) {
            reservation.release(disk);
            return Err(refused);
        }
    }
    // From now on the reservation is the backup: it holds all of the new bytes.
    sync_folder(disk, &reservation.path)?;
    if write_over(disk, target, bytes).is_err() {
        return Ok(Way::Beside);
    }
    reservation.release(disk);
    Ok(Way::InPlace)
}

/// Writes a file in place, and never truncates it first. The caller has a whole copy elsewhere.
pub(crate) fn write_over(disk: &Disk, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = disk.read(target)?.unwrap_or_default();
    let file = disk.open_for_writing(target)?;
    if old.len() == bytes.len() {
        // One write of the bytes that differ: nothing else can be torn.
        let differs = |(a, b): (&u8, &u8)| a != b;
        if let Some(start) = old.iter().zip(bytes).position(differs) {
            let end = bytes.len() - old.iter().rev().zip(bytes.iter().rev()).position(differs).unwrap_or(0);
            disk.write(&file, target, start as u64, &bytes[start..end])?;
        }
    } else {
        disk.write(&file, target, 0, bytes)?;
        disk.truncate(&file, target, bytes.len() as u64)?;
    }
    disk.sync(&file, target)
}

/// Makes a change of the name of a file survive a power cut.
pub(crate) fn sync_folder(disk: &Disk, path: &Path) -> io::Result<()> {
    match path.parent().map_or(Ok(()), |folder| disk.sync_dir(folder)) {
        // A folder that may be written may not be readable. The remaining way is to sync its file system.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => [path.to_owned(), sibling(path, ".lock")]
            .iter()
            .find_map(|path| disk.sync_file_system_of(path).ok())
            .ok_or(error),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Moment, Probe, RemovesNothingOpen};
    use super::*;

    #[test]
    fn a_replaced_file_holds_the_new_bytes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (target, next) = (folder.path().join("j"), folder.path().join("j.next"));
        for bytes in [&b"first, and long"[..], b"second"] {
            let reservation = Reservation::reserve(&disk, &next, 4096, b"{", None).unwrap();
            assert_eq!(replace(&disk, reservation, &target, bytes).unwrap(), Way::Replaced);
            assert_eq!(std::fs::read(&target).unwrap(), bytes);
            assert!(!next.exists());
        }
    }

    /// A disk on which each write fails, and no open file can be removed.
    struct Full;

    impl Probe for Full {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            if call == "write" && moment == Moment::Middle {
                return Err(io::ErrorKind::StorageFull.into());
            }
            RemovesNothingOpen.at(call, path, moment)
        }
    }

    #[test]
    fn a_file_is_closed_before_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, next) = (folder.path().join("j"), folder.path().join("j.next"));
        std::fs::write(&target, "old").unwrap();
        let (disk, full) = (Disk::with_probe(Arc::new(RemovesNothingOpen)), Disk::with_probe(Arc::new(Full)));
        let reservation = || Reservation::empty(&disk, &next, None).unwrap();
        reservation().release(&disk);
        assert!(!next.exists(), "given back");
        assert!(Reservation::reserve(&full, &next, 4096, b"{", None).is_err() && !next.exists(), "no space");
        assert!(make(&full, &next, None, b"new").is_err() && !next.exists(), "not made");
        assert!(replace(&full, reservation(), &target, b"new").is_err() && !next.exists(), "not filled");
        assert_eq!(replace(&disk, reservation().only_as_copy(), &target, b"new").unwrap(), Way::InPlace);
        assert!(!next.exists(), "not needed any more");
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn writing_over_changes_all_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("j");
        for (old, new) in [
            ("abcdef", "abXYef"),
            ("abc", "abc"),
            ("abc", "Xbc"),
            ("abc", "abX"),
            ("abc", "longer"),
            ("longer", "a"),
            ("", "x"),
        ] {
            std::fs::write(&target, old).unwrap();
            write_over(&Disk::default(), &target, new.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), new);
        }
    }
}
