//! The numbers: when to refresh, how often to try, how long to wait. All pure.

use std::time::Duration;

use crate::journal::state::{CoolDown, Millis};
use crate::oauth::WireError;
use crate::{Error, ErrorCode};

/// Two refreshes that nobody asked for are at least this far apart.
pub const BETWEEN_UNASKED: Duration = Duration::from_secs(30);
/// A forced refresh may send a rejected token again this often.
pub const BETWEEN_FORCED: Duration = Duration::from_secs(60);
/// How long a write that failed waits before it is tried again.
pub const BETWEEN_WRITES: Duration = Duration::from_secs(5);
/// How long somebody waits for a lock beyond the deadline of its holder.
pub const LOCK_GRACE: Duration = Duration::from_secs(5);
/// Starts that try again what a killed process left behind, for each mark.
pub const STARTS_PER_MARK: u32 = 2;

const MAX_REQUESTS: u32 = 4;
const TRYING: Duration = Duration::from_secs(10);
const MAX_MARGIN: Duration = Duration::from_secs(600);
const FIRST_COOL_DOWN: Duration = Duration::from_secs(5);
const MAX_COOL_DOWN: Duration = Duration::from_secs(15 * 60);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const INVALIDATIONS: u32 = 5;
const ONE_INVALIDATION: Duration = Duration::from_secs(300);

/// How long before its end an access token is renewed.
pub fn margin(lifetime: Duration) -> Duration {
    (lifetime / 10).min(MAX_MARGIN)
}

/// When the holder of the lock will have given up at the latest: one request, the ten seconds in which it is tried
/// again, and the last request of those.
pub fn longest_refresh(request_timeout: Duration) -> Duration {
    request_timeout * 2 + TRYING
}

/// The tries within one call.
#[derive(Debug)]
pub struct Tries {
    requests: u32,
    first_failure: Option<Duration>,
    after_cool_down: bool,
}

impl Tries {
    /// A call's tries. The first call after a cool-down makes one request, and repeats it only where Ring may have
    /// rotated the token without our hearing of it.
    pub fn new(after_cool_down: bool) -> Self {
        Self { requests: 0, first_failure: None, after_cool_down }
    }

    /// Counts a request that is about to be sent.
    pub fn count(&mut self) {
        self.requests += 1;
    }

    /// How many were sent.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Whether another token may be tried, after a rejection.
    pub fn another(&self) -> bool {
        self.requests < MAX_REQUESTS
    }

    /// How long to wait before the same token is sent again; `None` to give up.
    pub fn again_after(&mut self, failure: &WireError, now: Duration, jitter: f64) -> Option<Duration> {
        let first_failure = *self.first_failure.get_or_insert(now);
        if self.requests >= MAX_REQUESTS
            || matches!(failure.error.code(), ErrorCode::Blocked | ErrorCode::ClientRejected)
        {
            return None;
        }
        if self.after_cool_down && !failure.ambiguous {
            return None;
        }
        let step = spread(Duration::from_secs(1 << (self.requests - 1)), jitter);
        let wait = match (failure.error.retry_after(), failure.error.code()) {
            // A server that says "at once" to everybody does not mean it.
            (Some(retry_after), _) => retry_after.max(step),
            (None, ErrorCode::RateLimited) => return None,
            // Ring may have rotated it, and its grace may be short.
            (None, _) if failure.ambiguous && self.requests == 1 => return Some(Duration::ZERO),
            (None, _) => step,
        };
        (now + wait <= first_failure + TRYING).then_some(wait)
    }
}

/// The cool-down after a refresh that failed.
pub fn cool_down(former: Option<&CoolDown>, error: &Error, now: Millis, jitter: f64) -> CoolDown {
    let failures = former.map_or(0, |cool_down| cool_down.failures).saturating_add(1);
    let length = if error.code() == ErrorCode::Blocked {
        MAX_COOL_DOWN
    } else {
        // 5 s × 2^8 is beyond the maximum already.
        (FIRST_COOL_DOWN * (1 << (failures - 1).min(8))).min(MAX_COOL_DOWN)
    };
    let at_least = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
    CoolDown {
        started_at: now,
        length: spread(length, jitter).max(at_least),
        failures,
        code: error.code(),
        message: error.message().to_owned(),
        http_status: error.http_status(),
        seen_at: None,
    }
}

/// Bounds what callers who saw a 401 can cost: an API that answers 401 to everything must not cost a rotation each time.
#[derive(Debug)]
pub struct Invalidations {
    left: u32,
    since: Duration,
}

impl Invalidations {
    /// All of them left.
    pub fn new() -> Self {
        Self { left: INVALIDATIONS, since: Duration::ZERO }
    }

