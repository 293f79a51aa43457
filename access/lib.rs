//! Access lists of Windows: creates a file or a folder with a list in one call, and reads the list of a file or folder. It also says
//! which file an open file is, which the standard library does not.
//!
//! Lists are text in the notation of the system (SDDL): `D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-…)`. This crate does not
//! judge them: the library does, with rules that are tested on every system. All `unsafe` of the library is in this crate. On
//! other systems it is empty.

#![cfg(windows)]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Component, Path, Prefix};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetTokenInformation, OBJECT_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION,
    SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL,
    FILE_FLAG_BACKUP_SEMANTICS, GetFileInformationByHandle, READ_CONTROL,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// The identifier of the user of this process, `S-1-5-21-…`, and the name of that user in a list. Some users have a
/// name of two letters there (`SY` is the system itself, `LA` the built-in administrator).
///
/// # Errors
///
/// The error of the system, if it does not name the user.
pub fn user() -> io::Result<(String, String)> {
    let mut token = null_mut();
    // SAFETY: the pseudo handle of this process is always valid, and `token` is a place for one handle.
    succeed(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the call before succeeded, so this is an open handle, and only this code closes it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };

    let mut length = 0;
    // SAFETY: the call asks only for the length, and its buffer has no bytes, so the system writes nothing to it.
    unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, null_mut(), 0, &raw mut length) };
    // A buffer of words, so that the structure of pointers at its beginning is aligned.
    let mut buffer = vec![0_usize; (length as usize).div_ceil(size_of::<usize>())];
    // SAFETY: the buffer has room for the number of bytes that the call is told.
    succeed(unsafe {
        GetTokenInformation(token.as_raw_handle(), TokenUser, buffer.as_mut_ptr().cast(), length, &raw mut length)
    })?;
    if buffer.len() * size_of::<usize>() < size_of::<TOKEN_USER>() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the call before succeeded, so the buffer begins with this structure, whose pointer leads into the buffer.
    let sid = unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    let mut text = null_mut();
    // SAFETY: `sid` leads into `buffer`, which is still there, and `text` is a place for one pointer.
    succeed(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let sid = Allocated(text.cast()).text()?;

    let owner = Descriptor::parse(&format!("O:{sid}"))?.to_text(OWNER_SECURITY_INFORMATION)?;
    let name = owner.strip_prefix("O:").unwrap_or(&sid).to_owned();
    Ok((sid, name))
}

/// The access list of a file or folder.
///
/// # Errors
///
/// The error of the system, if the list cannot be read, or there are no lists.
pub fn list_of(path: &Path) -> io::Result<String> {
    // A folder can only be opened with this flag, which has no effect on a file.
    let opened = OpenOptions::new().access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    let mut descriptor = null_mut();
    // SAFETY: the handle is open, and `descriptor` is a place for one pointer. The parts that are not asked for have no place.
    let error = unsafe {
        GetSecurityInfo(
            opened.as_raw_handle(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION,
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if error != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    Descriptor(Allocated(descriptor)).to_text(DACL_SECURITY_INFORMATION)
}

/// How a new file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whether it is opened for reading as well as for writing.
    pub is_read: bool,
    /// What other programs may do while it is open, in the numbers of the system (`FILE_SHARE_READ` and so on).
    pub share_mode: u32,
}

/// Creates a file that does not exist yet, with that access list from the first moment.
///
/// # Errors
///
/// The error of the system: `AlreadyExists` if something is there.
pub fn create_file(path: &Path, list: &str, opening: Opening) -> io::Result<File> {
    let (path, list) = (wide_path(path)?, Descriptor::parse(list)?);
    let attributes = list.as_attributes();
    let access = GENERIC_WRITE | if opening.is_read { GENERIC_READ } else { 0 };
    // SAFETY: the path ends with a zero, and the descriptor lives until the end of this function.
    let handle = unsafe {
        CreateFileW(
            path.as_ptr(),
            access,
            opening.share_mode,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so this is an open handle, and only this code closes it.
    Ok(File::from(unsafe { OwnedHandle::from_raw_handle(handle) }))
}

/// Creates a folder that does not exist yet, with that access list from the first moment.
///
/// # Errors
///
/// The error of the system: `AlreadyExists` if something is there.
pub fn create_dir(path: &Path, list: &str) -> io::Result<()> {
    let (path, list) = (wide_path(path)?, Descriptor::parse(list)?);
    let attributes = list.as_attributes();
    // SAFETY: the path ends with a zero, and the descriptor lives until the end of this function.
    succeed(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// The serial number of the volume of an open file, and the number of the file in it. No other file of the volume has that number as
/// long as this one exists.
///
/// # Errors
///
/// The error of the system, if the file system does not say.
pub fn identity(file: &File) -> io::Result<(u64, u64)> {
    let mut there = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open as long as `file` is there, and `there` is a place for the structure.
    succeed(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut there) })?;
    let number = u64::from(there.nFileIndexHigh) << 32 | u64::from(there.nFileIndexLow);
    Ok((there.dwVolumeSerialNumber.into(), number))
}

/// Memory that the system has allocated and this process has to free.
struct Allocated(*mut c_void);

impl Allocated {
    /// Its content as text.
    fn text(self) -> io::Result<String> {
        let text = self.0.cast::<u16>();
        let mut length = 0;
        // SAFETY: this is a text of the system's, which ends with a zero, and is read no further than that.
        while unsafe { *text.add(length) } != 0 {
            length += 1;
        }
        // SAFETY: the loop above has read that many characters.
        let text = unsafe { std::slice::from_raw_parts(text, length) };
        String::from_utf16(text).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: the system allocated this memory in a call whose caller has to free it, and only this code frees it,
        // once.
        unsafe { LocalFree(self.0) };
    }
}

/// A security descriptor.
struct Descriptor(Allocated);

impl Descriptor {
    fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text.encode_utf16())?;
        let mut descriptor = null_mut();
        // SAFETY: the text ends with a zero, and `descriptor` is a place for one pointer. The length is not asked for.
        succeed(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                null_mut(),
            )
        })?;
        Ok(Self(Allocated(descriptor)))
    }

    fn to_text(&self, part: OBJECT_SECURITY_INFORMATION) -> io::Result<String> {
        let mut text = null_mut();
        // SAFETY: the descriptor is one of the system's, and `text` is a place for one pointer. The length is not asked for.
        succeed(unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                self.0.0,
                SDDL_REVISION_1,
                part,
                &raw mut text,
                null_mut(),
            )
        })?;
        Allocated(text.cast()).text()
    }

    /// The argument of a call that creates something. It points to the descriptor, and must not outlive it.
    fn as_attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}

