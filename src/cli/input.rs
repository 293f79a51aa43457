//! Lines from standard input, for scripts.

use std::io::Read;

use crate::{Error, ErrorCode, Result, Secret};

/// The longest line that is read: the longest wrapper of a token.
const LONGEST: usize = crate::token::MAX_WRAPPER_BYTES;

/// Reads one line, without its end. Blocks. `None` where there is none left.
///
/// Byte by byte, so that what follows stays for whoever reads next.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no text or far too long.
pub(super) fn read_line(from: &mut impl Read) -> Result<Option<Secret>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() >= LONGEST => {
                return Err(Error::invalid(
                    "A line of standard input is far too long to be a password, a code or a token.",
                ));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Whoever shares the pipe made it so that it does not wait.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => {
                return Err(Error::new(ErrorCode::InvalidArgument, "Standard input cannot be read.").with_cause(error));
            }
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(line) => Ok(Some(Secret::new(line))),
        Err(_) => Err(Error::invalid("Standard input is not valid UTF-8.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_and_unchanged() {
        let mut input = &b" pass word \r\n123456\nlast"[..];
        let mut next = || read_line(&mut input).unwrap().map(|line| line.expose().to_owned());
        assert_eq!(next().as_deref(), Some(" pass word "));
        assert_eq!(next().as_deref(), Some("123456"));
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(read_line(&mut &b"\xff\xfe\n"[..]).unwrap_err().code(), ErrorCode::InvalidArgument);
        assert!(read_line(&mut std::io::repeat(b'a')).is_err());
    }
}
