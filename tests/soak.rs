//! Runs many thousand rotations with faults, which take years by a simulated clock. No login may be lost, and the
//! memory may not grow.
//!
//! `RING_AUTH_SOAK` sets the number of rotations. `npm run test:soak` sets it to 100 000.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring_auth::BoxFuture;
use ring_auth::ErrorCode;
use ring_auth::files::Disk;
use ring_auth::manager::{Clock, Event, Listener, Manager};
use support::{Chance, Ring};

const ROTATIONS: u32 = 10_000;
/// How many rotations each manager makes before the next one takes over.
const PER_START: u32 = 500;
const LONGER_THAN_ANY_COOL_DOWN: Duration = Duration::from_secs(20 * 60);
/// Bytes by which the memory may grow: the fingerprints of 20 000 tokens, and memory that the allocator keeps.
const FLAT: u64 = 16 * 1024 * 1024;

/// Simulated time. Each sleep advances it instead of waiting.
#[derive(Default)]
struct Compressed {
    passed: AtomicU64,
}

impl Compressed {
    fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

struct CompressedClock(Arc<Compressed>);

impl Clock for CompressedClock {
    fn wall(&self) -> u64 {
        1_800_000_000_000 + self.0.passed.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.passed.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        Box::pin(async move {
            clock.pass(duration);
            tokio::task::yield_now().await;
        })
    }

    fn jitter(&self) -> f64 {
        0.0
    }
}

struct Nobody;

impl Listener for Nobody {
    fn on_event(&self, _event: Event) {}
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn thousands_of_rotations_with_faults_lose_nothing() {
    let rotations = std::env::var("RING_AUTH_SOAK").ok().map_or(ROTATIONS, |number| number.parse().unwrap());
    let ring = Ring::start();
    {
        let mut account = ring.account();
        account.grace = Duration::from_secs(10);
        account.chance = Some(Chance(0x9E37_79B9_7F4A_7C15));
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.json");
    let token = ring.first_token();
    let clock = Arc::new(Compressed::default());
    let open = || -> Manager {
        let clock = Arc::new(CompressedClock(Arc::clone(&clock)));
        let wire = support::wire(&ring.url);
        let token = Some(token.clone());
        support::manager_with_clock(&journal, token, Disk::default(), wire, Arc::new(Nobody), clock)
    };
    let mut errors = BTreeMap::new();
    let began = Instant::now();
    let mut at_start = 0;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        while ring.account().rotations < rotations {
            let manager = open();
            let until = ring.account().rotations + PER_START;
            while ring.account().rotations < until {
                if let Err(error) = manager.refresh(false).await {
                    assert_ne!(error.code(), ErrorCode::RefreshTokenRejected, "the account is lost");
                    *errors.entry(error.code().as_str()).or_insert(0) += 1;
                    clock.pass(LONGER_THAN_ANY_COOL_DOWN);
                }
                clock.pass(Duration::from_secs(3600));
            }
            manager.close().await;
            assert!(manager.status().persisted);
            if at_start == 0 {
                at_start = resident();
            }
        }
    });
    let took = began.elapsed();
    let at_end = resident();
    let account = ring.account();
    println!(
        "soak: {} rotations, {} requests, {:.0} rotations/s, calls that failed: {errors:?}, lost: {}, RSS {} -> {} KiB",
        account.rotations,
        account.requests,
        f64::from(account.rotations) / took.as_secs_f64(),
        account.stale,
        at_start / 1024,
        at_end / 1024
    );
    assert_eq!(account.stale, 0);
    assert!(!account.revoked);
    assert!(account.requests > account.rotations + account.rotations / 20, "there were no faults at all");
    assert!(at_end < at_start + FLAT, "memory grew from {at_start} to {at_end}");
}
