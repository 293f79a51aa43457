//! The decisions of the protocol. Each is a function of the states that were read: this module uses no clock, disk or network.

use std::time::Duration;

use crate::journal::merge::{Granted, LoggedIn, Outcome, merge, take_siblings};
use crate::journal::state::{Known, Mark, Millis, State};
use crate::token::Fingerprint;

/// The first wait between two looks at the mark of another host. Each further wait is longer.
pub const FIRST_LOOK: Duration = Duration::from_millis(250);
/// The longest wait between two looks at the mark of another host.
pub const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The difference, in milliseconds, below which the order of two times is not known.
const SAME_MOMENT: Millis = 2_000;

/// The state with which a host continues.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The record, with everything that only the spool has.
    pub state: State,
    /// Whether `state` has something that the record does not have yet.
    pub is_ahead: bool,
}

/// Steps 3 and 4: merges what the spool of this host knows into the record. A newer answer of this host is merged at its place in the
/// token family. A record that lost writes gets the newer family back. A logout stays.
#[must_use]
pub fn join(record: Option<State>, spool: &State) -> Joined {
    let Some(record) = record else {
        // The store forgot the record, or a user deleted it, which is no logout.
        let is_ahead = spool.family.is_some() || spool.logged_out_at.is_some();
        return Joined { state: spool.clone(), is_ahead };
    };
    let as_it_is = |mut state: State| {
        // A process of this host was about to send this token, and the record does not say so any more.
        let is_marked = |mark: &Mark| Some(mark.fingerprint) == state.fingerprint() && mark.is_of_a_request();
        if state.mark.is_none() && spool.mark.as_ref().is_some_and(is_marked) {
            state.doubted = state.fingerprint();
        }
        let is_ahead = take_siblings(&mut state, spool);
        Joined { state, is_ahead }
    };
    let Some(held) = spool.current() else {
        // The record forgot a logout. A token with nearly the same time may be newer than the logout: Ring's times are whole seconds.
        let is_before = |at: Millis| spool.logged_out_at.is_some_and(|out| at.saturating_add(SAME_MOMENT) < out);
        let is_ahead = spool.logged_out_at > record.logged_out_at
            && record.current().is_none_or(|current| is_before(current.obtained_at));
        return if is_ahead { Joined { state: spool.clone(), is_ahead } } else { as_it_is(record) };
    };
    // An answer is as old as the token that was sent: the logout came during that request.
    let began = spool.previous().unwrap_or(held).obtained_at;
    if record.family.is_none() && record.logged_out_at.is_some_and(|at| began <= at) {
        return as_it_is(record);
    }
    let newest = held.token.fingerprint();
    let is_newer_access = match (&spool.access, &record.access) {
        (Some(ours), Some(theirs)) => ours.obtained_at > theirs.obtained_at,
        (Some(_), None) => true,
        (None, _) => false,
    };
    match record.recognise(newest) {
        Known::Unknown => {}
        // Ring gave the same token again, and the record does not have that answer.
        Known::Current if is_newer_access && spool.doubted.is_none() => {}
        _ => return as_it_is(record),
    }
    if record.lacks_its_token() {
        let mut state = spool.clone();
        state.merge(record);
        return Joined { state, is_ahead: true };
    }
    let is_behind = record.fingerprint() != Some(newest)
        && record.fingerprint().is_some_and(|current| spool.known.contains(&current));
    if is_behind {
        let mut state = spool.clone();
        // A mark of the record is of a token before this one. That request may be under way, unless it is of the process that has marked
        // the spool: the token rests until it has ended.
        let spooled = state.mark.as_ref();
        if let Some(theirs) = record.mark.as_ref().filter(|mark| spooled.and_then(Mark::holder) != mark.holder()) {
            if spooled.is_some_and(Mark::is_of_a_request) {
                state.doubted = Some(newest);
            }
            state.mark = Some(theirs.clone().resting(newest));
        }
        state.merge(State { mark: None, ..record });
        return Joined { state, is_ahead: true };
    }
    match answer(spool) {
        Some(outcome) => {
            let mut state = merge(record.clone(), &outcome);
            take_siblings(&mut state, spool);
            Joined { is_ahead: state != record, state }
        }
        None => as_it_is(record),
    }
}

