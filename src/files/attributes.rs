//! What a file has besides its bytes, mode and owner: a POSIX access list, and attributes of programs.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::copy;

/// Does nothing here, because there is no safe way to read an access list: a file that replaces another one has the list that
/// its folder gives it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps, reason = "the same shape as on the systems where it can fail")]
pub(super) fn copy(_from: &std::path::Path, _to: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::collections::BTreeMap;
    use std::ffi::{CStr, CString};
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::XattrFlags;
    use rustix::io::Errno;

    /// The kernel derives these from the bytes of a file, so they are not copied to other bytes.
    const OF_THE_BYTES: [&CStr; 2] = [c"security.ima", c"security.evm"];
    /// A size above the limit of the kernel.
    const LARGEST: usize = 64 * 1024;

    type Attributes = BTreeMap<CString, Vec<u8>>;

    /// Gives a file the access list and the attributes of another, and none beyond these.
    ///
    /// # Errors
    ///
    /// If the file does not have all of them afterwards: an error that means that it cannot take the place of the other one.
    pub(crate) fn copy(from: &Path, to: &File) -> io::Result<()> {
        let wanted =
            read(|list| rustix::fs::llistxattr(from, list), |name, value| rustix::fs::lgetxattr(from, name, value))?;
        let there =
            || read(|list| rustix::fs::flistxattr(to, list), |name, value| rustix::fs::fgetxattr(to, name, value));
        let found = there()?;
        if found == wanted {
            return Ok(());
        }
        // The comparison below finds what cannot be set or removed.
        for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
            let _ = rustix::fs::fremovexattr(to, name.as_c_str());
        }
        for (name, value) in wanted.iter().filter(|(name, value)| found.get(*name) != Some(value)) {
            let _ = rustix::fs::fsetxattr(to, name.as_c_str(), value, XattrFlags::empty());
        }
        if there()? == wanted { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
    }

    fn read(
        list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
        value_of: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
    ) -> io::Result<Attributes> {
        let names = match filled(&list) {
            // The file system has none.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Attributes::new()),
            names => names?,
        };
        let mut attributes = Attributes::new();
        for name in names.split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            if OF_THE_BYTES.contains(&name) {
                continue;
            }
            match filled(&|value: &mut [u8]| value_of(name, value)) {
                // Another process has removed it since the list was read.
                Err(Errno::NODATA) => {}
                value => drop(attributes.insert(name.to_owned(), value?)),
            }
        }
        Ok(attributes)
    }

    fn filled(fill: &impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
        // Nearly all values are short.
        for size in [1024, LARGEST] {
            let mut bytes = vec![0; size];
            match fill(&mut bytes) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(bytes);
                }
                Err(Errno::RANGE | Errno::TOOBIG) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::OPNOTSUPP)
    }
}
