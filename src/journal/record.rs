//! The record of a shared store: the text of a journal, without the parts that belong to one host.

use super::codec::{Codec, Shut, Step};
use super::format::{self, Unreadable};
use super::state::{Mark, State};
use crate::{Error, ErrorCode, Result, Secret};

/// The name in the text of a record. A journal has the name of its file there.
const NAME: &str = "shared";
/// The largest number of fingerprints of earlier tokens in a record: at one rotation in four hours, those of nearly a year.
pub const MAX_KNOWN: usize = 2_000;

/// Returns the state without the parts that belong to one host: the identity and place of its spool, and the mirrors that follow it.
#[must_use]
pub fn of_all_hosts(state: &State) -> State {
    let mut record = State {
        id: None,
        place: None,
        moved: None,
        machines: Vec::new(),
        mirrors: Vec::new(),
        spool_place: None,
        clock_offset: 0,
        spent_elsewhere: Vec::new(),
        volatile: false,
        ..state.clone()
    };
    let excess = record.known.len().saturating_sub(MAX_KNOWN);
    record.known.drain(..excess);
    if let Some(cool_down) = &mut record.cool_down {
        cool_down.seen_at = None;
    }
    record
}

/// Returns the record as a host keeps it: with the parts of the spool that belong to this host.
#[must_use]
pub fn on_host(mut record: State, spool: &State, now: u64) -> State {
    record.id = spool.id;
    record.place.clone_from(&spool.place);
    record.machines.clone_from(&spool.machines);
    record.mirrors.clone_from(&spool.mirrors);
    // The place says where the spool was when its mark was written. Without a mark of a process of this host, it has no meaning.
    let holder = |state: &State| state.mark.as_ref().and_then(Mark::holder);
    record.spool_place = spool.spool_place.clone().filter(|_| holder(&record) == holder(spool));
    record.clock_offset = spool.clock_offset;
    if record.family.is_none() && record.logged_out_at.is_some() {
        // A file of this host may still show a token of the account, which was logged out on another host.
        for fingerprint in spool.known.iter().copied().chain(spool.unspent()) {
            record.remember(fingerprint);
        }
    }
    // Of several copies of the spool the one with the highest number is the newest.
    record.sequence = record.sequence.max(spool.sequence);
    if let Some(cool_down) = &mut record.cool_down {
        let same = |known: &&super::state::CoolDown| {
            (known.started_at, known.length) == (cool_down.started_at, cool_down.length)
        };
        cool_down.seen_at = match spool.cool_down.as_ref().filter(same) {
            Some(known) => known.seen_at,
            None => Some(now),
        };
    }
    record
}

/// Returns the text of a record.
///
/// # Errors
///
/// The error of the source of the key, as for a journal.
pub fn encode(state: &State, codec: &Codec) -> Result<Secret> {
    let bytes = codec.form(None, Step::Kept)?.encode(&of_all_hosts(state), NAME)?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| unreadable("this store"))
}

/// Returns the state in the text of a record.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if the tokens are of another issuer. `STORE` if the text cannot be read. In both cases the caller must not
/// overwrite the value.
pub fn decode(text: &Secret, codec: &Codec, name: &str) -> Result<State> {
    let newer = |version| {
        Error::new(
            ErrorCode::Store,
            format!(
                "The record in {name} was written by a later version of ring-auth (format {version}). Update ring-auth on this host. Nothing was changed, and nothing was sent."
            ),
        )
    };
    codec.retry();
    let opened = codec.open(text.expose().as_bytes()).map_err(|shut| match shut {
        Shut::Newer(version) => newer(version),
        Shut::OtherIssuer(issuer) => other_issuer(name, &issuer, codec),
        Shut::Locked(locked) => locked.error(&format!("record in {name}")),
    })?;
    let state = format::decode(&opened.text).map_err(|error| match error {
        Unreadable::Newer(version) => newer(version),
        Unreadable::Damaged => unreadable(name),
    })?;
    if state.issuer == codec.issuer() { Ok(state) } else { Err(other_issuer(name, &state.issuer, codec)) }
}

fn unreadable(name: &str) -> Error {
    Error::new(
        ErrorCode::Store,
        format!(
            "The value in {name} is not a record of ring-auth, or is damaged. Give ring-auth a key or row of its own. Nothing was changed, and nothing was sent."
        ),
    )
}

fn other_issuer(name: &str, issuer: &str, codec: &Codec) -> Error {
    Error::invalid(format!(
        "The record in {name} holds a token for {issuer}, and this manager uses {}. Give each its own account name.",
        codec.issuer()
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::state::{Lease, Mark};
    use crate::token::{Fingerprint, RefreshToken};

    const ISSUER: &str = "https://oauth.ring.com";

    #[test]
    fn a_record_has_nothing_of_a_host_and_at_most_two_thousand_fingerprints() {
        let mut state = State::new(ISSUER);
        for number in 0..MAX_KNOWN + 5 {
            state.take_over(RefreshToken::from_raw(&format!("t{number}")), 1);
        }
        state.place = Some("/here".into());
        state.spool_place = Some("there".into());
        state.write = Some(7);
        let codec = Codec::from(ISSUER);
        let read = decode(&encode(&state, &codec).unwrap(), &codec, "test").unwrap();
        assert_eq!((read.place.clone(), read.spool_place.clone(), read.known.len()), (None, None, MAX_KNOWN));
        assert_eq!((read.write, read.given.len()), (Some(7), MAX_KNOWN + 5));
        let kept = on_host(read, &state, 5);
        assert_eq!((kept.place, kept.spool_place), (state.place, state.spool_place));
    }

    #[test]
    fn the_mark_of_another_host_has_no_place_on_this_one() {
        let marked = |holder, place: Option<&str>| State {
            mark: Some(Mark {
                fingerprint: Fingerprint::of("t"),
                started_at: 1,
                deadline: 2,
                starts: 0,
                lease: Some(Lease { holder, length: Duration::from_secs(25) }),
            }),
            spool_place: place.map(str::to_owned),
            ..State::new(ISSUER)
        };
        let spool = marked(7, Some("here"));
        assert_eq!(on_host(marked(7, None), &spool, 5).spool_place.as_deref(), Some("here"));
        let kept = on_host(marked(8, None), &spool, 5);
        assert_eq!(kept.spool_place, None);
        // It does not come back with the older mark.
        assert_eq!(on_host(marked(7, None), &kept, 5).spool_place, None);
    }

    #[test]
    fn what_is_not_a_record_of_this_issuer_is_refused() {
        let codec = Codec::from(ISSUER);
        let other = Codec::from("https://other.example");
        let text = encode(&State::new("https://other.example"), &other).unwrap();
        assert_eq!(decode(&text, &codec, "test").unwrap_err().code(), ErrorCode::InvalidArgument);
        for text in ["", "{}", "nonsense"] {
            assert_eq!(decode(&Secret::new(text), &codec, "test").unwrap_err().code(), ErrorCode::Store, "{text}");
        }
    }
}
