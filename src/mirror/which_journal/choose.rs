//! The rules by which a mirror gets its journal, as pure functions: the family of the token decides, then the record of the
//! mirror in a journal.

use std::path::{Path, PathBuf};

use crate::journal::state::{Kinship, MirrorRecord, State};
use crate::token::Fingerprint;

/// A journal of the folder.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) state: State,
}

/// The information about a mirror.
pub(super) struct Wanted<'a> {
    /// Its record, as it would be written now.
    pub(super) record: &'a MirrorRecord,
    /// Whether the record names its place exactly. If the file cannot be read, a block without a name is known by its platform
    /// alone.
    pub(super) is_exact: bool,
    /// The token that it shows.
    pub(super) shown: Option<Fingerprint>,
    /// The journal that this process has used for it.
    pub(super) last: Option<&'a Path>,
    /// The token that the caller was given.
    pub(super) preferred: Option<Fingerprint>,
}

/// How a journal was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It has the token that the mirror shows.
    Family,
    /// It recorded the mirror, or was used for it before.
    Recorded,
    /// It has the token that the caller was given.
    Preferred,
}

/// The chosen journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) path: PathBuf,
    pub(super) why: Why,
    /// The token that the mirror shows, if another journal has spent it.
    pub(super) spent: Option<Fingerprint>,
}

/// Chooses the journal of a mirror among those of its folder; `None` if it gets a new one.
pub(super) fn choose(wanted: &Wanted<'_>, candidates: &[Candidate]) -> Option<Choice> {
    let candidates = without_older_copies(candidates);
    let choice = |candidate: &Candidate, why, spent| Choice { path: candidate.path.clone(), why, spent };
    match wanted.shown.and_then(|shown| of_family(wanted, shown, &candidates)) {
        // A token that was pasted and never worked does not keep the mirror from the journal that it had before.
        Some(dead) if dead.state.is_dead() && !dead.state.is_proven() => {
            let alive = |other: &&Candidate| other.path != dead.path && other.state.sendable().is_some();
            let others: Vec<_> = candidates.iter().copied().filter(alive).collect();
            return Some(
                recorded(wanted, &others).or_else(|| former(wanted, dead, &others)).map_or_else(
                    || choice(dead, Why::Family, None),
                    |alive| choice(alive, Why::Recorded, wanted.shown),
                ),
            );
        }
        Some(candidate) => {
            // The journal that took the mirror over does not know the token that it still shows.
            let spent = wanted.shown.filter(|shown| candidate.state.kinship(*shown) == Kinship::None);
            return Some(choice(candidate, Why::Family, spent));
        }
        None => {}
    }
    if let Some(candidate) = recorded(wanted, &candidates) {
        return Some(choice(candidate, Why::Recorded, None));
    }
    if let Some(last) = wanted.last {
        return Some(Choice { path: last.to_owned(), why: Why::Recorded, spent: None });
    }
    let preferred = wanted.preferred.filter(|_| wanted.shown.is_none())?;
    of_family(wanted, preferred, &candidates).map(|candidate| choice(candidate, Why::Preferred, None))
}

/// Of journals with one id the one with the most writes. One that says that its token is used elsewhere comes after the others.
fn without_older_copies(candidates: &[Candidate]) -> Vec<&Candidate> {
    let is_older = |one: &Candidate, other: &Candidate| {
        let order =
            |candidate: &Candidate| (candidate.state.is_at_home(), candidate.state.sequence, candidate.path.clone());
        one.state.id.is_some() && one.state.id == other.state.id && order(one) < order(other)
    };
    candidates.iter().filter(|one| !candidates.iter().any(|other| is_older(one, other))).collect()
}

/// The journal that has a token in its family.
fn of_family<'a>(wanted: &Wanted<'_>, token: Fingerprint, candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
    let took_over = |candidate: &&Candidate| {
        let records = candidate.state.mirrors.iter();
        records.filter(|record| is_of(wanted, record) && record.over.contains(&token)).map(|record| record.at).max()
    };
    let by_mirror = candidates.iter().copied().filter(|candidate| took_over(candidate).is_some());
    if let Some(candidate) = by_mirror.max_by_key(took_over) {
        return Some(candidate);
    }
    candidates.iter().copied().filter(|candidate| candidate.state.kinship(token) != Kinship::None).max_by_key(
        |candidate| (candidate.state.kinship(token), recorded_at(wanted, &candidate.state), candidate.state.sequence),
    )
}

