//! Applying an outcome to a state.
//!
//! [`merge`] is pure and names tokens by their fingerprints, never by their place in the state. So an outcome can be applied to the
//! state that was locked, and again to a state that was read later, even if another process has changed it meanwhile.

use serde_json::Value;

use super::state::{Access, CoolDown, Family, Known, MAX_SIBLINGS, Mark, Millis, Sent, Sibling, State, StoredToken};
use crate::token::{Fingerprint, RefreshToken};

/// The outcome of a request, a login or an edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Ring accepted a token and answered with the next one.
    Granted(Box<Granted>),
    /// Ring rejected a token with `invalid_grant`.
    Rejected {
        /// The token that was sent.
        sent: Fingerprint,
        /// The time of the rejection.
        at: Millis,
        /// Whether Ring may have accepted the token before, in a request whose answer is not known: one of another process or host, or
        /// one that failed. Then the previous token is two rotations behind, and is not sent.
        in_doubt: bool,
    },
    /// The requests with a token failed, and the manager has to wait before the next one.
    BackedOff {
        /// The token that was sent.
        sent: Fingerprint,
        /// The wait.
        cool_down: CoolDown,
        /// Whether Ring may have accepted the token in one of these requests.
        in_doubt: bool,
    },
    /// The refresh with a token is over, and its answer changes nothing else.
    Ended {
        /// The token that was to be sent.
        sent: Fingerprint,
    },
    /// A caller forces a token that Ring rejected to be sent once more.
    Forced {
        /// The token that is to be sent.
        sent: Fingerprint,
        /// The time at which the caller forced it.
        at: Millis,
    },
    /// A login succeeded.
    LoggedIn(Box<LoggedIn>),
    /// The user gave a token.
    Given {
        /// The token.
        token: RefreshToken,
        /// The time at which the user gave it.
        at: Millis,
    },
    /// The current token gets other push credentials, or none.
    PushCredentials(Option<Value>),
}

/// The answer to a refresh.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The token that was sent.
    pub sent: Fingerprint,
    /// The next token, in the wrapper of the one that was sent.
    pub token: RefreshToken,
    /// The hardware id of the request.
    pub hardware_id: String,
    /// The access token that came with it.
    pub access: Access,
    /// Whether the time of the access token is that of the answer. Of two answers to one token, one without a time is the later one.
    pub is_dated: bool,
    /// With a shared store: the holder of the marks of the manager that has the answer. A mark of another holder stands for a request that
    /// may still be under way.
    pub holder: Option<u128>,
}

/// The answer to a login.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedIn {
    /// The token.
    pub token: RefreshToken,
    /// The hardware id of the login.
    pub hardware_id: String,
    /// The access token that came with it.
    pub access: Access,
}

/// Applies an outcome to a state.
///
/// An outcome that is applied twice changes nothing the second time. A token that was spent never becomes the current
/// one again. A token that Ring gave with an outcome is afterwards the current one, a sibling of it, or the newest of the fallback,
/// unless the state knows that it was spent already, that the account was logged out after it came, or two newer
/// families that work.
#[must_use]
pub fn merge(mut state: State, outcome: &Outcome) -> State {
    match outcome {
        Outcome::Granted(granted) => grant(&mut state, granted),
        Outcome::Rejected { sent, at, in_doubt } => reject(&mut state, *sent, *at, *in_doubt),
        Outcome::BackedOff { sent, cool_down, in_doubt } => {
            // In a record the mark stays beside the cool-down: it tells the other hosts that the token may be spent.
            let stays = |mark: &Mark| mark.fingerprint == *sent && mark.lease.is_some() && *in_doubt;
            if !state.mark.as_ref().is_some_and(stays) {
                clear_mark(&mut state, *sent);
            }
            if is_at_stake(&state, *sent) {
                state.cool_down = Some(cool_down.clone());
                if *in_doubt {
                    state.doubted = Some(*sent);
                }
            }
        }
        Outcome::Ended { sent } => clear_mark(&mut state, *sent),
        Outcome::Forced { sent, at } => {
            if is_at_stake(&state, *sent) {
                state.forced_at = Some(*at);
            }
        }
        Outcome::LoggedIn(login) => log_in(&mut state, login),
        Outcome::Given { token, at } => give(&mut state, token, *at),
        Outcome::PushCredentials(credentials) => {
            if let Some(stored) = state.current() {
                let token = stored.token.with_push_credentials(credentials.clone());
                if token != stored.token {
                    state.wrap(token);
                }
            }
        }
    }
    state
}

