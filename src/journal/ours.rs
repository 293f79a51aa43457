//! Decides by its content whether a file is ours, never by its name.
//!
//! A caller may change or remove only files that are ours. The exception is a name that this package derived, in its
//! own folder or in a folder that the user gave for journals: that file is ours, whatever its content.

use sha2::{Digest, Sha256};

use super::{format, seal};
use crate::looks::{Look, keys_of, text_in};

/// The origin of a file's name: the user or this package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The user chose the name. Any file may be there.
    ByPerson,
    /// This package derived the name, in a folder for journals.
    ByUs,
}

/// A signature of our files: the bytes at the beginning, and the JSON key in them.
struct Signature {
    bytes: &'static str,
    key: &'static str,
    /// The number of bytes that are enough to recognise the signature. Other JSON files can begin with fewer of them.
    enough: usize,
}

/// The common beginning of all signatures.
pub(super) const BEGINNING: &str = "{\n  \"ring-auth-";
/// The number of bytes of a signature that are enough to recognise it.
const ENOUGH: usize = "{\n  \"ring-a".len();
/// All signatures: that of a plain journal and that of a sealed one.
const SIGNATURES: [Signature; 2] = [
    Signature { bytes: format::SIGNATURE, key: format::NAME, enough: ENOUGH },
    Signature { bytes: seal::SIGNATURE, key: seal::NAME, enough: ENOUGH },
];

/// The number of bytes of a file that show whether it begins with a signature.
pub(super) const LONGEST_SIGNATURE: usize = format::SIGNATURE.len();

/// Whether a content has a signature of ours. The signature is at the beginning, or it is a key of the JSON object if
/// an editor has reformatted the text or added a byte order mark. At the beginning it may be cut short if nothing
/// follows it.
pub fn carries_signature(bytes: &[u8]) -> bool {
    begins_with_signature(bytes.strip_prefix(BOM).unwrap_or(bytes)) || has_signature_as_key(bytes)
}

/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Whether a content begins with a signature. The signature may be cut short if nothing follows it.
pub(super) fn begins_with_signature(bytes: &[u8]) -> bool {
    let begun = format::without_room(bytes);
    SIGNATURES.iter().any(|signature| {
        let whole = signature.bytes.as_bytes();
        bytes.starts_with(whole) || (begun.len() >= signature.enough && whole.starts_with(begun))
    })
}

fn has_signature_as_key(bytes: &[u8]) -> bool {
    let Some(text) = text_in(bytes).or_else(|| text_in(format::without_room(bytes))) else { return false };
    let Some(inside) = text.trim_start().strip_prefix('{') else { return false };
    let keys = keys_of(text.trim_start());
    SIGNATURES.iter().any(|Signature { key, .. }| match &keys {
        Some(keys) => keys.iter().any(|found| found == key),
        // If the text is torn, only the first key is certain to be a key of the object itself.
        None => inside
            .trim_start()
            .strip_prefix(&format!("\"{key}\""))
            .is_some_and(|rest| rest.trim_start().starts_with(':')),
    })
}

/// Whether a file holds nothing: it is reserved space, or was only just made.
pub(super) fn holds_nothing(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}

/// Decides whether the content at the path of a journal is ours. Issuer and name are those of the journal.
///
/// # Errors
///
/// The kind of file that the content looks like, if it is not ours.
pub(super) fn judge_journal(
    bytes: &[u8],
    named: Named,
    (issuer, name): (&str, &str),
    is_beside_ours: impl FnOnce() -> bool,
) -> Result<(), Look> {
    let is_ours = named == Named::ByUs
        || bytes.is_empty()
        || carries_signature(bytes)
        // The digest of a token's record covers the issuer and the name.
        || format::salvage(bytes, issuer, name).is_some();
    if is_ours {
        return Ok(());
    }
    let look = Look::of(bytes);
    if look.is_undecodable() && is_beside_ours() { Ok(()) } else { Err(look) }
}

/// Whether a content in the place of a copy is a copy of the journal with that name, or space that was reserved for
/// one: it carries a signature and the journal's name, or it holds nothing. A journal of another account may have the
/// same name.
pub(super) fn is_copy(bytes: &[u8], (issuer, name): (&str, &str)) -> bool {
    if holds_nothing(bytes) {
        return true;
    }
    if !carries_signature(bytes) {
        return format::salvage(bytes, issuer, name).is_some();
    }
    // Some file systems do not distinguish capital and small letters.
    format::name_of(bytes).is_none_or(|said| said.to_lowercase() == name.to_lowercase())
}

/// The part of a damaged journal's new name between the journal's name and a digest of the damaged content.
pub(super) const DAMAGED: &str = ".damaged-";

/// The ending of the name under which a damaged content is kept.
pub(super) fn damaged_ending(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    format!("{DAMAGED}{:032x}", u128::from_be_bytes(half))
}

