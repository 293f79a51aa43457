//! All storage calls, in one module, so that a test can stop the process at each of them, or make each fail.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::held::patiently;
use super::platform::{self, Owner, Ownership};

/// The longest file that is read. A journal has a few kilobytes, and a quarter of a megabyte after years.
const MAX_READ: u64 = 8 * 1024 * 1024;

/// The moment of a storage call at which a probe is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the call. If the probe returns an error, the call fails with it.
    Before,
    /// Half of the bytes were written, or as many as [`Probe::tear`] says.
    Middle,
    /// After the call.
    After,
}

/// An observer of every storage call. Only tests have one.
pub trait Probe: Send + Sync {
    /// Called at each moment of each call.
    ///
    /// # Errors
    ///
    /// The error with which the call fails.
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()>;

    /// How many bytes of a write at that offset are on the disk in the middle of it. `None` means half of them.
    fn tear(&self, _path: &Path, _offset: u64, _length: usize) -> Option<usize> {
        None
    }
}

/// The storage calls of this package.
#[derive(Clone, Default)]
pub struct Disk {
    probe: Option<Arc<dyn Probe>>,
    owner: Option<Owner>,
}

impl Disk {
    /// A disk whose calls a probe observes.
    pub fn with_probe(probe: Arc<dyn Probe>) -> Self {
        Self { probe: Some(probe), owner: None }
    }

    /// This disk, but new files belong to the owner of what lies at a path, if root creates them and no owner is set yet.
    #[must_use]
    pub(crate) fn or_for_owner_of(self, path: &Path) -> Self {
        if self.owner.is_none() && platform::is_root() { self.for_owner_of(path) } else { self }
    }

    /// This disk, but new files belong to the owner of what lies at a path, if root creates them.
    #[must_use]
    pub fn for_owner_of(mut self, path: &Path) -> Self {
        self.owner = std::fs::metadata(path).ok().as_ref().and_then(Owner::beside);
        self
    }

