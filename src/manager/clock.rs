//! Time, as the manager is given it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::journal::state::{Millis, millis};
use crate::oauth::BoxFuture;

/// The two clocks, a way to wait, and a little chance.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It can jump, either way.
    fn wall(&self) -> Millis;

    /// The monotonic clock, from any beginning. It stands still while the machine sleeps.
    fn monotonic(&self) -> Duration;

    /// Waits that long by the monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// A number between -1 and 1, so that many processes do not try again at the same moment.
    fn jitter(&self) -> f64;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts from now on.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// One for all managers of a process.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<SystemClock>> = LazyLock::new(Arc::default);
        Arc::clone(&SHARED)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Millis {
        // Before 1970 there was no Ring; a clock that says so is wrong, and nothing here needs it to be right.
        millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn jitter(&self) -> f64 {
        let mut byte = [0];
        // Without chance everybody waits the same time, which is no failure.
        let _ = getrandom::fill(&mut byte);
        f64::from(byte[0]) / 127.5 - 1.0
    }
}