/// The outcome that brought the current token of a spool: an answer, a login, or a token that was given.
fn answer(spool: &State) -> Option<Outcome> {
    let current = spool.current()?;
    let token = current.token.clone();
    let hardware_id = spool.hardware_id.clone().unwrap_or_default();
    let repeated = spool.previous().is_none() && current.succeeded;
    let sent = spool.previous().map(|held| held.token.fingerprint());
    let sent = sent.or_else(|| spool.siblings.last().map(|sibling| sibling.source));
    let sent = sent.or_else(|| repeated.then(|| token.fingerprint()));
    Some(match (sent, &spool.access) {
        (Some(sent), Some(access)) => {
            // The process that sent it may have ended: no mark of the record counts as its own.
            let (access, holder) = (access.clone(), None);
            Outcome::Granted(Box::new(Granted { sent, token, hardware_id, access, is_dated: true, holder }))
        }
        // Without its access token, the answer that brought the current token is not known.
        (Some(_), None) => return None,
        (None, Some(access)) => Outcome::LoggedIn(Box::new(LoggedIn { token, hardware_id, access: access.clone() })),
        (None, None) => Outcome::Given { token, at: current.obtained_at },
    })
}

/// Whether this host may continue, or must wait because of the mark in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This host may continue: there is no mark, its holder is this manager or a process of this host that has ended, or its lease is over.
    Free,
    /// This host must wait, for this time at most.
    Wait(Duration),
}

/// Step 5: decides whether this host must wait for the mark of another host. The lease counts from this host's first look at the mark
/// (`watched` ago), because the clocks of hosts differ.
///
/// `dead` is the holder whose mark is in this host's own spool, if that spool is where it was when the mark was written and the locks of
/// its file system are local. This process holds the lock of the spool, so the process with that mark has ended.
#[must_use]
pub fn turn(mark: Option<&Mark>, ours: u128, dead: Option<u128>, watched: Duration, own_lease: Duration) -> Turn {
    let Some(lease) = mark.and_then(|mark| mark.lease) else { return Turn::Free };
    if lease.holder == ours || dead == Some(lease.holder) {
        return Turn::Free;
    }
    match lease.length.max(own_lease).saturating_sub(watched) {
        Duration::ZERO => Turn::Free,
        left => Turn::Wait(left),
    }
}

/// Step 7: whether a request may still be sent, `since` the start of the commit that wrote its mark. The request must end before another
/// host may send.
#[must_use]
pub fn may_send(since: Duration, request_timeout: Duration, lease: Duration) -> bool {
    since + request_timeout <= lease
}

/// The holder of the mark in a spool that is still where it was when the mark was written.
#[must_use]
pub fn dead_holder(spool: &State, place: Option<&str>) -> Option<u128> {
    let is_here = place.is_some() && spool.spool_place.as_deref() == place;
    let mark = spool.mark.as_ref().filter(|mark| is_here && mark.is_of_a_request());
    mark.and_then(Mark::holder)
}

