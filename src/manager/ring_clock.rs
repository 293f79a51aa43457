//! Ring's time, by which a manager with a shared store counts: hosts with different clocks have to agree on the age of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::clock::Clock;
use crate::journal::state::Millis;
use crate::task::BoxFuture;

/// The clocks of this host, with the offset to Ring's time that the last answers showed.
pub(super) struct RingClock {
    host: Arc<dyn Clock>,
    /// How far Ring's clock is ahead of this host's, in milliseconds.
    offset: AtomicI64,
    /// The point of the margin of an access token at which this manager refreshes unasked: from 0 to 1, of the margin's first fifth.
    stagger: f64,
}

impl RingClock {
    pub(super) fn new(host: Arc<dyn Clock>) -> Self {
        // 16 random bits are enough to choose a point in a fifth of the margin.
        let chance = u16::try_from(host.random() & 0xffff).unwrap_or_default();
        Self { host, offset: AtomicI64::new(0), stagger: f64::from(chance) / f64::from(u16::MAX) }
    }

    /// Adjusts the offset to the `Date` of an answer, whose request was sent and answered at these times of this host. Ring made the
    /// answer between these times, within the second that `Date` names. The offset changes only as far as it contradicts that.
    pub(super) fn note(&self, date: Millis, asked_at: Millis, answered_at: Millis) {
        let (least, most) = (difference(date, answered_at), difference(date.saturating_add(999), asked_at));
        if least <= most {
            self.set_offset(self.offset().clamp(least, most));
        }
    }

    /// Adjusts the offset so that Ring's time is at least `date`, because another host has an answer with that time. So a time in the
    /// future counts as now.
    pub(super) fn note_at_least(&self, date: Millis) {
        if date > self.wall() {
            self.set_offset(difference(date, self.host.wall()));
        }
    }

    /// How far Ring's clock is ahead of this host's, in milliseconds.
    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Sets the offset that an earlier process of this host has found.
    pub(super) fn set_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The wall clock of this host, without the offset.
    pub(super) fn host_wall(&self) -> Millis {
        self.host.wall()
    }
}

impl Clock for RingClock {
    fn wall(&self) -> Millis {
        self.host.wall().saturating_add_signed(self.offset())
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic()
    }

    fn with_suspend(&self) -> Duration {
        self.host.with_suspend()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.host.sleep(duration)
    }

    fn jitter(&self) -> f64 {
        self.host.jitter()
    }

    fn random(&self) -> u128 {
        self.host.random()
    }

    fn age(&self, at: Millis) -> Option<Duration> {
        // A time in the future is that of an answer which another host has just got, by a clock that is ahead of this one.
        Some(Duration::from_millis(self.wall().saturating_sub(at)))
    }

    fn on_host(&self, at: Millis) -> Millis {
        at.saturating_add_signed(-self.offset())
    }

    fn stagger(&self) -> f64 {
        self.stagger
    }
}

/// The difference of two times, in milliseconds.
fn difference(one: Millis, other: Millis) -> i64 {
    let signed = |at: Millis| i64::try_from(at).unwrap_or(i64::MAX);
    signed(one) - signed(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::state::Access;
    use crate::manager::account::snapshot::LiveAccess;
    use crate::manager::policy;

    struct At(Millis);

    impl Clock for At {
        fn wall(&self) -> Millis {
            self.0
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn jitter(&self) -> f64 {
            0.0
        }

        fn random(&self) -> u128 {
            u128::from(self.0)
        }
    }

    #[test]
    fn hosts_refresh_unasked_at_points_of_the_first_fifth_of_the_margin_that_differ() {
        let lifetime = Duration::from_secs(3_600);
        let margin = policy::margin(lifetime);
        for (chance, fifths) in [(0, 0.0), (0xffff, 1.0)] {
            let clock = RingClock::new(Arc::new(At(chance)));
            let access = Access {
                token: "access".into(),
                token_type: "Bearer".into(),
                scope: "client".into(),
                obtained_at: chance,
                lifetime,
            };
            let begins = LiveAccess::new(&access, &clock).map(|access| access.until_near_its_end(&clock));
            assert_eq!(begins, Some(lifetime.saturating_sub(margin) + (margin / 5).mul_f64(fifths)));
        }
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        let clock = RingClock::new(Arc::new(At(1_000_000)));
        assert_eq!((clock.wall(), clock.age(2_000_000)), (1_000_000, Some(Duration::ZERO)));
        clock.note_at_least(900_000);
        assert_eq!(clock.offset(), 0);
        clock.note_at_least(2_000_000);
        assert_eq!((clock.wall(), clock.offset(), clock.host_wall()), (2_000_000, 1_000_000, 1_000_000));
    }

    #[test]
    fn an_answer_that_agrees_with_the_clock_changes_nothing() {
        let clock = RingClock::new(Arc::new(At(50_000)));
        clock.note(49_000, 49_100, 51_000);
        assert_eq!((clock.wall(), clock.on_host(50_000)), (50_000, 50_000));
        clock.note(40_000, 49_100, 51_000);
        assert_eq!((clock.wall(), clock.on_host(41_899)), (50_000 - 8_101, 50_000));
        clock.note(90_000, 49_100, 51_000);
        assert_eq!(clock.wall(), 50_000 + 39_000);
    }
}
