//! Windows: access lists, and files that cannot be replaced while another program has them open.

use std::os::windows::fs::OpenOptionsExt;
use std::sync::LazyLock;

use ring_auth_access::Opening;

use super::super::access::{AccessLists, Readers, Windows};
use super::super::names::{leads_through_a_file, plain};
use super::{Device, File, Holder, Metadata, OpenOptions, Owner, Ownership, Path, PathBuf, io, not_private};

pub(crate) use super::super::held::windows::{cannot_be_replaced, means_held, means_irreplaceable, means_no_locks};

static ACCESS: LazyLock<AccessLists<Windows>> = LazyLock::new(|| AccessLists::new(Windows));

/// Other programs may read the file while it is open.
const FILE_SHARE_READ: u32 = 1;
/// Other programs may write the file while it is open.
const FILE_SHARE_WRITE: u32 = 2;
/// Other programs may remove or rename the file while it is open.
const FILE_SHARE_DELETE: u32 = 4;

/// Creates a file that does not exist yet, readable by this user alone from the first moment.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let share_mode = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    ACCESS.create_file(path, &Opening { is_read: false, share_mode })
}

/// Creates a file that takes the place of another one, with the same access list. If its folder does not give it that list, no
/// file is created, and the error says that the other one cannot be replaced.
pub(crate) fn create_like(path: &Path, like: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    if ACCESS.are_alike(path, like) {
        return Ok(file);
    }
    drop(file);
    std::fs::remove_file(path)?;
    Err(cannot_be_replaced())
}

/// Whether other users may be able to read a file beside that one. Returns true once.
pub(crate) fn take_exposed(file: &Path) -> bool {
    ACCESS.take_exposed(file)
}

/// Opens a file to write it in place.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Opens a file to read it.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// No program can remove or rename the file of a lock while it is open, so two processes never lock two files.
const SHARE_OF_LOCK: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE;

/// Opens the file of a lock, and creates it if it does not exist. It is always empty, but a user who can open it could hold the
/// lock forever.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    match ACCESS.create_file(path, &Opening { is_read: true, share_mode: SHARE_OF_LOCK }) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_lock_if_there(path),
        made => made,
    }
}

/// Creates a folder that only this user can read.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    if let Some(first) = path.ancestors().take_while(|folder| !folder.is_dir()).last() {
        match ACCESS.create_dir(first) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // Another program has a file there.
            Err(_) if !first.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            _ => {}
        }
    }
    // The entries that are created in it get the list that it gives.
    std::fs::create_dir_all(path)
}

/// Always true: no program can remove or rename the file of a lock that is open.
pub(crate) fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Makes written bytes survive a power cut.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Does nothing: folders cannot be synced here, and the file system keeps a journal of renames.
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Does nothing: [`sync_dir`] never fails here.
pub(crate) fn sync_file_system_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Always `false`: only written bytes are reserved here.
pub(crate) fn allocate(_file: &File, _bytes: u64) -> io::Result<bool> {
    Ok(false)
}

/// Always false: only a user with a special right can create links here.
pub(crate) fn is_foreign_link(_metadata: &Metadata) -> bool {
    false
}

/// Always false: the standard library does not show that here.
pub(crate) fn is_mounted_read_only(_path: &Path) -> bool {
    false
}

/// Whether a file is not marked as read-only. Whether its access list lets this user write it shows when it is written.
pub(crate) fn may_write(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| there.is_dir() || !there.permissions().readonly())
}

/// Always `None`: files have access lists here.
pub(crate) fn holder(_metadata: &Metadata) -> Option<Holder> {
    None
}

/// Always false: Windows has no root.
pub(crate) fn is_root() -> bool {
    false
}

/// The private folder of this user for files that cannot be created beside another one. The system itself sets the variable at
/// each logon.
pub(crate) fn private_folders(_owner: Option<Owner>) -> Vec<PathBuf> {
    // For a service, all users share the folder for temporary files.
    let base = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|base| base.is_absolute());
    vec![base.unwrap_or_else(std::env::temp_dir).join("ring-auth")]
}

/// Creates a private folder if it does not exist, and checks it.
pub(crate) fn make_private_folder(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    if !folder.is_dir() {
        create_private_dir(folder)?;
    }
    check_private_folder(folder, owner)
}

/// Checks that a private folder exists, and that other users cannot read it.
pub(crate) fn check_private_folder(folder: &Path, _owner: Option<Owner>) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if ACCESS.readers_in(folder) == Readers::Others {
        return Err(not_private(folder));
    }
    Ok(())
}

