//! Which code of an authenticator's secret a login sends, and when. Pure: the time and the code that was sent last are
//! given.

use std::time::Duration;

use crate::Secret;
use crate::journal::state::Millis;
use crate::totp::Totp;

/// The time that a code must still be valid to be sent. Otherwise the login waits for the next code, because Ring could check this
/// one too late.
const LEAST_LEFT: Millis = 3_000;
/// How many codes one login sends.
pub(super) const TRIES: u32 = 2;

/// The codes of one login.
pub(super) struct Codes {
    totp: Totp,
    /// The first time step whose code may be sent.
    first: u64,
}

/// The next code, and how long to wait before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) wait: Duration,
    pub(super) code: Secret,
    step: u64,
}

impl Codes {
    pub(super) fn new(totp: Totp) -> Self {
        Self { totp, first: 0 }
    }

    /// The code to send at `now`. It is never `sent`, the last one that any login has sent: Ring may take each code once.
    pub(super) fn next(&self, now: Millis, sent: Option<&Secret>) -> Next {
        let period = self.totp.period() * 1000;
        let begins = |step: u64| step.saturating_mul(period);
        let mut step = now / period;
        let left = begins(step + 1).saturating_sub(now);
        // With a period of a few seconds, no code is ever valid for longer.
        if left < LEAST_LEFT.min(period / 2) {
            step += 1;
        }
        step = step.max(self.first);
        let mut code = self.totp.code(step);
        while sent == Some(&code) {
            step += 1;
            code = self.totp.code(step);
        }
        Next { wait: Duration::from_millis(begins(step).saturating_sub(now)), code, step }
    }

    /// Counts a code as sent: from now on those of later time steps follow.
    pub(super) fn count(&mut self, sent: &Next) {
        self.first = sent.step + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn codes(more: &str) -> Codes {
        Codes::new(Totp::parse(&format!("otpauth://totp/?secret={SECRET}{more}"), "s").unwrap())
    }

    /// The step of the code, and the wait in milliseconds.
    fn next(codes: &Codes, now: Millis, sent: Option<&Secret>) -> (u64, u128) {
        let next = codes.next(now, sent);
        assert_eq!(next.code, codes.totp.code(next.step));
        (next.step, next.wait.as_millis())
    }

    #[test]
    fn a_code_with_less_than_three_seconds_left_waits_for_the_next_one() {
        let codes = codes("");
        for (now, expected) in [
            (0, (0, 0)),
            (59_000 - 2_000, (1, 0)),
            (57_001, (2, 2_999)),
            (59_999, (2, 1)),
            (60_000, (2, 0)),
            (60_001, (2, 0)),
        ] {
            assert_eq!(next(&codes, now, None), expected, "{now}");
        }
    }

    #[test]
    fn a_period_of_a_few_seconds_is_no_endless_wait() {
        for period in 1..=8 {
            let codes = codes(&format!("&period={period}"));
            for now in (0..20_000).step_by(97) {
                let (step, wait) = next(&codes, now, None);
                let ready = next(&codes, now + Millis::try_from(wait).unwrap(), None);
                assert_eq!(ready, (step, 0), "{period} s at {now}");
            }
        }
    }

    #[test]
    fn no_code_is_sent_twice_within_a_login_and_by_the_next_login() {
        let mut first = codes("");
        let sent = first.next(61_000, None);
        assert_eq!((sent.step, sent.wait), (2, Duration::ZERO));
        first.count(&sent);
        assert_eq!(next(&first, 61_001, Some(&sent.code)), (3, 28_999));
        assert_eq!(next(&first, 90_000, Some(&sent.code)), (3, 0));
        // A clock that was set back does not bring an earlier code.
        assert_eq!(next(&first, 30_000, Some(&sent.code)).0, 3);
        // Another login, in the same time step.
        assert_eq!(next(&codes(""), 62_000, Some(&sent.code)), (3, 28_000));
        assert_eq!(next(&codes("&digits=8"), 62_000, Some(&sent.code)).0, 2, "another code");
    }
}