/// Takes over the siblings that only the spool has, because the record did not take the write with them. Returns whether there were any.
pub fn take_siblings(state: &mut State, spool: &State) -> bool {
    let Some(current) = state.fingerprint() else { return false };
    let mut has_taken = false;
    for sibling in &spool.siblings {
        let fingerprint = sibling.held.token.fingerprint();
        if !is_unknown(state, fingerprint) {
            continue;
        }
        // If another host has rotated the token since, the sibling is spent, and only its fingerprint is kept.
        if spool.fingerprint() == Some(current) && state.siblings.len() < MAX_SIBLINGS {
            state.siblings.push(sibling.clone());
        }
        state.remember(fingerprint);
        has_taken = true;
    }
    has_taken
}

fn is(stored: Option<&StoredToken>, fingerprint: Fingerprint) -> bool {
    stored.is_some_and(|stored| stored.token.fingerprint() == fingerprint)
}

fn is_alive(state: &State, stored: Option<&StoredToken>) -> bool {
    stored.is_some_and(|stored| !state.is_rejected(stored.token.fingerprint()))
}

/// Whether a refresh with that token concerns the family in use: it is the current token, or the previous one after the
/// current one was rejected.
fn is_at_stake(state: &State, sent: Fingerprint) -> bool {
    is(state.current(), sent) || (is(state.previous(), sent) && !is_alive(state, state.current()))
}

/// Removes the mark of the refresh with that token, and the mark of a token that will not be sent any more.
fn clear_mark(state: &mut State, sent: Fingerprint) {
    if let Some(mark) = &state.mark
        && (mark.fingerprint == sent || !is_at_stake(state, mark.fingerprint))
    {
        state.mark = None;
    }
}

fn grant(state: &mut State, granted: &Granted) {
    // If the token rests, it rests because of a request. The answer of that request need not be this one.
    let is_of_another = |mark: &Mark| mark.lease.is_some() && mark.holder() != granted.holder;
    let under_way = state.mark.clone().filter(is_of_another);
    place(state, granted);
    // A request of another host may be under way, with the token that was sent or with one that this answer displaced: the current one
    // rests until that request has ended.
    if state.mark.is_none()
        && let (Some(mark), Some(current)) = (under_way, state.fingerprint())
    {
        state.mark = Some(mark.resting(current));
    }
}

