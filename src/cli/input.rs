//! Lines from standard input, and values from the environment, for scripts.

use std::io::Read;

use crate::{Error, ErrorCode, Result, Secret};

/// The longest line that is read: the longest wrapper of a token.
pub(super) const LONGEST: usize = crate::token::MAX_WRAPPER_BYTES;

/// Removes the byte order mark before a value and the line ends behind it, which editors and shells add. Spaces stay, because they
/// can belong to a password.
pub(super) fn without_line_end(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n'])
}

/// Reads one line, without a byte order mark before it and without its end. Blocks. `None` if no line is left.
///
/// Reads byte by byte, so that the following text stays for the next reader.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if the line is not text or is far too long.
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
            // Another process that shares the pipe has made it non-blocking.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => {
                return Err(Error::new(ErrorCode::InvalidArgument, "Standard input cannot be read.").with_cause(error));
            }
        }
    }
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") || line.contains(&0) {
        return Err(Error::invalid(
            "Standard input is UTF-16, as Windows PowerShell writes files. Save it as UTF-8, and try again.",
        ));
    }
    match std::str::from_utf8(&line) {
        Ok(line) => Ok(Some(Secret::new(without_line_end(line)))),
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
    fn byte_order_marks_and_line_ends_of_other_systems_do_not_count() {
        for (input, expected) in [
            (&b"\xef\xbb\xbfpass word \r\n"[..], "pass word "),
            (b" pass word \n", " pass word "),
            (b"\xef\xbb\xbfpass word", "pass word"),
            (b"pass word\r\r\n", "pass word"),
            (b"\r\n", ""),
            (b"\xef\xbb\xbf\n", ""),
        ] {
            let line = read_line(&mut &input[..]).unwrap().unwrap();
            assert_eq!(line.expose(), expected, "{input:?}");
        }
        for (text, expected) in
            [("secret\r", "secret"), ("\u{feff}secret\r\n\n", "secret"), (" a b ", " a b "), ("\r", ""), ("", "")]
        {
            assert_eq!(without_line_end(text), expected, "{text:?}");
        }
    }

    #[test]
    fn utf_16_is_named() {
        for input in [&b"\xff\xfea\0\n\0"[..], b"\xfe\xff\0a\0\n", b"a\0b\0\r\0\n\0"] {
            let error = read_line(&mut &input[..]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().starts_with("Standard input is UTF-16, as Windows PowerShell writes"), "{error}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(read_line(&mut &b"\xc3\x28\n"[..]).unwrap_err().message(), "Standard input is not valid UTF-8.");
        assert_eq!(read_line(&mut &b"\xff\xfe\n"[..]).unwrap_err().code(), ErrorCode::InvalidArgument);
        assert!(read_line(&mut std::io::repeat(b'a')).is_err());
    }
}
