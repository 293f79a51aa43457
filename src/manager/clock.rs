//! The clocks that a manager uses.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::journal::id::random;
use crate::journal::state::{Millis, millis};
use crate::task::BoxFuture;

/// A wall clock, a monotonic clock, a timer and random numbers.
pub trait Clock: Send + Sync + 'static {
    /// The time by the wall clock, which can jump forward and back.
    fn wall(&self) -> Millis;

    /// The time by the monotonic clock, which has any beginning and stands still while the machine is suspended.
    fn monotonic(&self) -> Duration;

    /// The monotonic clock with the time in which the machine slept, from any beginning.
    fn with_suspend(&self) -> Duration {
        self.monotonic()
    }

    /// Waits that long by the monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// A random number between -1 and 1, so that many processes do not try again at the same moment.
    fn jitter(&self) -> f64;

    /// 128 random bits.
    fn random(&self) -> u128 {
        random()
    }

    /// How long ago that was; `None` if it is yet to come.
    fn age(&self, at: Millis) -> Option<Duration> {
        self.wall().checked_sub(at).map(Duration::from_millis)
    }

    /// A time of this clock as the host's own clock counts it.
    fn on_host(&self, at: Millis) -> Millis {
        at
    }

    /// How late in the first fifth of its margin an access token is renewed unasked, from 0 to 1: hosts that share a store differ in it.
    fn stagger(&self) -> f64 {
        0.0
    }
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    #[cfg(not(target_os = "linux"))]
    wall_start: SystemTime,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(not(target_os = "linux"))]
            wall_start: SystemTime::now(),
        }
    }

    /// The clock that all managers of a process share.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<SystemClock>> = LazyLock::new(Arc::default);
        Arc::clone(&SHARED)
    }
}

/// The time of a wall clock in milliseconds. A clock that shows a time before 1970 is wrong. The manager does not need the right time, but
/// it needs a time that advances, or a wait would never end. So a thousand years are added to such a time.
fn wall_at(now: SystemTime) -> Millis {
    const A_THOUSAND_YEARS: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => millis(A_THOUSAND_YEARS.saturating_sub(before.duration())),
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Millis {
        wall_at(SystemTime::now())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[cfg(target_os = "linux")]
    fn with_suspend(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }

    /// The wall clock goes on during a sleep. If it is set back meanwhile, the monotonic clock still counts.
    #[cfg(not(target_os = "linux"))]
    fn with_suspend(&self) -> Duration {
        let slept = SystemTime::now().duration_since(self.wall_start).unwrap_or_default();
        slept.max(self.monotonic())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn jitter(&self) -> f64 {
        let mut byte = [0];
        // Without random numbers all processes wait for the same time, which is no failure.
        let _ = getrandom::fill(&mut byte);
        f64::from(byte[0]) / 127.5 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::journal::state::CoolDown;

    #[test]
    fn a_clock_before_1970_goes_on_and_no_cool_down_is_endless() {
        assert_eq!(wall_at(UNIX_EPOCH + Duration::from_secs(7)), 7_000);
        assert_eq!(wall_at(UNIX_EPOCH), 0);
        let long_ago = UNIX_EPOCH - Duration::from_secs(50 * 365 * 24 * 60 * 60);
        let cool_down = CoolDown {
            started_at: wall_at(long_ago),
            length: Duration::from_secs(900),
            failures: 9,
            code: ErrorCode::ServerError,
            message: "m".to_owned(),
            http_status: None,
            seen_at: None,
        };
        for (seconds, cools) in [(0, true), (899, true), (900, false), (10_000, false)] {
            assert_eq!(cool_down.until(wall_at(long_ago + Duration::from_secs(seconds))).is_some(), cools, "{seconds}");
        }
        // The clock becomes right, or becomes wrong during a cool-down.
        assert!(cool_down.until(1_800_000_000_000).is_none());
        let right = CoolDown { started_at: 1_800_000_000_000, ..cool_down };
        assert!(right.until(wall_at(long_ago)).is_none());
    }
}
