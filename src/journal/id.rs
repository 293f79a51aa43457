//! The id of a journal. It is made with the journal and kept through all rotations. A copy of the journal has the same
//! id.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// The id of a journal: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JournalId(u128);

impl JournalId {
    /// The id of a new journal.
    pub fn random() -> Self {
        Self(random())
    }

    /// Parses an id: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// 128 random bits.
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_be_bytes(bytes),
        // The hash tables of the standard library have a source of their own.
        Err(_) => u128::from(hash()) << 64 | u128::from(hash()),
    }
}

fn hash() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl fmt::Display for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_32_digits_and_read_back() {
        let id = JournalId::random();
        assert_eq!(JournalId::parse(&id.to_string()), Some(id));
        assert_ne!(id, JournalId::random());
        assert_ne!(hash(), hash());
        assert_eq!(JournalId(1).to_string(), format!("{}1", "0".repeat(31)));
        for text in ["", "1", &"g".repeat(32), &"1".repeat(33), &format!("+{}", "1".repeat(31))] {
            assert_eq!(JournalId::parse(text), None, "{text}");
        }
    }
}
