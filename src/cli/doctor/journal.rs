//! The checks of the journal's content.

use super::super::status::{Seen, duration, hardware_id};
use super::Check;
use crate::ErrorCode;
use crate::journal::SealedWith;
use crate::journal::state::{Millis, State};
use crate::manager::{Clock, Phase, Status, SystemClock};

const JOURNAL: &str = "journal";
const LAST_SUCCESS: &str = "last-success";
const COOL_DOWN: &str = "cool-down";
const HARDWARE_ID: &str = "hardware-id";
const SEALED: &str = "sealed";

/// The checks of this group, in their order.
pub(super) const IDS: [&str; 5] = [JOURNAL, LAST_SUCCESS, COOL_DOWN, HARDWARE_ID, SEALED];

/// Makes the checks of this group. `kept` is the state that was read. If there is none, `why_not` is the reason.
pub(super) fn look(kept: Option<Seen>, why_not: &str, sealed: Option<&SealedWith>) -> Vec<Check> {
    let Some(Seen { state, status, pasted, .. }) = kept else {
        // The seal can be read without the key.
        let is_known = |id: &str| id == SEALED && sealed.is_some();
        return IDS.map(|id| if is_known(id) { seal(sealed) } else { Check::skipped(id, why_not) }).into();
    };
    let now = SystemClock::new().wall();
    let id = hardware_id(state.as_ref(), pasted.as_ref());
    vec![
        phase(state.as_ref(), &status, now),
        last_success(state.as_ref(), now),
        cool_down(state.as_ref(), now),
        Check::ok(HARDWARE_ID, id.map_or("It is decided at the first login.".to_owned(), |id| format!("{id}."))),
        seal(sealed),
    ]
}

/// The check whether the journal is sealed.
fn seal(sealed: Option<&SealedWith>) -> Check {
    match sealed {
        None => Check::ok(SEALED, "No: a user who can read the journal can read the token."),
        Some(SealedWith { fingerprint: None, .. }) => Check::ok(SEALED, "Yes."),
        Some(SealedWith { fingerprint: Some(key), .. }) => Check::ok(SEALED, format!("Yes, with the key {key}.")),
    }
}

/// The hardware id of requests.
pub(super) fn hardware_id_of(seen: &Seen) -> Option<&str> {
    hardware_id(seen.state.as_ref(), seen.pasted.as_ref())
}

fn phase(state: Option<&State>, status: &Status, now: Millis) -> Check {
    let left_behind = state.and_then(|state| state.mark.as_ref()).filter(|mark| mark.deadline < now);
    match (status.phase, &status.problem) {
        (Phase::NeedsLogin, Some(error)) => Check::of(JOURNAL, error),
        (Phase::NeedsLogin, None) => {
            Check::failed(JOURNAL, ErrorCode::NoRefreshToken, "There is no refresh token. Log in: npx ring-auth login")
        }
        _ if left_behind.is_some() => Check::warning(
            JOURNAL,
            "A process ended in the middle of a refresh. The next start sends the same token again, by itself.",
        ),
        (Phase::Ready, _) => Check::ok(JOURNAL, "It holds a refresh token, and a valid access token."),
        (Phase::Waiting, _) => Check::ok(JOURNAL, "It holds a refresh token, and waits: see cool-down."),
        _ if state.is_none_or(|state| state.family.is_none()) => {
            Check::ok(JOURNAL, "There is a token to begin with. The first start or refresh takes it over.")
        }
        _ => Check::ok(JOURNAL, "It holds a refresh token. There is no valid access token: the next call refreshes."),
    }
}

fn last_success(state: Option<&State>, now: Millis) -> Check {
    match state.and_then(|state| state.last_success_at) {
        None => Check::ok(LAST_SUCCESS, "Ring has not accepted a token of this journal yet."),
        Some(at) if at > now.saturating_add(AHEAD) => Check::warning(
            LAST_SUCCESS,
            "The last success lies in the future: the clock of this machine was wrong then, or is now.",
        ),
        Some(at) => Check::ok(LAST_SUCCESS, format!("{} ago.", duration(now.saturating_sub(at) / 1000))),
    }
}

/// The difference that the clocks of two machines may have.
const AHEAD: Millis = 60_000;