/// The journal from which another one took the mirror over, known by what the mirror may have shown then: it need not have
/// been written since the mirror followed it.
fn former<'a>(wanted: &Wanted<'_>, journal: &Candidate, candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
    let over = journal.state.mirrors.iter().filter(|record| is_of(wanted, record)).flat_map(|record| &record.over);
    let over: Vec<_> = over.collect();
    let knows = |candidate: &&Candidate| over.iter().any(|token| candidate.state.kinship(**token) != Kinship::None);
    candidates.iter().copied().filter(knows).max_by_key(|candidate| candidate.state.sequence)
}

/// The journal that recorded the mirror last.
fn recorded<'a>(wanted: &Wanted<'_>, candidates: &[&'a Candidate]) -> Option<&'a Candidate> {
    let recorded = |candidate: &&Candidate| recorded_at(wanted, &candidate.state).is_some();
    if !wanted.is_exact && candidates.iter().copied().filter(recorded).count() > 1 {
        return None;
    }
    candidates
        .iter()
        .copied()
        .filter(recorded)
        .max_by_key(|candidate| (recorded_at(wanted, &candidate.state), candidate.state.sequence))
}

fn recorded_at(wanted: &Wanted<'_>, state: &State) -> Option<u64> {
    state.mirrors.iter().filter(|record| is_of(wanted, record)).map(|record| record.at).max()
}

fn is_of(wanted: &Wanted<'_>, record: &MirrorRecord) -> bool {
    if wanted.is_exact {
        return record.is_same(wanted.record);
    }
    record.is_same_file(wanted.record) && record.place.starts_with(&wanted.record.place)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Secret;
    use crate::journal::id::JournalId;
    use crate::journal::state::{Access, Sent};
    use crate::token::RefreshToken;

    fn record(name: &str, at: u64) -> MirrorRecord {
        MirrorRecord {
            file: "../config.json".into(),
            paths: vec!["given".into(), "real".into()],
            place: vec!["homebridge".into(), "Ring".into(), name.into()],
            at,
            over: Vec::new(),
        }
    }

    fn rotate(state: &mut State, to: &str) {
        let access = Access {
            token: Secret::new("access"),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: 1,
            lifetime: Duration::from_secs(1),
        };
        state.rotated(Sent::Current, to, "h", access);
    }

    /// A journal of a family, and the mirrors that it recorded.
    fn journal(path: &str, tokens: &[&str], mirrors: &[MirrorRecord]) -> Candidate {
        let mut state = State::new("https://oauth.ring.com");
        state.id = Some(JournalId::random());
        state.mirrors = mirrors.to_vec();
        state.sequence = 1;
        if let [first, others @ ..] = tokens {
            state.take_over(RefreshToken::from_raw(first), 1);
            for token in others {
                rotate(&mut state, token);
            }
        }
        Candidate { path: path.into(), state }
    }

    fn chosen(name: &str, shown: Option<&str>, candidates: &[Candidate]) -> Option<String> {
        let record = record(name, 0);
        let shown = shown.map(Fingerprint::of);
        let wanted = Wanted { record: &record, is_exact: true, shown, last: None, preferred: None };
        choose(&wanted, candidates).map(|choice| choice.path.display().to_string())
    }

    #[test]
    fn the_family_decides_and_then_who_recorded_the_mirror_last() {
        let mut all = vec![
            journal("one", &["a", "b"], &[record("A", 1), record("B", 5)]),
            journal("two", &["x", "y"], &[record("A", 2)]),
        ];
        for (name, shown, expected) in [
            ("A", Some("b"), Some("one")),
            ("A", Some("a"), Some("one")),
            ("B", Some("x"), Some("two")),
            ("A", Some("pasted"), Some("two")),
            ("A", None, Some("two")),
            ("B", None, Some("one")),
            ("C", None, None),
            ("C", Some("y"), Some("two")),
        ] {
            assert_eq!(chosen(name, shown, &all).as_deref(), expected, "{name} {shown:?}");
            all.reverse();
            assert_eq!(chosen(name, shown, &all).as_deref(), expected, "{name} {shown:?}, in another order");
        }
    }

    #[test]
    fn of_several_the_one_whose_current_family_has_the_token() {
        let mut former = journal("former", &["a", "b"], &[record("A", 9)]);
        former.state.take_over(RefreshToken::from_raw("x"), 1);
        let all = [former, journal("current", &["a", "b", "c"], &[])];
        assert_eq!(chosen("A", Some("a"), &all).as_deref(), Some("current"));
        assert_eq!(chosen("A", Some("x"), &all).as_deref(), Some("former"));
    }

    #[test]
    fn of_one_id_the_one_with_more_writes_whatever_it_recorded() {
        let older = journal("older", &["a", "b"], &[record("A", 9)]);
        let mut newer = journal("newer", &["a", "b", "c"], &[]);
        newer.state.id = older.state.id;
        newer.state.sequence = 7;
        let mut all = [older, newer];
        for shown in ["a", "b", "c"] {
            assert_eq!(chosen("A", Some(shown), &all).as_deref(), Some("newer"));
        }
        // Unless its token is used elsewhere.
        all[1].state.moved = Some("/elsewhere".into());
        assert_eq!(chosen("A", Some("b"), &all).as_deref(), Some("older"));
    }

    #[test]
    fn a_pasted_token_that_never_worked_gives_the_mirror_back_to_its_former_journal() {
        let mut dead = journal("dead", &["pasted"], &[record("A", 9)]);
        dead.state.reject(Sent::Current, 2, false);
        let all = [dead, journal("alive", &["a"], &[record("A", 1), record("B", 1)])];
        let record_of_another = record("B", 1);
        let (record, shown) = (record("A", 0), Some(Fingerprint::of("pasted")));
        let wanted = Wanted { record: &record, is_exact: true, shown, last: None, preferred: None };
        // The dead one recorded the mirror last.
        let choice = choose(&wanted, &all[1..]);
        assert_eq!(choice.map(|choice| (choice.why, choice.spent)), Some((Why::Recorded, None)));
        let choice = choose(&wanted, &all).unwrap();
        assert_eq!((choice.path.to_str().unwrap(), choice.spent), ("alive", shown));
        assert_eq!(chosen("A", Some("pasted"), &all[..1]).as_deref(), Some("dead"));
        // The former journal was not written as long as the mirror followed it: what the mirror showed then leads back.
        let [dead, _] = all;
        let mut all = [dead, journal("alive", &["a"], &[record_of_another])];
        assert_eq!(chosen("A", Some("pasted"), &all).as_deref(), Some("dead"));
        all[0].state.mirrors[0].over = vec![Fingerprint::of("a")];
        assert_eq!(chosen("A", Some("pasted"), &all).as_deref(), Some("alive"));
    }

    #[test]
    fn a_journal_that_took_a_mirror_over_keeps_it_as_long_as_it_shows_the_same_token() {
        let taken = MirrorRecord { over: vec![Fingerprint::of("b")], ..record("A", 2) };
        let all = [journal("shared", &["a", "b"], &[record("A", 1), record("B", 1)]), journal("own", &["x"], &[taken])];
        assert_eq!(chosen("A", Some("b"), &all).as_deref(), Some("own"));
        assert_eq!(chosen("A", Some("a"), &all).as_deref(), Some("shared"));
        assert_eq!(chosen("B", Some("b"), &all).as_deref(), Some("shared"));
        assert_eq!(chosen("A", None, &all).as_deref(), Some("own"));
        let (record, shown) = (record("A", 0), Some(Fingerprint::of("b")));
        let wanted = Wanted { record: &record, is_exact: true, shown, last: None, preferred: None };
        assert_eq!(choose(&wanted, &all).unwrap().spent, shown, "that token is not pasted, it is to be replaced");
    }

    #[test]
    fn a_block_without_a_name_is_found_by_its_platform_if_only_one_journal_has_it() {
        let all = [journal("one", &["a"], &[record("A", 1)]), journal("two", &["x"], &[record("B", 2)])];
        let record = MirrorRecord { place: vec!["homebridge".into(), "Ring".into()], ..record("", 0) };
        let wanted = Wanted { record: &record, is_exact: false, shown: None, last: None, preferred: None };
        assert_eq!(choose(&wanted, &all), None, "which of them cannot be told");
        assert_eq!(choose(&wanted, &all[1..]).unwrap().path.to_str(), Some("two"));
    }

    #[test]
    fn the_token_that_was_brought_along_counts_only_if_nothing_else_does() {
        let all = [journal("one", &["a", "b"], &[record("A", 1)]), journal("two", &["x"], &[])];
        let with = |name: &str, shown: Option<&str>, last: Option<&str>| {
            let record = record(name, 0);
            let wanted = Wanted {
                record: &record,
                is_exact: true,
                shown: shown.map(Fingerprint::of),
                last: last.map(Path::new),
                preferred: Some(Fingerprint::of("x")),
            };
            choose(&wanted, &all).map(|choice| choice.path.display().to_string())
        };
        assert_eq!(with("A", None, None).as_deref(), Some("one"));
        assert_eq!(with("C", None, None).as_deref(), Some("two"));
        assert_eq!(with("C", None, Some("used before")).as_deref(), Some("used before"));
        assert_eq!(with("C", Some("new"), None), None);
    }
}