/// Applies an answer at the place of the token that was sent: the current token, a sibling, the fallback or none of these.
fn place(state: &mut State, granted: &Granted) {
    let (sent, new) = (granted.sent, granted.token.fingerprint());
    let access = &granted.access;
    let is_new_current = is(state.current(), new);
    if is_new_current && state.access.as_ref() == Some(access) {
        // This answer is in the state already.
        return clear_mark(state, sent);
    }
    if is(state.current(), sent) {
        return rotate(state, Sent::Current, granted);
    }
    let is_current_alive = is_alive(state, state.current());
    if is_new_current && is_current_alive {
        // Ring gave the same token once more: only the access token can be newer.
        if state.access.as_ref().is_none_or(|known| known.obtained_at < access.obtained_at) {
            state.access = Some(access.clone());
            state.last_success_at = Some(access.obtained_at);
            state.cool_down = None;
        }
        return forgive(state, sent);
    }
    let is_after_previous = is(state.previous(), sent);
    if is_after_previous && state.family.is_some() && !is_current_alive {
        return rotate(state, Sent::Previous, granted);
    }
    forgive(state, sent);
    if let Some(at) = sibling(state, sent) {
        // Ring accepted the sibling, so its successor becomes the current token. The former current token may still work, and is kept.
        let other = state.use_sibling(at);
        rotate(state, Sent::Current, granted);
        state.siblings.extend(other);
        return;
    }
    let is_sibling = sibling(state, new).is_some();
    if state.siblings.iter().any(|sibling| sibling.source == sent) && (is_sibling || is_unknown(state, new)) {
        return second_successor(state, granted);
    }
    let is_after_fallback = state.fallback.as_ref().is_some_and(|fallback| is(fallback.previous.as_ref(), sent));
    if is(fallback(state), sent) || (is_after_fallback && !is_alive(state, fallback(state))) {
        return rotate_fallback(state, granted);
    }
    if is(fallback(state), new) || matches!(state.recognise(new), Known::Former | Known::Rejected) {
        return;
    }
    if is_after_previous && is_current_alive {
        return second_successor(state, granted);
    }
    if is_after_fallback {
        return rotate_fallback(state, granted);
    }
    let family = Family { proven: true, ..Family::of(stored(granted)) };
    if state.family.is_some() {
        // If the current token descends from the one that was sent by more than one step, the answer is not newer, and must not replace
        // a fallback that works. Any other token was displaced while it was being sent, and its answer is the newest of its family.
        if !state.is_ancestor(sent) || !state.fallback.as_ref().is_some_and(|fallback| state.is_usable(fallback)) {
            state.fallback = Some(family);
        }
    } else if state.logged_out_at.is_none_or(|at| at <= access.obtained_at && granted.holder.is_none()) {
        // Between hosts a logout can come during a request. The record had tokens when this one was marked, so the logout is newer.
        state.family = Some(family);
        state.logged_out_at = None;
        state.hardware_id = Some(granted.hardware_id.clone());
        state.last_success_at = Some(access.obtained_at);
        state.access = Some(access.clone());
    }
    state.remember(new);
}

/// The index of a token among the siblings.
fn sibling(state: &State, fingerprint: Fingerprint) -> Option<usize> {
    state.siblings.iter().position(|sibling| is(Some(&sibling.held), fingerprint))
}

fn is_unknown(state: &State, fingerprint: Fingerprint) -> bool {
    state.recognise(fingerprint) == Known::Unknown
}

fn fallback(state: &State) -> Option<&StoredToken> {
    state.fallback.as_ref().map(|fallback| &fallback.current)
}

fn stored(granted: &Granted) -> StoredToken {
    StoredToken { token: granted.token.clone(), obtained_at: granted.access.obtained_at, succeeded: false }
}

/// Notes that Ring accepted a token: it counts as rejected no longer, and the request with it is over.
fn forgive(state: &mut State, sent: Fingerprint) {
    state.rejected.retain(|tombstone| tombstone.fingerprint != sent);
    clear_mark(state, sent);
}

fn rotate(state: &mut State, sent: Sent, granted: &Granted) {
    state.rotated(sent, &granted.token.raw(), &granted.hardware_id, granted.access.clone());
}

/// Applies a second answer to one token: the later one is used, and the other becomes a sibling. The spent token is never sent again.
fn second_successor(state: &mut State, granted: &Granted) {
    let new = stored(granted);
    let fingerprint = granted.token.fingerprint();
    let repeated = sibling(state, fingerprint);
    if repeated.is_some_and(|at| state.siblings[at].held.obtained_at >= new.obtained_at) {
        // This answer is in the state already.
        return;
    }
    let Some(Family { current, proven, .. }) = state.family.take() else { return };
    if let Some(at) = repeated {
        state.siblings.remove(at);
    }
    let is_later = !granted.is_dated || new.obtained_at >= current.obtained_at || !is_alive(state, Some(&current));
    let (used, other) = if is_later { (new, current) } else { (current, new) };
    state.remember(fingerprint);
    state.family = Some(Family { current: used, previous: None, proven });
    state.siblings.push(Sibling { held: other, source: granted.sent });
    let excess = state.siblings.len().saturating_sub(MAX_SIBLINGS);
    state.siblings.drain(..excess);
    if is_later {
        state.former_wrappers.clear();
        state.hardware_id = Some(granted.hardware_id.clone());
        state.last_success_at = Some(granted.access.obtained_at);
        state.access = Some(granted.access.clone());
        state.mark = None;
        state.cool_down = None;
        state.forced_at = None;
        state.doubted = None;
    }
}

