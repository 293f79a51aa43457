//! Windows: access lists, and files that cannot be replaced while another program has them open.

use std::os::windows::fs::OpenOptionsExt;
use std::sync::LazyLock;

use ring_auth_access::Opening;

use super::super::access::{AccessLists, Readers, Windows};
use super::super::names::{leads_through_a_file, plain};
use super::{Device, File, Holder, Metadata, OpenOptions, Owner, Ownership, Path, PathBuf, io, not_private};

pub(crate) use super::super::held::windows::{cannot_be_replaced, means_held, means_irreplaceable, means_no_locks};

static ACCESS: LazyLock<AccessLists<Windows>> = LazyLock::new(|| AccessLists::new(Windows));

/// That others may read a file meanwhile.
const FILE_SHARE_READ: u32 = 1;
/// That others may write a file meanwhile.
const FILE_SHARE_WRITE: u32 = 2;
/// That others may remove or rename a file meanwhile.
const FILE_SHARE_DELETE: u32 = 4;

/// Makes a file that was not there, readable by nobody else from its first moment.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let share_mode = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    ACCESS.create_file(path, &Opening { is_read: false, share_mode })
}

/// Makes a file that was not there, to take the place of another, with the same access list. Where its folder does not
/// give it that one, none is made, and the error says that the other cannot be replaced.
pub(crate) fn create_like(path: &Path, like: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    if ACCESS.are_alike(path, like) {
        return Ok(file);
    }
    drop(file);
    std::fs::remove_file(path)?;
    Err(cannot_be_replaced())
}

/// Whether a file beside that one could not be kept from others; said once.
pub(crate) fn take_exposed(file: &Path) -> bool {
    ACCESS.take_exposed(file)
}

/// Opens a file for writing over it.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Opens a file for reading.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Nobody can remove or rename the file that is locked while it is open, so that two processes never lock two files.
const SHARE_OF_LOCK: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE;

/// Opens the file that is locked, making it where there is none. Nothing is ever in it; but whoever can open it could
/// hold it forever.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    match ACCESS.create_file(path, &Opening { is_read: true, share_mode: SHARE_OF_LOCK }) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_lock_if_there(path),
        made => made,
    }
}

/// Makes a folder that nobody else can look into.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    if let Some(first) = path.ancestors().take_while(|folder| !folder.is_dir()).last() {
        match ACCESS.create_dir(first) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // What is there is somebody's file.
            Err(_) if !first.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            _ => {}
        }
    }
    // What is made in it has the list that it gives.
    std::fs::create_dir_all(path)
}

/// Nobody can remove or rename a file that was opened for locking, so it is where it was.
pub(crate) fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Makes what was written survive a power cut.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Folders cannot be opened for that here; a rename is journalled by the file system.
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// No folder is ever opened for that here.
pub(crate) fn sync_file_system_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// There is no portable promise but to write the bytes.
pub(crate) fn allocate(_file: &File, _bytes: u64) -> io::Result<bool> {
    Ok(false)
}

/// Making links needs a right of its own here.
pub(crate) fn is_foreign_link(_metadata: &Metadata) -> bool {
    false
}

/// File systems are not told apart here.
pub(crate) fn is_mounted_read_only(_path: &Path) -> bool {
    false
}

/// Whether a file is not marked as read-only. Whether its access list lets this user write it is seen when it is written.
pub(crate) fn may_write(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| there.is_dir() || !there.permissions().readonly())
}

/// Files have access lists here.
pub(crate) fn holder(_metadata: &Metadata) -> Option<Holder> {
    None
}

/// There is no such user here.
pub(crate) fn is_root() -> bool {
    false
}

/// The private folder of this user for what has no place beside a file. The system itself sets the variable at each
/// logon.
pub(crate) fn private_folders(_owner: Option<Owner>) -> Vec<PathBuf> {
    // The folder for temporary files is everybody's for a service.
    let base = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|base| base.is_absolute());
    vec![base.unwrap_or_else(std::env::temp_dir).join("ring-auth")]
}

/// Makes such a folder, if it is not there.
pub(crate) fn make_private_folder(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    if !folder.is_dir() {
        create_private_dir(folder)?;
    }
    check_private_folder(folder, owner)
}

