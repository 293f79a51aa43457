//! A check whether standard output can take a result, without writing anything.

use std::io;

use crate::{Error, ErrorCode, Result};

/// The free space that a file needs for a result: a token has about 1500 bytes, and may have more.
#[cfg(unix)]
const ROOM: u64 = crate::token::MAX_WRAPPER_BYTES as u64;

/// Checks standard output without writing anything. Call it before a request whose new token is kept nowhere else: that request
/// spends the former token.
///
/// # Errors
///
/// `ABORTED` for a closed pipe, a terminal that has hung up, a full disk, and the null device, which keeps nothing. Node opens the
/// null device for a program whose standard output is closed.
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
        // An empty write does not reach a reader, so it does not show that there is none.
        FileType::Fifo | FileType::Socket => {
            let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
            poll(&mut fds, Some(&Timespec::default()))?;
            if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        FileType::RegularFile => {
            // Some file systems count no blocks.
            if let Ok(disk) = fstatvfs(&stdout)
                && disk.f_blocks > 0
            {
                // Some blocks are reserved for root.
                let free = if platform::is_root() { disk.f_bfree } else { disk.f_bavail };
                if free.saturating_mul(disk.f_frsize) < ROOM {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
        }
        _ => {}
    }
    match rustix::io::write(&stdout, &[]) {
        // The pipe is full and non-blocking: it takes the result later.
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
        written => Ok(written.map(drop)?),
    }
}

#[cfg(not(unix))]
fn try_out_here() -> io::Result<()> {
    use std::io::Write;
    io::stdout().write(&[]).map(drop)
}
