//! Files that another program has open for a moment: on Windows, a scanner or an indexer opens a file that was just written,
//! and until it is done the file can be neither replaced nor removed.

use std::io;
use std::time::Duration;

/// The waits between the attempts: two thirds of a second in all. A scanner needs some milliseconds.
const WAITS: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

/// Repeats a call on a file as long as its error says that another program has the file open.
pub(super) fn patiently<T>(
    is_held: impl Fn(&io::Error) -> bool,
    pause: impl Fn(Duration),
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for wait in WAITS {
        match work() {
            Err(error) if is_held(&error) => pause(wait),
            done => return done,
        }
    }
    work()
}

/// The meaning of error numbers on Windows. Pure functions, so that every system tests them.
#[cfg(any(not(unix), test))]
pub(super) mod windows {
    use std::io;

    const INVALID_FUNCTION: i32 = 1;
    const ACCESS_DENIED: i32 = 5;
    const NOT_SAME_DEVICE: i32 = 17;
    const WRITE_PROTECT: i32 = 19;
    const SHARING_VIOLATION: i32 = 32;
    const LOCK_VIOLATION: i32 = 33;
    const NOT_SUPPORTED: i32 = 50;
    const DELETE_PENDING: i32 = 303;
    const USER_MAPPED_FILE: i32 = 1224;

    /// Whether another program has the file open. *Access denied* means the same for a file that is to be replaced.
    pub(crate) fn means_held(error: &io::Error) -> bool {
        matches!(
            error.raw_os_error(),
            Some(ACCESS_DENIED | SHARING_VIOLATION | LOCK_VIOLATION | DELETE_PENDING | USER_MAPPED_FILE)
        )
    }

    /// Whether the file cannot be replaced by another, though it may be written itself.
    pub(crate) fn means_irreplaceable(error: &io::Error) -> bool {
        means_held(error) || matches!(error.raw_os_error(), Some(NOT_SAME_DEVICE | WRITE_PROTECT | NOT_SUPPORTED))
    }

    /// The error that [`means_irreplaceable`] recognises.
    pub(crate) fn cannot_be_replaced() -> io::Error {
        io::Error::from_raw_os_error(NOT_SUPPORTED)
    }

    /// Whether the file system has no locks, as is the case on some network drives.
    pub(crate) fn means_no_locks(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(INVALID_FUNCTION | NOT_SUPPORTED))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const SHARING_VIOLATION: i32 = 32;

    fn error(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn a_file_that_is_held_is_tried_again_until_it_is_free() {
        for failures in 0..=WAITS.len() {
            let (tries, waited) = (Cell::new(0), RefCell::new(Vec::new()));
            let result = patiently(
                windows::means_held,
                |wait| waited.borrow_mut().push(wait),
                || {
                    tries.set(tries.get() + 1);
                    if tries.get() > failures { Ok("done") } else { Err(error(SHARING_VIOLATION)) }
                },
            );
            assert_eq!(result.unwrap(), "done");
            assert_eq!(*waited.borrow(), WAITS[..failures]);
        }
    }

    #[test]
    fn a_file_that_stays_held_is_given_up_with_the_system_s_error() {
        let (tries, waited) = (Cell::new(0), Cell::new(Duration::ZERO));
        let work = || {
            tries.set(tries.get() + 1);
            Err::<(), _>(error(SHARING_VIOLATION))
        };
        let result = patiently(windows::means_held, |wait| waited.set(waited.get() + wait), work);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(SHARING_VIOLATION));
        assert_eq!((tries.get(), waited.get()), (WAITS.len() + 1, Duration::from_millis(630)));
    }

    #[test]
    fn any_other_error_is_final() {
        let tries = Cell::new(0);
        let work = || {
            tries.set(tries.get() + 1);
            Err::<(), _>(error(2))
        };
        assert!(patiently(windows::means_held, |_| panic!("it waited"), work).is_err());
        assert_eq!(tries.get(), 1);
    }

    #[test]
    fn the_numbers_of_windows_are_understood() {
        // file not found, access denied, write-protected, held, no such function, not supported, disk full
        let codes = [2, 5, 19, 32, 1, 50, 112];
        let which = |rule: fn(&io::Error) -> bool| codes.map(|code| rule(&error(code)));
        assert_eq!(which(windows::means_held), [false, true, false, true, false, false, false]);
        assert_eq!(which(windows::means_irreplaceable), [false, true, true, true, false, true, false]);
        assert_eq!(which(windows::means_no_locks), [false, false, false, false, true, true, false]);
        assert!(windows::means_irreplaceable(&windows::cannot_be_replaced()));
        // Another drive: the journal's folder may be on another drive than the mirror.
        assert!(windows::means_irreplaceable(&error(17)));
    }
}