/// Whether a content was kept under a name with that ending. A number follows the digest if another file had the name.
pub(super) fn is_damaged_one(bytes: &[u8], ending: &str) -> bool {
    let number = ending.strip_prefix(&damaged_ending(bytes));
    number.is_some_and(|number| number.is_empty() || (number.len() == 2 && number.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::state::State;
    use super::*;

    const OF: (&str, &str) = ("https://oauth.ring.com", "j.json");

    fn journal() -> Vec<u8> {
        format::encode(&State::logged_out(OF.0, 7), OF.1)
    }

    fn judge(bytes: &[u8], is_beside_ours: bool) -> Result<(), Look> {
        judge_journal(bytes, Named::ByPerson, OF, || is_beside_ours)
    }

    #[test]
    fn a_journal_is_recognised_however_it_was_damaged() {
        let whole = journal();
        for cut in 11..whole.len() {
            assert_eq!(judge(&whole[..cut], false), Ok(()), "cut at {cut}");
        }
        let text = String::from_utf8(whole.clone()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let utf16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let laid_out = [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
            format!("\u{feff}{text}"),
            format!("\r\n{}", text.replace('\n', "\r\n")),
            format!("\u{feff}{}", &value.to_string()[..40]),
            text.replacen("ring-auth-journal", "first\": 1, \"ring-auth-journal", 1),
        ];
        for text in laid_out.iter().map(String::as_bytes).chain([&utf16[..]]) {
            assert_eq!(judge(text, false), Ok(()), "{}", String::from_utf8_lossy(text));
        }
        let room = [&whole[..], &[0; 99]].concat();
        let tear = [&whole[..100], &[0xff, 0, 3]].concat();
        let marked = [BOM, &tear].concat();
        assert_eq!([room, tear, marked].map(|bytes| judge(&bytes, false)), [Ok(()); 3]);
        assert_eq!(judge(b"", false), Ok(()));
    }

    #[test]
    fn what_only_mentions_the_signature_is_not_ours() {
        for other in [
            "{",
            "{\n",
            "{\n  \"",
            "{\n  \"ring",
            "{}",
            "[\"ring-auth-journal\"]",
            "ring-auth-journal",
            "{\"a\": {\"ring-auth-journal\": \"j.json\"}}",
            "{\"a\": \"ring-auth-journal\"}",
            "# \"ring-auth-journal\": \"j.json\"\n",
            "{\"ring-auth-journal",
            "{\"ring-auth-journal\"",
            "{\"a\": 1,\n  \"ring-auth-journal\": \"j.json\"",
            "{\"ring-auth-journals\": 1}",
            "{\"version\": 7}",
            "notes\n  \"ring-auth-journal\": \"j.json\",\n",
            "\n",
            "   ",
        ] {
            for is_beside_ours in [false, true] {
                assert!(judge(other.as_bytes(), is_beside_ours).is_err(), "{other}");
            }
            assert_eq!(is_copy(other.as_bytes(), OF), other.trim().is_empty(), "{other}");
            assert_eq!(judge_journal(other.as_bytes(), Named::ByUs, OF, || false), Ok(()), "{other}");
        }
    }

    #[test]
    fn zero_and_undecodable_bytes_are_ours_beside_a_copy_of_ours_alone() {
        for bytes in [&[0; 600][..], &[0x80, 1, 2, 3]] {
            assert!(judge(bytes, false).is_err());
            assert_eq!(judge(bytes, true), Ok(()));
        }
        for known in [&b"\x89PNG\r\n\x1a\n\0\0"[..], b"caf\xe9", b"SQLite format 3\0\0"] {
            assert!(judge(known, true).is_err(), "it is recognised as something else");
        }
    }

    #[test]
    fn a_copy_names_its_journal_or_holds_nothing() {
        let whole = journal();
        for nothing in [&b""[..], b"\0\0", b"  \n", format::SIGNATURE.as_bytes()] {
            assert!(is_copy(nothing, OF));
        }
        assert!(is_copy(&whole, OF) && is_copy(&whole, (OF.0, "J.JSON")));
        assert!(!is_copy(&whole, (OF.0, "other.json")));
        assert!(!is_copy(b"{\"ring_token\": \"x\"}", OF) && !is_copy(b"\0\0x", OF));
    }

    #[test]
    fn a_damaged_one_is_known_by_its_content_alone() {
        let ending = damaged_ending(b"torn");
        assert!(ending.starts_with(DAMAGED) && is_damaged_one(b"torn", &ending));
        assert!(is_damaged_one(b"torn", &format!("{ending}-2")) && !is_damaged_one(b"torn", &format!("{ending}.txt")));
        assert!(!is_damaged_one(b"torn ", &ending) && !is_damaged_one(b"torn", ".damaged-1"));
    }

    proptest! {
        #[test]
        fn no_text_without_the_signature_is_ours(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(judge(&bytes, false).is_err());
        }

        #[test]
        fn no_json_without_the_signature_is_ours(text in "\\{\"[a-z-]{0,20}\": ?(\"[a-z]*\"|[0-9]|\\{\\}|\\[\\])(, \"[a-z]\": 1)?\\}?") {
            prop_assert!(judge(text.as_bytes(), true).is_err());
        }
    }
}