    /// Takes one, if one is left.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.left >= INVALIDATIONS {
            self.since = now;
        }
        while self.left < INVALIDATIONS && now.saturating_sub(self.since) >= ONE_INVALIDATION {
            self.left += 1;
            self.since += ONE_INVALIDATION;
        }
        if self.left == INVALIDATIONS {
            self.since = now;
        }
        let taken = self.left > 0;
        self.left -= u32::from(taken);
        taken
    }
}

/// A length, a fifth longer or shorter.
pub fn spread(length: Duration, jitter: f64) -> Duration {
    length.mul_f64(1.0 + 0.2 * jitter.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failure(code: ErrorCode, ambiguous: bool) -> WireError {
        WireError { error: Error::new(code, "m"), ambiguous, date: None }
    }

    fn waits(failure: &WireError, took: Duration, after_cool_down: bool) -> Vec<u64> {
        let mut tries = Tries::new(after_cool_down);
        let (mut now, mut waits) = (Duration::ZERO, Vec::new());
        loop {
            tries.count();
            now += took;
            match tries.again_after(failure, now, 0.0) {
                Some(wait) => {
                    now += wait;
                    waits.push(wait.as_secs());
                }
                None => return waits,
            }
        }
    }

    #[test]
    fn the_margin_is_a_tenth_and_ten_minutes_at_most() {
        assert_eq!(margin(Duration::from_secs(3600)), Duration::from_secs(360));
        assert_eq!(margin(Duration::from_secs(14400)), Duration::from_secs(600));
        assert_eq!(margin(SECOND), Duration::from_millis(100));
    }

    #[test]
    fn four_requests_and_ten_seconds_at_most() {
        assert_eq!(waits(&failure(ErrorCode::ServerError, false), Duration::ZERO, false), [1, 2, 4]);
        assert_eq!(waits(&failure(ErrorCode::ServerError, false), SECOND * 4, false), [1, 2]);
    }

    #[test]
    fn an_ambiguous_failure_is_tried_at_once_and_within_ten_seconds() {
        assert_eq!(waits(&failure(ErrorCode::Network, true), Duration::ZERO, false), [0, 2, 4]);
        assert_eq!(waits(&failure(ErrorCode::Timeout, true), SECOND * 20, false), [0]);
        assert_eq!(waits(&failure(ErrorCode::Network, true), Duration::ZERO, true), [0, 2, 4]);
    }

    #[test]
    fn some_failures_are_not_repeated() {
        for code in [ErrorCode::Blocked, ErrorCode::ClientRejected, ErrorCode::RateLimited] {
            assert!(waits(&failure(code, false), Duration::ZERO, false).is_empty());
        }
        assert!(waits(&failure(ErrorCode::ServerError, false), Duration::ZERO, true).is_empty());
    }

    #[test]
    fn retry_after_is_kept_to_or_given_up_for() {
        let with = |seconds| WireError {
            error: Error::new(ErrorCode::RateLimited, "m").with_retry_after(Duration::from_secs(seconds)),
            ambiguous: false,
            date: None,
        };
        assert_eq!(waits(&with(4), Duration::ZERO, false), [4, 4]);
        assert_eq!(waits(&with(0), Duration::ZERO, false), [1, 2, 4]);
        assert!(waits(&with(11), Duration::ZERO, false).is_empty());
    }

    #[test]
    fn cool_downs_double_to_a_quarter_of_an_hour() {
        let error = Error::new(ErrorCode::ServerError, "m");
        let mut former = None;
        let mut lengths = Vec::new();
        for _ in 0..10 {
            let next = cool_down(former.as_ref(), &error, 1, 0.0);
            lengths.push(next.length.as_secs());
            former = Some(next);
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(cool_down(None, &error, 1, 1.0).length, SECOND * 6);
        assert_eq!(cool_down(None, &error, 1, -1.0).length, SECOND * 4);
    }

    #[test]
    fn a_cool_down_is_never_shorter_than_retry_after_nor_longer_than_a_day_for_it() {
        let asked = |seconds| Error::new(ErrorCode::RateLimited, "m").with_retry_after(Duration::from_secs(seconds));
        assert_eq!(cool_down(None, &asked(77), 1, -1.0).length, SECOND * 77);
        assert_eq!(cool_down(None, &asked(31_536_000), 1, 0.0).length, SECOND * 86_400);
        assert_eq!(cool_down(None, &Error::new(ErrorCode::Blocked, "m"), 1, 0.0).length, SECOND * 900);
    }

    #[test]
    fn five_invalidations_and_one_more_every_five_minutes() {
        let mut bucket = Invalidations::new();
        let hour = SECOND * 3600;
        assert_eq!((0..100).filter(|_| bucket.take(hour)).count(), 5);
        assert!(!bucket.take(hour + SECOND * 299));
        assert!(bucket.take(hour + SECOND * 300));
        assert!(!bucket.take(hour + SECOND * 301));
        assert_eq!((0..100).filter(|_| bucket.take(hour * 9)).count(), 5);
    }
}