/// Whether a folder is there, and nobody else's.
pub(crate) fn check_private_folder(folder: &Path, _owner: Option<Owner>) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if ACCESS.readers_in(folder) == Readers::Others {
        return Err(not_private(folder));
    }
    Ok(())
}

/// A lock keeps others from reading here, and no file is mounted alone: the file itself is never locked.
pub(crate) fn open_itself(_path: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// As no file is opened for it.
pub(crate) fn means_not_writable(_error: &io::Error) -> bool {
    false
}

/// As no file is opened for it.
pub(crate) fn is_locked_itself(_file: &File, _path: &Path, _has_stand_in: bool) -> io::Result<bool> {
    Ok(false)
}

/// There are no such mounts here.
pub(crate) fn is_left_over(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(false)
}

/// There are none.
pub(crate) fn is_mounted_alone(_path: &Path) -> bool {
    false
}

/// Links are followed here; making one needs a right of its own.
pub(crate) fn is_link_refused(_error: &io::Error) -> bool {
    false
}

/// There is no way to do that here.
pub(crate) fn exchange(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Whether a file is meant to stay as it is.
pub(crate) fn is_read_only(metadata: &Metadata) -> bool {
    metadata.permissions().readonly()
}

/// There is no portable way to know.
pub(crate) fn has_other_names(_metadata: &Metadata) -> bool {
    false
}

/// There is no portable way to know, but what was made at another time is another file.
pub(crate) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.created().ok() == other.created().ok() && one.modified().ok() == other.modified().ok()
}

/// The file system on which something lies: the standard library does not tell them apart here.
pub(crate) fn device(_metadata: &Metadata) -> Device {
    Device()
}

/// Whether they met it with the same bytes in it, as far as that is seen without reading them.
pub(crate) fn is_unchanged(one: &Metadata, other: &Metadata) -> bool {
    is_same_file(one, other) && one.len() == other.len()
}

/// The same: when a list was changed is not told here.
pub(crate) fn is_untouched(one: &Metadata, other: &Metadata) -> bool {
    is_unchanged(one, other)
}

impl Owner {
    /// Files are made for somebody else by no one here.
    pub(crate) fn beside(_metadata: &Metadata) -> Option<Self> {
        None
    }

    /// Nothing to give.
    pub(crate) fn give(self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

/// A file is made by its name here, because it is made for nobody else.
pub(crate) struct Unnamed(File);

/// Makes a private file.
pub(crate) fn create_unnamed(path: &Path) -> io::Result<Unnamed> {
    create_private(path).map(Unnamed)
}

impl Unnamed {
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// It has its name already.
    pub(crate) fn name(self, _path: &Path) -> io::Result<File> {
        Ok(self.0)
    }
}

/// Makes a folder.
pub(crate) fn create_dir_for(
    path: &Path,
    _owner: Owner,
    _before_it_is_given: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    create_private_dir(path)
}

/// Opens the file that is locked, if it is there.
pub(crate) fn open_lock_if_there(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).share_mode(SHARE_OF_LOCK).open(path)
}

/// The error of looking at a path: the system says that nothing is there if the path leads through a file, too.
pub(crate) fn what_is_missing(error: io::Error, path: &Path) -> io::Error {
    let is_misled = error.kind() == io::ErrorKind::NotFound && leads_through_a_file(path);
    if is_misled { io::ErrorKind::NotADirectory.into() } else { error }
}

/// The file that a path leads to, by a path as people write it.
#[expect(clippy::disallowed_methods, reason = "the prefix is taken away")]
pub(crate) fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path).map(plain)
}

impl<'a> Ownership<'a> {
    /// Access lists are no part of it: a file that is like another is made like it.
    pub(crate) fn exactly(_metadata: &Metadata, _like: &'a Path) -> Self {
        Self { like: std::marker::PhantomData }
    }

    /// A file has its list since it was made.
    pub(crate) fn of(metadata: &Metadata, like: &'a Path) -> Self {
        Self::exactly(metadata, like)
    }

    /// A file is given to nobody else here.
    pub(crate) fn is_another_users(self) -> bool {
        false
    }

    /// Nothing to give.
    pub(crate) fn apply(self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}