/// Rotates the fallback: its family was displaced while its token was being sent.
fn rotate_fallback(state: &mut State, granted: &Granted) {
    let Some(mut family) = state.fallback.take() else { return };
    let new = granted.token.fingerprint();
    let is_from_current = is(Some(&family.current), granted.sent);
    let is_superseded = !is_from_current
        && is_alive(state, Some(&family.current))
        && family.current.obtained_at > granted.access.obtained_at;
    let source = if is_from_current { Some(family.current.clone()) } else { family.previous.take() };
    if let Some(mut source) = source {
        source.succeeded = true;
        let token = source.token.rotated(&granted.token.raw(), &granted.hardware_id);
        if is_superseded {
            family.previous = Some(source);
        } else if new == granted.sent {
            family.current = StoredToken { token, ..source };
        } else {
            family.current = StoredToken { token, ..stored(granted) };
            family.previous = Some(source);
        }
    }
    family.proven = true;
    state.fallback = Some(family);
    state.rejected.retain(|tombstone| tombstone.fingerprint != new);
    state.remember(new);
}

fn reject(state: &mut State, sent: Fingerprint, at: Millis, in_doubt: bool) {
    if is(state.current(), sent) {
        state.reject(Sent::Current, at, in_doubt);
    } else if is_at_stake(state, sent) {
        state.reject(Sent::Previous, at, in_doubt);
    } else {
        // A rejection of an earlier token does not concern the current one.
        if is(fallback(state), sent) {
            state.bury(sent, at);
        }
        clear_mark(state, sent);
    }
}

fn log_in(state: &mut State, login: &LoggedIn) {
    let (fingerprint, at) = (login.token.fingerprint(), login.access.obtained_at);
    if state.recognise(fingerprint) == Known::Unknown {
        state.take_over(login.token.clone(), at);
    }
    let is_newer = state.access.as_ref().is_none_or(|known| known.obtained_at < at);
    if let Some(family) = state.family.as_mut().filter(|family| is(Some(&family.current), fingerprint) && is_newer) {
        // Ring has given this token to the user who logged in: if it is rejected, the user has to know. The family that it displaced may
        // be another account's, so it must not come back as it does for a pasted token that never worked.
        family.proven = true;
        state.last_success_at = Some(at);
        state.hardware_id = Some(login.hardware_id.clone());
        state.access = Some(login.access.clone());
    }
}