fn cool_down(state: Option<&State>, now: Millis) -> Check {
    let waiting = state.and_then(|state| Some((state, state.cool_down.as_ref()?)));
    let waiting = waiting.and_then(|(state, wait)| Some((state, wait, wait.until(now)?)));
    let Some((state, wait, until)) = waiting else { return Check::ok(COOL_DOWN, "There is none.") };
    let sentence = format!(
        "No request is made for another {}. Failed refreshes in a row: {}. The last failure: {} To try at once: ring-auth refresh --force",
        duration(until.saturating_sub(now).div_ceil(1000)),
        wait.failures,
        wait.message
    );
    if state.access.as_ref().is_some_and(|access| access.expires_at() > now) {
        Check::warning(COOL_DOWN, sentence).and("(The access token is valid meanwhile.)")
    } else {
        Check::failed(COOL_DOWN, wait.code, sentence)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::State as CheckState;
    use super::*;
    use crate::Error;
    use crate::journal::state::{Access, CoolDown, Mark};
    use crate::token::RefreshToken;

    fn status(phase: Phase, problem: Option<Error>) -> Status {
        Status { phase, problem, retry_at: None, persisted: true }
    }

    fn held() -> State {
        let mut state = State::new("https://oauth.ring.com");
        state.take_over(RefreshToken::from_raw("the-token-of-this-test"), 1);
        state
    }

    #[test]
    fn a_cool_down_says_until_when_and_why() {
        let wait = CoolDown {
            started_at: 1_000,
            length: Duration::from_secs(900),
            failures: 3,
            code: ErrorCode::Blocked,
            message: "Ring's edge refuses this machine.".to_owned(),
            http_status: Some(403),
            seen_at: None,
        };
        let mut state = State { cool_down: Some(wait), ..held() };
        let check = cool_down(Some(&state), 1_000);
        assert_eq!(
            check.line(),
            "failed   cool-down       No request is made for another 15 min 0 s. Failed refreshes in a row: 3. The last failure: Ring's edge refuses this machine. To try at once: ring-auth refresh --force (BLOCKED)"
        );
        // At the first time the cool-down is over. At the second one it begins in the future, and counts as over.
        for now in [1_000 + 900_000, 999] {
            assert_eq!(cool_down(Some(&state), now).state, CheckState::Ok);
        }
        state.access = Some(Access {
            token: "access".into(),
            token_type: "Bearer".to_owned(),
            scope: "client".to_owned(),
            obtained_at: 1,
            lifetime: Duration::from_secs(10),
        });
        let check = cool_down(Some(&state), 1_000);
        assert_eq!((check.state, check.code), (CheckState::Warning, None));
        assert_eq!(cool_down(Some(&state), 10_001).state, CheckState::Failed);
    }

    #[test]
    fn a_mark_counts_as_left_behind_after_its_deadline_alone() {
        let mark = Mark {
            fingerprint: RefreshToken::from_raw("the-token-of-this-test").fingerprint(),
            started_at: 1,
            deadline: 50,
            starts: 0,
            lease: None,
        };
        let state = State { mark: Some(mark), ..held() };
        let state_at = |now| phase(Some(&state), &status(Phase::Idle, None), now).state;
        assert_eq!((state_at(50), state_at(51)), (CheckState::Ok, CheckState::Warning));
    }

    #[test]
    fn a_needed_login_fails_with_its_own_code() {
        for code in [ErrorCode::NoRefreshToken, ErrorCode::RefreshTokenRejected] {
            let check = phase(None, &status(Phase::NeedsLogin, Some(Error::new(code, "Log in."))), 1);
            assert_eq!(
                (check.state, check.code.map(super::super::Code::as_str)),
                (CheckState::Failed, Some(code.as_str()))
            );
        }
    }

    #[test]
    fn a_success_in_the_future_is_a_warning() {
        let at = |last_success_at| last_success(Some(&State { last_success_at, ..held() }), 1_000_000);
        assert_eq!(at(Some(940_000)).message, "1 min 0 s ago.");
        assert_eq!(at(Some(1_060_000)).state, CheckState::Ok);
        assert_eq!(at(Some(1_060_001)).state, CheckState::Warning);
        assert_eq!(at(None).state, CheckState::Ok);
    }
}
