//! Decompression of bodies that a server has compressed although the client does not ask for that.

use std::borrow::Cow;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::Headers;

/// Decompresses a body that begins like gzip, or whose header names deflate. If the body is cut off, returns the content so far. A
/// body that cannot be decompressed stays unchanged. `limit` is the most bytes that the content may have.
pub(super) fn decoded<'a>(headers: &Headers, body: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
    let said = headers.first("content-encoding").map(|value| value.trim().to_ascii_lowercase()).unwrap_or_default();
    if said == "deflate" && gzip(body).is_none() {
        // Some servers leave out the zlib wrapper, and some name deflate but compress nothing.
        if matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'[' | b'<')) {
            return Cow::Borrowed(body);
        }
        let content = [inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER, 0]
            .map(|flags| inflated(body, flags, limit).0)
            .into_iter()
            .find(|content| !content.is_empty());
        return content.map_or(Cow::Borrowed(body), Cow::Owned);
    }
    // Both a server and a gateway in front of it may have compressed the body. JSON never begins like gzip.
    let mut content = Cow::Borrowed(body);
    for _ in 0..MOST_LAYERS {
        let unpacked = gunzipped(&content, limit);
        if unpacked.is_empty() {
            break;
        }
        content = Cow::Owned(unpacked);
    }
    content
}

/// The largest number of nested compressions that [`decoded`] removes from a body.
const MOST_LAYERS: usize = 3;

/// The largest number of gzip members that are decompressed. An answer can contain thousands of empty ones, and each costs time.
const MOST_MEMBERS: usize = 16;

/// The content of all members of a gzip text. It is empty if the text is not gzip.
fn gunzipped(mut body: &[u8], limit: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..MOST_MEMBERS {
        let Some(packed) = gzip(body) else { break };
        let (part, end) = inflated(packed, 0, limit - content.len());
        content.extend_from_slice(&part);
        // After a complete member come its checksum and its length, of four bytes each.
        let Some(rest) = end.and_then(|end| packed.get(end + 8..)) else { break };
        body = rest;
    }
    content
}

/// The smallest initial size of the buffer for decompressed content, in bytes.
const LEAST_ROOM: usize = 256;

/// The content of a deflated text as far as it can be decompressed, and the length of that text if it is complete.
fn inflated(packed: &[u8], flags: u32, limit: usize) -> (Vec<u8>, Option<usize>) {
    let flags = flags | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let (mut content, mut length, mut at) = (Vec::new(), 0, 0);
    loop {
        content.resize((length * 2).max(packed.len().saturating_mul(2)).max(LEAST_ROOM).min(limit), 0);
        let (status, read, written) = decompress(&mut state, &packed[at..], &mut content, length, flags);
        (at, length) = (at + read, length + written);
        if status != TINFLStatus::HasMoreOutput || length >= limit {
            content.truncate(length);
            return (content, (status == TINFLStatus::Done).then_some(at));
        }
    }
}

/// The deflated text in a gzip member: everything after its header (RFC 1952). This function does not verify the checksum.
fn gzip(body: &[u8]) -> Option<&[u8]> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, rest @ ..] = body else { return None };
    let mut rest = rest;
    if flags & 4 != 0 {
        let [low, high, fields @ ..] = rest else { return None };
        rest = fields.get(usize::from(u16::from_le_bytes([*low, *high]))..)?;
    }
    // Skip the name and the comment, each of which ends with a zero.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text `hello hello hello`, deflated. The tests add the wrappers of gzip and zlib.
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
    fn gzip_may_have_several_members_and_layers() {
        let (empty, whole) = ([&gzipped(0, b"")[..10], &[3, 0], &[0; 8]].concat(), gzipped(0, b""));
        assert_eq!(decode("gzip", &[&empty[..], &whole, &whole].concat()), [TEXT, TEXT].concat());
        assert_eq!(decode("gzip", &[&whole[..], b"padding"].concat()), TEXT);
        let mut twice = gzipped(0, b"")[..10].to_vec();
        twice.extend(miniz_oxide::deflate::compress_to_vec(&whole, 6));
        assert_eq!(decode("gzip, gzip", &twice), TEXT);
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
        for body in
            [&b"{\"a\":1}"[..], b"", b"\x1f\x8b", &gzipped(0, b"")[..10], b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff"]
        {
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