fn succeed(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A path in the form that these calls accept at any length: absolute, and with `\\?\` in front.
fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
    let absolute = std::path::absolute(path)?;
    let (prefix, skipped) = match absolute.components().next() {
        Some(Component::Prefix(prefix)) => match prefix.kind() {
            Prefix::Disk(_) => (r"\\?\", 0),
            // The prefix replaces the two backslashes at the beginning of a share.
            Prefix::UNC(..) => (r"\\?\UNC\", 2),
            _ => ("", 0),
        },
        _ => ("", 0),
    };
    wide(prefix.encode_utf16().chain(absolute.as_os_str().encode_wide().skip(skipped)))
}

/// A text that ends with a zero, as these calls need it.
fn wide(text: impl Iterator<Item = u16>) -> io::Result<Vec<u16>> {
    let mut text: Vec<u16> = text.collect();
    if text.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    text.push(0);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const FILE_SHARE_ALL: u32 = 7;

    fn opening(is_read: bool, share_mode: u32) -> Opening {
        Opening { is_read, share_mode }
    }

    /// A list for this user and the system.
    fn list() -> String {
        format!("D:P(A;;FA;;;{})(A;;FA;;;SY)", user().unwrap().0)
    }

    /// The users to whom a list gives rights.
    fn trustees(list: &str) -> Vec<String> {
        let entries = list.split(['(', ')']).filter(|entry| entry.starts_with("A;"));
        let mut trustees: Vec<_> = entries.filter_map(|entry| entry.rsplit(';').next()).map(str::to_owned).collect();
        trustees.sort();
        trustees
    }

    #[test]
    fn the_user_has_an_identifier_and_a_name_in_lists() {
        let (sid, name) = user().unwrap();
        assert!(sid.starts_with("S-1-5-"), "{sid}");
        assert!(name == sid || name.len() == 2, "{name}");
    }

    #[test]
    fn a_file_has_its_list_from_the_call_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        let mut file = create_file(&path, &list(), opening(true, FILE_SHARE_ALL)).unwrap();
        file.write_all(b"text").unwrap();
        let mut ours = vec![user().unwrap().1, "SY".to_owned()];
        ours.sort();
        assert_eq!(trustees(&list_of(&path).unwrap()), ours);
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let again = create_file(&path, &list(), opening(false, FILE_SHARE_ALL));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn the_share_mode_of_an_open_file_is_as_requested() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json.lock");
        let held = create_file(&path, &list(), opening(true, FILE_SHARE_ALL & !4)).unwrap();
        assert!(std::fs::remove_file(&path).is_err());
        drop(held);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_folder_has_its_list_too_and_a_long_path_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().to_owned();
        while path.as_os_str().len() < 400 {
            path.push("a folder with a long name");
            create_dir(&path, &list().replace("(A;;", "(A;OICI;")).unwrap();
        }
        assert!(list_of(&path).unwrap().starts_with("D:"));
        assert_eq!(create_dir(&path, &list()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let file = path.join("j.json");
        drop(create_file(&file, &list(), opening(false, FILE_SHARE_ALL)).unwrap());
        assert!(file.is_file());
    }

    #[test]
    fn a_file_has_one_identity_under_all_its_names_and_another_file_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let [path, name, other] = ["j.json", "second name", "other"].map(|name| folder.path().join(name));
        let first = identity(&File::create(&path).unwrap()).unwrap();
        std::fs::hard_link(&path, &name).unwrap();
        assert_eq!([&path, &name].map(|path| identity(&File::open(path).unwrap()).unwrap()), [first; 2]);
        let (volume, number) = identity(&File::create(&other).unwrap()).unwrap();
        assert!(volume == first.0 && number != first.1, "{first:?} and {volume} {number}");
    }

    #[test]
    fn an_invalid_list_or_path_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        for list in ["D:(", "D:(A;;FA;;;nobody)", "D:P(A;;FA;;;SY)\0(A;;FA;;;WD)"] {
            assert!(create_file(&path, list, opening(false, FILE_SHARE_ALL)).is_err(), "{list}");
            assert!(!path.exists(), "{list}");
        }
        assert!(create_dir(&folder.path().join("a\0b"), &list()).is_err());
        assert!(list_of(&folder.path().join("none")).is_err());
    }
}