/// Always `None`: a lock prevents others from reading here, and no file is mounted alone, so the file itself is never locked.
pub(crate) fn open_itself(_path: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Always false: the file itself is never locked here.
pub(crate) fn means_not_writable(_error: &io::Error) -> bool {
    false
}

/// Always false: the file itself is never locked here.
pub(crate) fn is_locked_itself(_file: &File, _path: &Path, _has_stand_in: bool) -> io::Result<bool> {
    Ok(false)
}

/// Always false: Windows has no such mounts.
pub(crate) fn is_left_over(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Always false: Windows has no such mounts.
pub(crate) fn is_mounted_alone(_path: &Path) -> bool {
    false
}

/// Always false: links are followed here, because only a user with a special right can create one.
pub(crate) fn is_link_refused(_error: &io::Error) -> bool {
    false
}

/// Always `false`: Windows cannot exchange two files.
pub(crate) fn exchange(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Whether a file is marked as read-only.
pub(crate) fn is_read_only(metadata: &Metadata) -> bool {
    metadata.permissions().readonly()
}

/// Always false: the standard library does not show that here.
pub(crate) fn has_other_names(_metadata: &Metadata) -> bool {
    false
}

/// The file system and the number of an open file.
pub(crate) fn identity(file: &File) -> Option<(u64, u64)> {
    ring_auth_access::identity(file).ok()
}

/// Whether two looks at a path found the same file. The standard library shows only the times: a file that was created at
/// another time is another one.
pub(crate) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.created().ok() == other.created().ok() && one.modified().ok() == other.modified().ok()
}

/// The file system on which a file or folder lies. The standard library does not distinguish them here, so all are equal.
pub(crate) fn device(_metadata: &Metadata) -> Device {
    Device()
}

/// Whether two looks at a path found the same file with the same bytes, as far as its metadata show that.
pub(crate) fn is_unchanged(one: &Metadata, other: &Metadata) -> bool {
    is_same_file(one, other) && one.len() == other.len()
}

/// Whether the file was not changed at all between two looks. Changes of its access list do not show here.
pub(crate) fn is_untouched(one: &Metadata, other: &Metadata) -> bool {
    is_unchanged(one, other)
}

impl Owner {
    /// Always `None`: no files are created for other users here.
    pub(crate) fn beside(_metadata: &Metadata) -> Option<Self> {
        None
    }

    /// Does nothing: the file has its owner and its list already.
    pub(crate) fn give(self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}

/// A private file. It has its name from the beginning here, because it is never given to another user.
pub(crate) struct Unnamed(File);

/// Creates a private file at a path.
pub(crate) fn create_unnamed(path: &Path) -> io::Result<Unnamed> {
    create_private(path).map(Unnamed)
}

impl Unnamed {
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Returns the file, which has its name already.
    pub(crate) fn name(self, _path: &Path) -> io::Result<File> {
        Ok(self.0)
    }
}

/// Creates a private folder.
pub(crate) fn create_dir_for(
    path: &Path,
    _owner: Owner,
    _before_it_is_given: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    create_private_dir(path)
}

/// Opens the file of a lock that exists.
pub(crate) fn open_lock_if_there(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).share_mode(SHARE_OF_LOCK).open(path)
}

/// The error of a metadata call. Windows reports *not found* also if the path leads through a file.
pub(crate) fn what_is_missing(error: io::Error, path: &Path) -> io::Error {
    let is_misled = error.kind() == io::ErrorKind::NotFound && leads_through_a_file(path);
    if is_misled { io::ErrorKind::NotADirectory.into() } else { error }
}

/// The file to which a path leads, as people write it.
#[expect(clippy::disallowed_methods, reason = "the prefix is taken away")]
pub(crate) fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path).map(plain)
}

impl<'a> Ownership<'a> {
    /// The ownership of a file. Access lists are not part of it: a file that replaces another one is created with its list.
    pub(crate) fn exactly(_metadata: &Metadata, _like: &'a Path) -> Self {
        Self { like: std::marker::PhantomData }
    }

    /// The ownership of a file, which has its list since it was created.
    pub(crate) fn of(metadata: &Metadata, like: &'a Path) -> Self {
        Self::exactly(metadata, like)
    }

    /// Always false: files are not given to other users here.
    pub(crate) fn is_another_users(self) -> bool {
        false
    }

    /// Does nothing: the file has its owner and its list already.
    pub(crate) fn apply(self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}