/// Whether a rejection of a token is in doubt: Ring may have accepted the token in a request whose answer is not known.
#[must_use]
pub fn is_in_doubt(state: &State, sent: Fingerprint, found: Option<&Mark>) -> bool {
    state.doubted == Some(sent) || found.is_some_and(|mark| mark.fingerprint == sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::journal::state::{Access, Lease, Sent};
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";
    const SECOND: Duration = Duration::from_secs(1);

    fn access(at: u64) -> Access {
        Access {
            token: Secret::new(format!("access-{at}")),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: at,
            lifetime: SECOND * 3600,
        }
    }

    fn with(raw: &str) -> State {
        let mut state = State::new(ISSUER);
        state.take_over(RefreshToken::from_raw(raw), 1);
        state
    }

    fn rotated(from: &State, raw: &str, at: u64) -> State {
        let mut state = from.clone();
        state.rotated(Sent::Current, raw, "h", access(at));
        state.sequence += 1;
        state
    }

    fn raw(state: &State) -> String {
        state.current().map_or_else(String::new, |held| held.token.raw())
    }

    #[test]
    fn an_answer_that_only_the_spool_has_is_merged() {
        let a = with("a");
        let joined = join(Some(a.clone()), &rotated(&a, "b", 2));
        assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), ("b", true));
        // Another host sent the same token meanwhile: the later answer is used, and the other one is kept.
        for (ours, theirs, used, kept) in [(2, 3, "c", "b"), (3, 2, "b", "c"), (2, 2, "b", "c")] {
            let joined = join(Some(rotated(&a, "c", theirs)), &rotated(&a, "b", ours));
            assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), (used, true));
            assert_eq!(joined.state.siblings[0].held.token.raw(), kept);
        }
        // That host went on: the answer is an old copy.
        let theirs = rotated(&rotated(&a, "c", 3), "d", 4);
        let joined = join(Some(theirs), &rotated(&a, "b", 2));
        assert_eq!((raw(&joined.state).as_str(), joined.state.siblings.len()), ("d", 0));
        assert_ne!(joined.state.recognise(Fingerprint::of("b")), Known::Unknown);
        assert!(joined.state.is_proven(), "it does not come back by itself");
    }

    #[test]
    fn an_answer_that_the_spool_has_beside_its_newest_is_not_forgotten() {
        let a = with("a");
        let record = rotated(&a, "c", 3);
        // The spool was written, and the record was not.
        let spool = join(Some(record.clone()), &rotated(&a, "b", 2)).state;
        let joined = join(Some(record.clone()), &spool);
        assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), ("c", true));
        assert_eq!(joined.state.siblings[0].held.token.raw(), "b");
        assert_eq!(join(Some(joined.state.clone()), &spool), Joined { is_ahead: false, ..joined });
        // Another host has rotated since: the answer is an old copy.
        let joined = join(Some(rotated(&record, "d", 4)), &spool);
        assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), ("d", true));
        assert_eq!((joined.state.siblings.len(), joined.state.recognise(Fingerprint::of("b"))), (0, Known::Former));
    }

    #[test]
    fn a_record_that_is_newer_is_used_as_it_is() {
        let a = with("a");
        let c = rotated(&rotated(&a, "b", 2), "c", 3);
        for spool in [State::new(ISSUER), a.clone(), rotated(&a, "b", 2), c.clone()] {
            assert_eq!(join(Some(c.clone()), &spool), Joined { state: c.clone(), is_ahead: false });
        }
    }

    #[test]
    fn a_record_that_lost_writes_gets_the_newer_family_back() {
        let a = with("a");
        let b = rotated(&a, "b", 2);
        let c = rotated(&b, "c", 3);
        for record in [None, Some(State::new(ISSUER)), Some(a), Some(b)] {
            let joined = join(record, &c);
            assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), ("c", true));
        }
    }

    #[test]
    fn the_token_that_is_put_back_rests_while_a_request_with_an_older_one_may_be_under_way() {
        let b = rotated(&with("a"), "b", 2);
        let c = rotated(&b, "c", 3);
        let lease = |holder| Some(Lease { holder, length: SECOND * 40 });
        let mut record = b;
        record.mark =
            Some(Mark { fingerprint: Fingerprint::of("b"), started_at: 4, deadline: 9, starts: 1, lease: lease(7) });
        let mark = join(Some(record.clone()), &c).state.mark.unwrap();
        assert!(!mark.is_of_a_request());
        assert_eq!((mark.fingerprint, mark.lease), (Fingerprint::of("c"), lease(Lease::NOBODY)));
        assert_eq!(turn(Some(&mark), 1, None, Duration::ZERO, SECOND * 25), Turn::Wait(SECOND * 40));
        // A process of this host has marked the newest token in the spool. Perhaps it has sent it, but that request has ended.
        let mut spool = c;
        spool.mark =
            Some(Mark { fingerprint: Fingerprint::of("c"), started_at: 4, deadline: 9, starts: 0, lease: lease(1) });
        let joined = join(Some(record.clone()), &spool).state;
        assert_eq!((joined.mark, joined.doubted), (Some(mark.clone()), Some(Fingerprint::of("c"))));
        // The mark in the record is of the same process.
        record.mark = Some(Mark { lease: lease(1), ..record.mark.unwrap() });
        assert_eq!(join(Some(record.clone()), &spool).state.mark, spool.mark);
        // The token of the record rests already.
        spool.mark = None;
        record.mark = Some(mark.clone().resting(Fingerprint::of("b")));
        assert_eq!(join(Some(record), &spool).state.mark, Some(mark));
    }

    #[test]
    fn a_late_answer_revives_an_account_whose_token_was_rejected() {
        let a = with("a");
        let mut record = a.clone();
        record.reject(Sent::Current, 9, true);
        assert!(record.is_dead());
        let joined = join(Some(record), &rotated(&a, "b", 2));
        assert_eq!((raw(&joined.state).as_str(), joined.state.sendable()), ("b", Some(Sent::Current)));
    }

    #[test]
    fn a_logout_is_never_overruled_by_an_older_spool() {
        let b = rotated(&with("a"), "b", 5);
        let out = |at| State::logged_out(ISSUER, at);
        assert_eq!(join(Some(out(5)), &b), Joined { state: out(5), is_ahead: false });
        // The answer to a request that was under way.
        assert_eq!(join(Some(out(4)), &b), Joined { state: out(4), is_ahead: false });
        // A login that came after it.
        let mut login = State::new(ISSUER);
        login.take_over(RefreshToken::from_raw("b"), 5);
        for login in [login.clone(), rotated(&login, "c", 6)] {
            let joined = join(Some(out(4)), &login);
            assert_eq!((raw(&joined.state), joined.is_ahead), (raw(&login), true));
        }
        // The record forgot the logout.
        assert_eq!(join(Some(b.clone()), &out(2_006)), Joined { state: out(2_006), is_ahead: true });
        for in_the_same_moment in [4, 6, 2_005] {
            assert_eq!(join(Some(b.clone()), &out(in_the_same_moment)), Joined { state: b.clone(), is_ahead: false });
        }
    }

    #[test]
    fn a_token_that_was_given_while_the_store_was_down_displaces_that_of_the_record() {
        let a = with("a");
        let mut spool = a.clone();
        spool.take_over(RefreshToken::from_raw("x"), 5);
        let joined = join(Some(rotated(&a, "b", 2)), &spool);
        assert_eq!((raw(&joined.state).as_str(), joined.is_ahead), ("x", true));
        assert_eq!(joined.state.fallback.unwrap().current.token.raw(), "b");
    }

    #[test]
    fn the_time_of_a_mark_is_counted_from_the_first_look_at_it() {
        let mark = |holder, length| Mark {
            fingerprint: Fingerprint::of("a"),
            started_at: 0,
            deadline: 0,
            starts: 0,
            lease: Some(Lease { holder, length }),
        };
        let own = SECOND * 25;
        assert_eq!(turn(None, 1, None, Duration::ZERO, own), Turn::Free);
        assert_eq!(turn(Some(&mark(1, own)), 1, None, Duration::ZERO, own), Turn::Free, "this manager's");
        assert_eq!(turn(Some(&mark(2, own)), 1, Some(2), Duration::ZERO, own), Turn::Free, "a dead process's");
        assert_eq!(turn(Some(&mark(2, own)), 1, None, SECOND * 10, own), Turn::Wait(SECOND * 15));
        assert_eq!(turn(Some(&mark(2, own)), 1, None, own, own), Turn::Free);
        // The longer of both leases counts.
        assert_eq!(turn(Some(&mark(2, SECOND * 40)), 1, None, own, own), Turn::Wait(SECOND * 15));
        assert_eq!(turn(Some(&mark(2, SECOND)), 1, None, SECOND, own), Turn::Wait(SECOND * 24));
    }

    #[test]
    fn a_request_is_sent_only_if_it_ends_within_its_lease() {
        let (timeout, lease) = (SECOND * 20, SECOND * 25);
        assert!(may_send(SECOND * 5, timeout, lease));
        assert!(!may_send(SECOND * 5 + Duration::from_millis(1), timeout, lease));
    }

    #[test]
    fn the_process_of_a_copied_spool_is_not_known_to_be_dead() {
        let mut spool = with("a");
        let lease = Some(Lease { holder: 7, length: SECOND });
        spool.mark = Some(Mark { fingerprint: Fingerprint::of("a"), started_at: 0, deadline: 0, starts: 0, lease });
        spool.spool_place = Some("here".into());
        assert_eq!(dead_holder(&spool, Some("here")), Some(7));
        assert_eq!(dead_holder(&spool, Some("there")), None);
        assert_eq!(dead_holder(&spool, None), None);
        spool.spool_place = None;
        assert_eq!(dead_holder(&spool, None), None);
    }
}
