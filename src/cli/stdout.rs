//! Whether standard output takes what is about to be written, as far as can be known without writing anything.

use std::io;

use crate::{Error, ErrorCode, Result};

/// How much room a file needs for a result: a token has some 1500 bytes, and may have more.
#[cfg(unix)]
const ROOM: u64 = crate::token::MAX_WRAPPER_BYTES as u64;

/// Tries standard output without writing anything. To be called before the request that brings a token which is kept
/// nowhere else: afterwards the one before it is spent.
///
/// # Errors
///
/// `ABORTED` for a closed pipe, a terminal that hung up and a full disk; and for the null device, which takes everything
/// and keeps nothing. Node opens that one for a program whose standard output is closed.
pub(super) fn try_out() -> Result<()> {
    try_out_here().map_err(|error| {
        Error::new(
            ErrorCode::Aborted,
            format!(
                "The result could not be written to standard output: {error}. No token was requested. Give standard output a file or a program that reads it, or keep the token with --state-file."
            ),
        )
    })
}

#[cfg(unix)]
fn try_out_here() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, fstat, fstatvfs};

    use crate::files::platform;

    let stdout = io::stdout();
    let stat = fstat(&stdout)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == stat.st_rdev) => {
            return Err(io::Error::other("it is the null device, which keeps nothing"));
        }
        // An empty write reaches no reader, so it cannot tell that there is none.
        FileType::Fifo | FileType::Socket => {
            let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
            poll(&mut fds, Some(&Timespec::default()))?;
            if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        FileType::RegularFile => {
            // A file system that counts no blocks cannot say how many are free.
            if let Ok(disk) = fstatvfs(&stdout)
                && disk.f_blocks > 0
            {
                // Some blocks are kept for root.
                let free = if platform::is_root() { disk.f_bfree } else { disk.f_bavail };
                if free.saturating_mul(disk.f_frsize) < ROOM {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
        }
        _ => {}
    }
    match rustix::io::write(&stdout, &[]) {
        // A pipe that does not wait: it takes the result later.
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
        written => Ok(written.map(drop)?),
    }
}

#[cfg(not(unix))]
fn try_out_here() -> io::Result<()> {
    use std::io::Write;
    io::stdout().write(&[]).map(drop)
}
