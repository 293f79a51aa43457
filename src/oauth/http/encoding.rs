//! Content that was compressed although nobody asked for that.

use std::borrow::Cow;

use miniz_oxide::inflate::{DecompressError, decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};

use super::Headers;

/// The content of a body that says to be compressed with gzip or deflate, or that is gzip without a word. What was cut off gives
/// what is there of it, and what cannot be understood is left as it is. `limit` is for the content.
pub(super) fn decoded<'a>(headers: &Headers, body: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
    let said = headers.first("content-encoding").map(|value| value.trim().to_ascii_lowercase()).unwrap_or_default();
    // JSON never begins like that.
    let content = if let Some(packed) = gzip(body) {
        some_of(decompress_to_vec_with_limit(packed, limit))
    } else if said == "deflate" && !matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'[' | b'<')) {
        // Some servers leave the wrapper of zlib out, and some say so and compress nothing.
        some_of(decompress_to_vec_zlib_with_limit(body, limit))
            .or_else(|| some_of(decompress_to_vec_with_limit(body, limit)))
    } else {
        None
    };
    content.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// What is packed in a member of gzip: everything behind its header (RFC 1952). Its end is not looked at.
fn gzip(body: &[u8]) -> Option<&[u8]> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, rest @ ..] = body else { return None };
    let mut rest = rest;
    if flags & 4 != 0 {
        let [low, high, fields @ ..] = rest else { return None };
        rest = fields.get(usize::from(u16::from_le_bytes([*low, *high]))..)?;
    }
    // A name, and a comment, each with a zero at its end.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

fn some_of(unpacked: Result<Vec<u8>, DecompressError>) -> Option<Vec<u8>> {
    match unpacked {
        Ok(content) => Some(content),
        Err(DecompressError { mut output, .. }) => {
            // What was made ready for the rest, and not written: no text has such a byte.
            let length = output.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            output.truncate(length);
            Some(output).filter(|output| !output.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `hello hello hello`, by gzip with every optional field, by zlib, and by deflate alone.
    const DEFLATED: &[u8] = &[0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x90, 0x00];
    const TEXT: &[u8] = b"hello hello hello";

    fn gzipped(flags: u8, fields: &[u8]) -> Vec<u8> {
        [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3], fields, DEFLATED, &[0; 8]].concat()
    }

    fn decode(said: &str, body: &[u8]) -> Vec<u8> {
        decoded(&Headers::new([("Content-Encoding", said)]), body, 100).into_owned()
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes() {
        for said in ["gzip", "x-gzip", "identity", "deflate", ""] {
            assert_eq!(decode(said, &gzipped(0, b"")), TEXT, "{said}");
        }
        assert_eq!(decode("gzip", &gzipped(4 | 8 | 16 | 2, b"\x03\0abcname\0comment\0\x01\x02")), TEXT);
        let whole = gzipped(0, b"");
        assert_eq!(decode("gzip", &whole[..whole.len() - 8]), TEXT, "without its end");
        assert_eq!(decode("gzip", &whole[..16]), b"hello", "cut off");
    }

    #[test]
    fn deflate_comes_with_its_wrapper_and_without() {
        let zlib = [&[0x78, 0x9c], DEFLATED, &[0x3a, 0x2e, 0x06, 0x7d]].concat();
        assert_eq!(decode(" Deflate ", &zlib), TEXT);
        assert_eq!(decode("deflate", DEFLATED), TEXT);
        assert_eq!(decode("identity", DEFLATED), DEFLATED);
    }

    #[test]
    fn what_is_not_compressed_stays_as_it_is() {
        for body in [&b"{\"a\":1}"[..], b"", b"\x1f\x8b", b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff"] {
            for said in ["gzip", "deflate", "br", ""] {
                assert_eq!(decode(said, body), body, "{said}");
            }
        }
    }

    #[test]
    fn no_content_is_longer_than_its_limit() {
        let bomb = [
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            &miniz_oxide::deflate::compress_to_vec(&vec![b'x'; 100_000], 6)[..],
        ]
        .concat();
        assert!(decoded(&Headers::default(), &bomb, 1_000).len() <= 1_000);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), flags in any::<u8>()) {
            let _ = decode("deflate", &bytes);
            let _ = decode("gzip", &gzipped(flags, &bytes));
        }
    }
}