    /// The bytes of a file; `None` if there is none.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call("read", path, || match read_at_most(path, MAX_READ + 1)? {
            Some(bytes) if bytes.len() as u64 > MAX_READ => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it is far too large"))
            }
            read => Ok(read),
        })
    }

    /// The first bytes of a file, at most `most`; `None` if there is none.
    pub(crate) fn read_start(&self, path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
        self.call("read-start", path, || read_at_most(path, most as u64))
    }

    /// The bytes of a file up to the limit, without an error if it is longer.
    pub(crate) fn read_most(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call("read", path, || read_at_most(path, MAX_READ))
    }

    /// The bytes of a file that begins with those; `None` if it does not, or is not there. Of any other file only its beginning
    /// is read.
    pub(crate) fn read_if_it_begins(&self, path: &Path, beginning: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.call("read", path, || {
            let mut file = match freely(|| platform::open_for_reading(path)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            if !file.metadata()?.is_file() {
                return Ok(None);
            }
            let mut bytes = vec![0; beginning.len()];
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            if bytes != beginning {
                return Ok(None);
            }
            file.take(MAX_READ).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
    }

    pub(crate) fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.call("stat", path, || match look(std::fs::symlink_metadata(path), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
    }

    /// The metadata of the file that a path leads to; `None` if there is none.
    pub(crate) fn metadata_behind_links(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.call("stat", path, || match look(std::fs::metadata(path), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
    }

    /// Which of some paths in the folder of a file exist.
    pub(crate) fn which_exist(&self, beside: &Path, paths: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
        self.call("stat", beside, || {
            // A path whose metadata cannot be read may exist, unless no file can have that name.
            let is_there = |path: &PathBuf| match std::fs::symlink_metadata(path) {
                Ok(_) => true,
                Err(error) => !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
                ),
            };
            Ok(paths.into_iter().filter(is_there).collect())
        })
    }

    /// Creates a private file, or one that has the mode and the owner of another.
    pub(crate) fn create(&self, path: &Path, ownership: Option<Ownership<'_>>) -> io::Result<File> {
        self.create_by(platform::create_private, path, ownership)
    }

    /// Creates a file that takes the place of another one, so that the same users can read it.
    pub(crate) fn create_like(&self, path: &Path, like: &Path, ownership: Ownership<'_>) -> io::Result<File> {
        self.create_by(|path| platform::create_like(path, like), path, Some(ownership))
    }

    fn create_by(
        &self,
        make: impl FnOnce(&Path) -> io::Result<File>,
        path: &Path,
        ownership: Option<Ownership<'_>>,
    ) -> io::Result<File> {
        let give = |file: &File| match (ownership, self.owner) {
            (Some(ownership), _) => self.call("chown", path, || ownership.apply(file)),
            (None, Some(owner)) => self.call("chown", path, || owner.give(file)),
            (None, None) => Ok(()),
        };
        if !ownership.map_or(self.owner.is_some(), Ownership::is_another_users) {
            let file = self.call("create", path, || make(path))?;
            give(&file)?;
            return Ok(file);
        }
        // Its name appears when it belongs to the other user: a process that is stopped earlier leaves no file that this user
        // cannot read.
        let unnamed = self.call("create", path, || platform::create_unnamed(path))?;
        give(unnamed.file())?;
        self.call("name", path, || unnamed.name(path))
    }

    pub(crate) fn open_for_writing(&self, path: &Path) -> io::Result<File> {
        self.call("open", path, || {
            refuse_special(path)?;
            freely(|| platform::open_for_writing(path))
        })
    }

    /// Opens the lock beside a file, and creates it if it does not exist. A lock that root creates belongs to the owner of that
    /// file, or of its folder, because that user must be able to take it later.
    pub(crate) fn open_lock(&self, path: &Path, file: &Path) -> io::Result<File> {
        let of = |path: &Path| std::fs::metadata(path).ok().map(|metadata| Owner::beside(&metadata));
        let beside = || of(file).or_else(|| of(file.parent()?)).flatten();
        let owner = if platform::is_root() { self.owner.or_else(beside) } else { None };
        self.open_lock_for(path, owner)
    }

    /// Opens a lock in the private folder of this user, or for root in that of the owner of that file, and creates it if it
    /// does not exist.
    pub(crate) fn open_private_lock(&self, path: &Path, file: &Path) -> io::Result<File> {
        self.open_lock_for(path, self.owner_of_stand_ins(file))
    }

    /// The owner of the stand-in files of a file, if root creates them for another user: the owner of the file, or the owner
    /// for whom files are created here if the file does not exist.
    pub(crate) fn owner_of_stand_ins(&self, file: &Path) -> Option<Owner> {
        if !platform::is_root() {
            return None;
        }
        std::fs::metadata(file).map_or(self.owner, |there| Owner::beside(&there))
    }

    fn open_lock_for(&self, path: &Path, owner: Option<Owner>) -> io::Result<File> {
        self.call("open-lock", path, || {
            let Some(owner) = owner else { return platform::open_lock(path) };
            match platform::open_lock_if_there(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
            let unnamed = platform::create_unnamed(path)?;
            self.probe("open-lock", path, Moment::Middle)?;
            owner.give(unnamed.file())?;
            match unnamed.name(path) {
                // Another process was faster: every process takes its file.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => platform::open_lock_if_there(path),
                named => named,
            }
        })
    }

    /// Opens the file of a lock that exists.
    pub(crate) fn open_lock_if_there(&self, path: &Path) -> io::Result<File> {
        self.call("open-lock", path, || platform::open_lock_if_there(path))
    }

    /// Opens a file to lock the file itself; `None` if it does not exist, or if this user cannot read it.
    pub(crate) fn open_itself(&self, path: &Path) -> io::Result<Option<File>> {
        self.call("open-itself", path, || {
            if refuse_special(path).is_err() { Ok(None) } else { platform::open_itself(path) }
        })
    }

    /// Tries to lock an open file; `false` if another process has the lock.
    pub(crate) fn try_lock(&self, file: &File, path: &Path) -> io::Result<bool> {
        self.call("lock", path, || match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Creates a private folder, for the owner for whom files are created here.
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("mkdir", path, || match self.owner {
            Some(owner) => platform::create_dir_for(path, owner, || self.probe("mkdir", path, Moment::Middle)),
            None => platform::create_private_dir(path),
        })
    }

    /// Reserves space for that many bytes.
    pub(crate) fn allocate(&self, file: &File, path: &Path, bytes: usize) -> io::Result<()> {
        let promised = self.call("allocate", path, || platform::allocate(file, bytes as u64))?;
        if !promised {
            // The existing bytes stay.
            let there = file.metadata()?.len();
            let missing = bytes.saturating_sub(usize::try_from(there).unwrap_or(usize::MAX));
            self.write(file, path, there, &vec![b' '; missing])?;
            self.sync(file, path)?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, mut file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call("write", path, || {
            file.seek(SeekFrom::Start(offset))?;
            if self.probe.is_none() {
                return file.write_all(bytes);
            }
            let torn = self.probe.as_ref().and_then(|probe| probe.tear(path, offset, bytes.len()));
            let (first, second) = bytes.split_at(torn.unwrap_or(bytes.len() / 2).min(bytes.len()));
            file.write_all(first)?;
            self.probe("write", path, Moment::Middle)?;
            file.write_all(second)
        })
    }

    pub(crate) fn truncate(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.call("truncate", path, || file.set_len(length))
    }

    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.call("sync", path, || platform::sync_file(file))
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync-dir", path, || platform::sync_dir(path))
    }

    /// Syncs everything on the file system of a file.
    pub(crate) fn sync_file_system_of(&self, path: &Path) -> io::Result<()> {
        self.call("sync-all", path, || platform::sync_file_system_of(path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", to, || freely(|| std::fs::rename(from, to)))
    }

    /// Gives a file a second name. Fails if something has that name.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link", to, || std::fs::hard_link(from, to))
    }

    /// Exchanges two files atomically. `false` if the system cannot do that, and then nothing was changed.
    pub(crate) fn exchange(&self, one: &Path, other: &Path) -> io::Result<bool> {
        self.call("exchange", other, || platform::exchange(one, other))
    }

    /// Removes a file if it exists.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, || match freely(|| std::fs::remove_file(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    fn call<T>(&self, call: &'static str, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.probe(call, path, Moment::Before)?;
        let result = work()?;
        self.probe(call, path, Moment::After)?;
        Ok(result)
    }

    fn probe(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        self.probe.as_ref().map_or(Ok(()), |probe| probe.at(call, path, moment))
    }
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    refuse_special(path)?;
    let opened = freely(|| platform::open_for_reading(path));
    let file = match opened.map_err(|error| platform::what_is_missing(error, path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(no_regular_file());
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Refuses to open anything but a regular file: to open a pipe wakes the program at its other end, and to open a device can do
/// anything. The call that opens a link refuses it.
fn refuse_special(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() && !there.is_symlink() => Err(no_regular_file()),
        // If the metadata cannot be read, the file cannot be opened either, and that error says why.
        _ => Ok(()),
    }
}

/// Turns the error *not found* into `None`.
fn look(found: io::Result<Metadata>, path: &Path) -> io::Result<Metadata> {
    found.map_err(|error| platform::what_is_missing(error, path))
}

fn no_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")
}

/// Repeats a call as long as another program has the file open, on systems where that makes it fail.
fn freely<T>(work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    patiently(platform::means_held, std::thread::sleep, work)
}
