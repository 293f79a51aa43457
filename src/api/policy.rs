//! The numbers of the API client: which requests are repeated, after which wait, and for how long. All functions are pure.

use std::time::Duration;

/// The age at which a session is renewed: Ring seems to forget one after a day.
pub const BETWEEN_SESSIONS: Duration = Duration::from_secs(12 * 60 * 60);
/// The wait after a renewal that failed.
pub const AFTER_FAILED_RENEWAL: Duration = Duration::from_secs(10 * 60);
/// The wait after a 429 on a session without `Retry-After`.
pub const SESSION_RATE_LIMIT: Duration = Duration::from_secs(200);
/// The longest `Retry-After` of a session for which requests wait. With a longer one they fail.
pub const LONGEST_SESSION_WAIT: Duration = Duration::from_secs(60 * 60);
/// The most requests that one session may take.
pub const SESSION_REQUESTS: u32 = 4;
/// The most redirects that one request follows.
pub const MOST_REDIRECTS: u32 = 5;

const AFTER_NO_ANSWER: Duration = Duration::from_secs(5);
const AFTER_GATEWAY_TIMEOUT: Duration = Duration::from_secs(5);
const AFTER_ASSET: Duration = Duration::from_secs(20);
const MOST_GATEWAY_TIMEOUTS: u32 = 12;
const MOST_ASSETS: u32 = 15;
const MOST_UNAUTHORIZED: u32 = 2;
const MOST_SESSIONS: u32 = 2;
const CHANGING: Duration = Duration::from_secs(60);
const SHORTEST_TOKEN_WAIT: Duration = Duration::from_secs(1);
const LONGEST_TOKEN_WAIT: Duration = Duration::from_secs(60);

/// The reason why a request did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There was no answer.
    NoAnswer,
    /// There is no access token at the moment, perhaps for that long.
    NoToken(Option<Duration>),
    /// 401: Ring rejected the access token.
    Unauthorized,
    /// 504: Ring's edge got no answer.
    GatewayTimeout,
    /// The device is busy or offline.
    Asset,
    /// Ring knows no session of this device.
    SessionGone,
}

/// The time for which one request is repeated.
///
/// A request that only reads is repeated until there is an answer, as ring-client-api does: a program that starts before its network
/// waits for it. A request that changes something is repeated for a minute: a door must not be unlocked an hour after the outage.
#[derive(Debug)]
pub struct Patience {
    /// When it ends, by the monotonic clock.
    until: Option<Duration>,
    unauthorized: u32,
    gateway_timeouts: u32,
    assets: u32,
    sessions: u32,
}

impl Patience {
    /// Begins now. With `reads` the request changes nothing.
    pub fn new(reads: bool, now: Duration) -> Self {
        let until = (!reads).then(|| now + CHANGING);
        Self { until, unauthorized: 0, gateway_timeouts: 0, assets: 0, sessions: 0 }
    }

    /// The wait before the next try; `None` to give up.
    pub fn again_after(&mut self, trouble: Trouble, now: Duration) -> Option<Duration> {
        let (count, most, wait) = match trouble {
            Trouble::NoAnswer => (&mut 0, u32::MAX, AFTER_NO_ANSWER),
            Trouble::NoToken(wait) => {
                let wait = wait.unwrap_or(AFTER_NO_ANSWER).clamp(SHORTEST_TOKEN_WAIT, LONGEST_TOKEN_WAIT);
                (&mut 0, u32::MAX, wait)
            }
            Trouble::Unauthorized => (&mut self.unauthorized, MOST_UNAUTHORIZED, Duration::ZERO),
            Trouble::GatewayTimeout => (&mut self.gateway_timeouts, MOST_GATEWAY_TIMEOUTS, AFTER_GATEWAY_TIMEOUT),
            Trouble::Asset => (&mut self.assets, MOST_ASSETS, AFTER_ASSET),
            Trouble::SessionGone => (&mut self.sessions, MOST_SESSIONS, Duration::ZERO),
        };
        *count += 1;
        let in_time = self.until.is_none_or(|until| now + wait <= until);
        (*count <= most && in_time).then_some(wait)
    }

    /// The time that is left, if there is a limit.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        self.until.map(|until| until.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(trouble: Trouble, reads: bool) -> Vec<u64> {
        let mut patience = Patience::new(reads, Duration::ZERO);
        let (mut now, mut waits) = (Duration::ZERO, Vec::new());
        while let Some(wait) = patience.again_after(trouble, now) {
            now += wait;
            waits.push(wait.as_secs());
            if waits.len() == 10_000 {
                break;
            }
        }
        waits
    }

    #[test]
    fn what_reads_waits_for_an_answer_and_what_changes_something_waits_a_minute() {
        assert_eq!(seconds(Trouble::NoAnswer, true), vec![5; 10_000]);
        assert_eq!(seconds(Trouble::NoAnswer, false), vec![5; 12]);
        assert_eq!(seconds(Trouble::NoToken(None), true), vec![5; 10_000]);
        assert_eq!(seconds(Trouble::NoToken(Some(Duration::from_secs(25))), false), vec![25; 2]);
    }

    #[test]
    fn a_token_is_asked_for_again_within_a_minute_and_not_at_once() {
        assert_eq!(seconds(Trouble::NoToken(Some(Duration::from_secs(900))), true)[0], 60);
        assert_eq!(seconds(Trouble::NoToken(Some(Duration::ZERO)), true)[0], 1);
    }

    #[test]
    fn everything_that_ring_answers_is_bounded() {
        assert_eq!(seconds(Trouble::GatewayTimeout, true), vec![5; 12]);
        assert_eq!(seconds(Trouble::Asset, true), vec![20; 15]);
        assert_eq!(seconds(Trouble::Asset, false), vec![20; 3]);
        assert_eq!(seconds(Trouble::Unauthorized, true), vec![0; 2]);
        assert_eq!(seconds(Trouble::SessionGone, true), vec![0; 2]);
    }

    #[test]
    fn only_what_changes_something_has_an_end() {
        assert_eq!(Patience::new(true, Duration::ZERO).left(Duration::from_secs(50)), None);
        let patience = Patience::new(false, Duration::from_secs(10));
        assert_eq!(patience.left(Duration::from_secs(50)), Some(Duration::from_secs(20)));
        assert_eq!(patience.left(Duration::from_secs(500)), Some(Duration::ZERO));
    }
}
