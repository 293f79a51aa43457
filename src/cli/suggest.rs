//! Suggestions for a misspelt word.

/// The known word that is nearest to the given one, with at most one typing error in a word of up to five letters and two in a longer
/// one. A typing error is a missing, added or replaced letter, or two swapped ones. `lib/checks.js` has the same rule.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    if given.len() > LONGEST {
        return None;
    }
    let scored = known.into_iter().map(|word| (distance(&given, word), word));
    scored
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= (word.len() / 3).min(2))
        .map(|(_, word)| word)
}

/// A length that no known word has.
const LONGEST: usize = 40;

/// The number of typing errors between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let mut least = (row[j - 1] + usize::from(a[i - 1] != b[j - 1])).min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_if_it_is_near() {
        let known = ["login", "token", "refresh", "status", "doctor", "logout", "help"];
        for (given, expected) in [
            ("statsu", Some("status")),
            ("Status", Some("status")),
            ("stats", Some("status")),
            ("tokne", Some("token")),
            ("refersh", Some("refresh")),
            ("log-in", Some("login")),
            ("logut", Some("logout")),
            ("hlep", Some("help")),
            ("docter", Some("doctor")),
            ("t", None),
            ("", None),
            ("123456", None),
            ("start", None),
            ("eyJydCI6ImV5SmhiR2NpT2lK", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }

    #[test]
    fn a_swapped_pair_of_letters_is_one_error() {
        for (a, b, errors) in
            [("ab", "ba", 1), ("abc", "abc", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ca", "abc", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (errors, errors), "{a} {b}");
        }
    }
}