/// Applies a token that the user gave, unless it is an old copy or Ring rejected it.
fn give(state: &mut State, token: &RefreshToken, at: Millis) {
    match state.recognise(token.fingerprint()) {
        Known::Unknown => state.take_over(token.clone(), at),
        Known::Fallback => {
            state.swap_with_fallback();
            state.rewrap(token);
        }
        Known::Current => {
            state.rewrap(token);
        }
        Known::Former | Known::Rejected => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::state::{Lease, Mark};
    use crate::{ErrorCode, Secret};

    const ISSUER: &str = "https://oauth.ring.com";
    /// The manager whose answers these are.
    const HOLDER: u128 = 1;

    /// The events that Ring, users and time cause. The tokens have the names `t0`, `t1` and so on.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Rotate,
        Repeat,
        Reject,
        RejectInDoubt,
        BackOff,
        End,
        Force,
        LogIn,
        Paste,
        PasteOld(usize),
        Push(u8),
        RotateFallback,
        RotateSibling,
        AnswerOnceMore,
        AnswerAgain,
        Replay(usize),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Rotate),
            1 => Just(Step::Repeat),
            3 => Just(Step::Reject),
            1 => Just(Step::RejectInDoubt),
            1 => Just(Step::BackOff),
            1 => Just(Step::End),
            1 => Just(Step::Force),
            1 => Just(Step::LogIn),
            2 => Just(Step::Paste),
            2 => any::<usize>().prop_map(Step::PasteOld),
            1 => (0..3_u8).prop_map(Step::Push),
            2 => Just(Step::RotateFallback),
            1 => Just(Step::RotateSibling),
            1 => Just(Step::AnswerOnceMore),
            1 => Just(Step::AnswerAgain),
            1 => any::<usize>().prop_map(Step::Replay),
        ]
    }

    /// One account: its state, and the facts about its tokens that do not depend on the state.
    #[derive(Debug, Clone)]
    struct World {
        state: State,
        tokens: Vec<String>,
        spent: HashSet<Fingerprint>,
        past: Vec<Outcome>,
    }

    impl World {
        fn new() -> Self {
            let mut world =
                Self { state: State::new(ISSUER), tokens: Vec::new(), spent: HashSet::new(), past: Vec::new() };
            let first = world.fresh();
            world.state.take_over(first, 1);
            world
        }

        fn now(&self) -> Millis {
            self.tokens.len() as Millis
        }

        fn fresh(&mut self) -> RefreshToken {
            self.tokens.push(format!("t{}", self.tokens.len()));
            RefreshToken::from_raw(&self.tokens[self.tokens.len() - 1])
        }

        fn access(&self) -> Access {
            Access {
                token: Secret::new(format!("access-{}", self.now())),
                token_type: "Bearer".into(),
                scope: "client".into(),
                obtained_at: self.now(),
                lifetime: Duration::from_secs(3600),
            }
        }

        /// The outcome of a refresh with that token now.
        fn answer(&mut self, sent: &StoredToken, repeats: bool) -> Outcome {
            let fresh = self.fresh();
            let raw = if repeats { sent.token.raw() } else { fresh.raw() };
            Outcome::Granted(Box::new(Granted {
                sent: sent.token.fingerprint(),
                token: sent.token.rotated(&raw, "h"),
                hardware_id: "h".into(),
                access: self.access(),
                is_dated: true,
                holder: Some(HOLDER),
            }))
        }

        /// The outcome of a step; `None` if it cannot happen now.
        fn outcome(&mut self, step: Step) -> Option<Outcome> {
            let to_send = self.state.sendable().and_then(|sent| self.state.to_send(sent)).cloned();
            let sent = to_send.as_ref().map(|stored| stored.token.fingerprint());
            let at = self.now();
            Some(match step {
                Step::Rotate => self.answer(&to_send?, false),
                Step::Repeat => self.answer(&to_send?, true),
                Step::Reject => Outcome::Rejected { sent: sent?, at, in_doubt: false },
                Step::RejectInDoubt => Outcome::Rejected { sent: sent?, at, in_doubt: true },
                Step::BackOff => {
                    let cool_down = CoolDown {
                        started_at: at,
                        length: Duration::from_secs(5),
                        failures: 1,
                        code: ErrorCode::Network,
                        message: "m".into(),
                        http_status: None,
                        seen_at: None,
                    };
                    Outcome::BackedOff { sent: sent?, cool_down, in_doubt: at.is_multiple_of(2) }
                }
                Step::End => Outcome::Ended { sent: sent? },
                Step::Force => Outcome::Forced { sent: self.state.fingerprint()?, at },
                Step::LogIn => Outcome::LoggedIn(Box::new(LoggedIn {
                    token: self.fresh(),
                    hardware_id: "h".into(),
                    access: self.access(),
                })),
                Step::Paste => Outcome::Given { token: self.fresh(), at },
                Step::PasteOld(which) => {
                    let raw = &self.tokens[which % self.tokens.len()];
                    Outcome::Given { token: RefreshToken::from_raw(raw), at }
                }
                Step::Push(which) => Outcome::PushCredentials((which > 0).then(|| Value::from(which))),
                Step::RotateFallback => {
                    let fallback = self.state.fallback.clone()?.current;
                    let dead = self.state.is_rejected(fallback.token.fingerprint());
                    (!dead).then(|| self.answer(&fallback, false))?
                }
                Step::RotateSibling => {
                    let held = self.state.siblings.first()?.held.clone();
                    let dead = self.state.is_rejected(held.token.fingerprint());
                    (!dead).then(|| self.answer(&held, false))?
                }
                Step::AnswerOnceMore => {
                    let source = self.state.siblings.first()?.source;
                    let raw = self.tokens.iter().find(|raw| Fingerprint::of(raw) == source)?;
                    let held = StoredToken { token: RefreshToken::from_raw(raw), obtained_at: 1, succeeded: true };
                    self.answer(&held, false)
                }
                Step::AnswerAgain => {
                    let previous = self.state.previous().cloned()?;
                    self.answer(&previous, false)
                }
                Step::Replay(which) => self.past.get(which.checked_rem(self.past.len())?)?.clone(),
            })
        }

        /// Records the token that Ring has replaced for good with an outcome.
        fn spends(&mut self, outcome: &Outcome) {
            if let Some(token) = brought(outcome) {
                // Ring may answer with a token that it gave before.
                self.spent.remove(&token);
            }
            self.spent.extend(spent_by(outcome));
        }

        fn happens(&mut self, step: Step) {
            if let Some(outcome) = self.outcome(step) {
                self.spends(&outcome);
                self.state = merge(self.state.clone(), &outcome);
                self.past.push(outcome);
            }
        }
    }

    /// The current token, and the newest token of the fallback, which is used if the current one is rejected.
    fn kept(state: &State) -> Vec<Fingerprint> {
        let siblings = state.siblings.iter().map(|sibling| &sibling.held);
        let siblings = siblings.filter(|held| is_alive(state, Some(held)));
        let held = [state.current(), fallback(state)].into_iter().flatten().chain(siblings);
        held.map(|held| held.token.fingerprint()).collect()
    }

    /// The token that Ring has just given with an outcome, so that it works.
    fn brought(outcome: &Outcome) -> Option<Fingerprint> {
        match outcome {
            Outcome::Granted(granted) => Some(granted.token.fingerprint()),
            Outcome::LoggedIn(login) => Some(login.token.fingerprint()),
            _ => None,
        }
    }

    /// The token that Ring has replaced with an outcome.
    fn spent_by(outcome: &Outcome) -> Option<Fingerprint> {
        match outcome {
            Outcome::Granted(granted) => Some(granted.sent).filter(|sent| *sent != granted.token.fingerprint()),
            _ => None,
        }
    }

    fn worlds() -> impl Strategy<Value = World> {
        proptest::collection::vec(steps(), 0..16).prop_map(|steps| {
            let mut world = World::new();
            for step in steps {
                world.happens(step);
            }
            world
        })
    }

    #[test]
    fn a_token_that_displaces_one_under_way_on_another_host_rests() {
        let mut world = World::new();
        world.happens(Step::Rotate);
        let displaced = world.state.fingerprint().unwrap();
        let lease = Some(Lease { holder: 7, length: Duration::from_secs(25) });
        let mark = Mark { fingerprint: displaced, started_at: 2, deadline: 3, starts: 0, lease };
        world.state.mark = Some(mark.clone());
        world.happens(Step::AnswerAgain);
        let current = world.state.fingerprint().unwrap();
        assert_ne!(current, displaced);
        assert_eq!(world.state.mark, Some(mark.clone().resting(current)));
        assert!(!world.state.mark.unwrap().is_of_a_request());
    }

    #[test]
    fn a_late_answer_rests_while_another_host_sends_the_same_token() {
        for step in [Step::Rotate, Step::Repeat] {
            let mut world = World::new();
            world.happens(Step::Rotate);
            let sent = world.state.fingerprint().unwrap();
            let lease = |holder| Some(Lease { holder, length: Duration::from_secs(25) });
            let mark = |holder| Mark { fingerprint: sent, started_at: 2, deadline: 3, starts: 1, lease: lease(holder) };
            // Another host took the mark over, and its request may be under way.
            world.state.mark = Some(mark(HOLDER + 1));
            let before = world.state.clone();
            world.happens(step);
            let current = world.state.fingerprint().unwrap();
            assert_eq!(world.state.mark, Some(mark(HOLDER + 1).resting(current)));
            // The answer to the request of the mark takes the mark away.
            world.state = State { mark: Some(mark(HOLDER)), ..before };
            world.happens(step);
            assert_eq!(world.state.mark, None);
        }
    }

    #[test]
    fn a_token_that_displaces_one_that_rests_rests_as_well() {
        let mut world = World::new();
        world.happens(Step::Rotate);
        let displaced = world.state.fingerprint().unwrap();
        let lease = Some(Lease { holder: Lease::NOBODY, length: Duration::from_secs(25) });
        let rest = Mark { fingerprint: displaced, started_at: 2, deadline: 2, starts: 0, lease };
        world.state.mark = Some(rest.clone());
        // This is the second late answer to a token that a third host is sending.
        world.happens(Step::AnswerAgain);
        let current = world.state.fingerprint().unwrap();
        assert_ne!(current, displaced);
        assert_eq!(world.state.mark, Some(rest.resting(current)));
    }

    #[test]
    fn a_token_that_ring_gives_once_more_is_kept_although_a_rejection_put_a_sibling_in_its_place() {
        let mut world = World::new();
        for step in [Step::Rotate, Step::AnswerAgain] {
            world.happens(step);
        }
        let current = world.state.fingerprint().unwrap();
        let (repeated, rejected) = (world.outcome(Step::Repeat).unwrap(), world.outcome(Step::Reject).unwrap());
        let merged = merge(merge(world.state.clone(), &rejected), &repeated);
        assert!(kept(&merged).contains(&current));
        assert!(!merged.is_rejected(current));
    }

    proptest! {
        #[test]
        fn an_outcome_that_is_applied_again_changes_nothing(mut world in worlds(), step in steps()) {
            if let Some(outcome) = world.outcome(step) {
                let once = merge(world.state, &outcome);
                prop_assert_eq!(merge(once.clone(), &outcome), once);
            }
        }

        #[test]
        fn no_outcome_goes_back_to_a_token_that_is_spent(mut world in worlds(), step in steps()) {
            if let Some(outcome) = world.outcome(step) {
                world.spends(&outcome);
                let merged = merge(world.state, &outcome);
                for token in kept(&merged) {
                    prop_assert!(!world.spent.contains(&token), "{:?} keeps a token that is spent", outcome);
                }
            }
        }

        #[test]
        fn the_token_that_an_outcome_brings_is_kept_and_the_newest_is_used(mut world in worlds(), step in steps()) {
            let to_send = world.state.sendable().and_then(|sent| world.state.to_send(sent)).cloned();
            if matches!(step, Step::Replay(_)) {
                return Ok(());
            }
            if let Some(outcome) = world.outcome(step)
                && let Some(newest) = brought(&outcome)
            {
                let merged = merge(world.state, &outcome);
                prop_assert!(kept(&merged).contains(&newest), "{:?} is lost", outcome);
                let is_of_current = match &outcome {
                    Outcome::Granted(granted) => to_send.is_some_and(|stored| stored.token.fingerprint() == granted.sent),
                    _ => true,
                };
                if is_of_current {
                    prop_assert_eq!((merged.fingerprint(), merged.sendable()), (Some(newest), Some(Sent::Current)));
                }
            }
        }

        #[test]
        fn the_order_of_two_outcomes_loses_no_token_that_works(mut world in worlds(), one in steps(), other in steps()) {
            // Two answers to one token of the fallback leave only the later one: a family has one newest token.
            let is_one_place = matches!((one, other), (Step::RotateFallback, Step::RotateFallback));
            if is_one_place || matches!(one, Step::Replay(_)) || matches!(other, Step::Replay(_)) {
                return Ok(());
            }
            let base = world.state.clone();
            let (Some(one), Some(other)) = (world.outcome(one), world.outcome(other)) else { return Ok(()) };
            world.spends(&one);
            world.spends(&other);
            world.spent.extend(spent_by(&one));
            let first = merge(merge(base.clone(), &one), &other);
            let second = merge(merge(base, &other), &one);
            for token in [&one, &other].into_iter().filter_map(brought).filter(|token| !world.spent.contains(token)) {
                for merged in [&first, &second] {
                    // There is room for two families. A third one can only take the place of one that works as well.
                    let is_full =
                        merged.sendable().is_some() && merged.fallback.as_ref().is_some_and(|fallback| merged.is_usable(fallback));
                    prop_assert!(kept(merged).contains(&token) || is_full, "{:?} and {:?}", one, other);
                }
            }
        }
    }

    fn world_with(steps: &[Step]) -> World {
        let mut world = World::new();
        for step in steps {
            world.happens(*step);
        }
        world
    }

    fn raw(stored: Option<&StoredToken>) -> String {
        stored.map_or_else(String::new, |stored| stored.token.raw())
    }

    #[test]
    fn an_answer_finds_its_token_where_it_was_put_meanwhile() {
        let mut world = world_with(&[Step::Rotate]);
        let answer = world.outcome(Step::Rotate).unwrap();
        world.happens(Step::LogIn);
        let merged = merge(world.state, &answer);
        assert_eq!((raw(merged.current()), raw(fallback(&merged))), ("t3".into(), "t2".into()));
        assert_eq!(merged.access.unwrap().token.expose(), "access-4", "the access token is that of the lineage in use");
    }

    #[test]
    fn of_two_answers_to_one_token_the_later_one_is_used_and_the_other_after_its_rejection() {
        let mut world = World::new();
        let (earlier, later) = (world.outcome(Step::Rotate).unwrap(), world.outcome(Step::Rotate).unwrap());
        for (one, other) in [(&earlier, &later), (&later, &earlier)] {
            let mut merged = merge(merge(world.state.clone(), one), other);
            let siblings: Vec<_> = merged.siblings.iter().map(|sibling| sibling.held.token.raw()).collect();
            assert_eq!((raw(merged.current()), siblings), ("t2".into(), vec!["t1".to_owned()]));
            let sent = merged.fingerprint().unwrap();
            merged = merge(merged, &Outcome::Rejected { sent, at: 9, in_doubt: false });
            assert_eq!((raw(merged.current()), merged.previous()), ("t1".into(), None));
        }
    }

    #[test]
    fn the_last_four_other_answers_to_one_token_are_kept_each_with_its_time() {
        let mut world = World::new();
        let answers: Vec<_> = (0..7).filter_map(|_| world.outcome(Step::Rotate)).collect();
        let merged = answers.iter().fold(world.state.clone(), merge);
        let time_of = |token: String| {
            let is_its = |answer: &&Outcome| matches!(answer, Outcome::Granted(of) if of.token.raw() == token);
            match answers.iter().find(is_its) {
                Some(Outcome::Granted(granted)) => granted.access.obtained_at,
                _ => 0,
            }
        };
        let siblings: Vec<_> = merged.siblings.iter().map(|of| (of.held.token.raw(), of.held.obtained_at)).collect();
        assert_eq!(raw(merged.current()), "t7");
        assert_eq!(siblings, ["t3", "t4", "t5", "t6"].map(|token| (token.to_owned(), time_of(token.to_owned()))));
        assert!(siblings.iter().all(|(_, at)| *at > 0));
    }

    #[test]
    fn an_answer_that_came_before_a_logout_revives_nothing_and_one_without_a_journal_is_used() {
        let mut world = World::new();
        let answer = world.outcome(Step::Rotate).unwrap();
        let after = merge(State::logged_out(ISSUER, 9), &answer);
        assert_eq!((after.family, after.known.len()), (None, 1));
        let nowhere = merge(State::new(ISSUER), &answer);
        assert_eq!((raw(nowhere.current()), nowhere.is_proven()), ("t1".into(), true));
    }

    #[test]
    fn a_rejection_says_nothing_of_what_another_process_moved_on_to() {
        let mut world = world_with(&[Step::Rotate]);
        let rejected = world.outcome(Step::Reject).unwrap();
        world.happens(Step::Rotate);
        assert_eq!(merge(world.state.clone(), &rejected), world.state);
    }

    #[test]
    fn a_mark_goes_with_its_own_refresh_alone() {
        let mut world = world_with(&[Step::Rotate]);
        let ended = world.outcome(Step::End).unwrap();
        world.happens(Step::Rotate);
        let sent = world.state.fingerprint().unwrap();
        world.state.mark = Some(Mark { fingerprint: sent, started_at: 1, deadline: 2, starts: 0, lease: None });
        assert!(merge(world.state.clone(), &ended).mark.is_some(), "that is the mark of another refresh");
        assert!(merge(world.state, &Outcome::Ended { sent }).mark.is_none());
    }
}
