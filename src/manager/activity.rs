//! What the end of a process has to wait for, over all managers of this copy of the library.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

static ACTIVITY: Activity = Activity {
    rotations: Mutex::new(Rotations { next: 0, until: BTreeMap::new() }),
    ended: Notify::const_new(),
    writes: Mutex::new(0),
    written: Condvar::new(),
};

struct Activity {
    rotations: Mutex<Rotations>,
    ended: Notify,
    writes: Mutex<usize>,
    written: Condvar,
}

struct Rotations {
    next: u64,
    until: BTreeMap<u64, Instant>,
}

/// A refresh under way, which keeps its process alive until its deadline.
pub(super) struct Rotation(u64);

impl Rotation {
    pub(super) fn begin(at_most: Duration) -> Self {
        let mut rotations = ACTIVITY.rotations.lock().unwrap_or_else(PoisonError::into_inner);
        let number = rotations.next;
        rotations.next += 1;
        rotations.until.insert(number, Instant::now() + at_most);
        Self(number)
    }
}

impl Drop for Rotation {
    fn drop(&mut self) {
        ACTIVITY.rotations.lock().unwrap_or_else(PoisonError::into_inner).until.remove(&self.0);
        ACTIVITY.ended.notify_waiters();
    }
}

/// An answer that is being written to the disk. Even `process.exit()` waits for it.
pub(super) struct Write(());

impl Write {
    pub(super) fn begin() -> Self {
        *ACTIVITY.writes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        *ACTIVITY.writes.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ACTIVITY.written.notify_all();
    }
}

/// Whether the end of the process should wait for a refresh under way.
pub fn is_busy() -> bool {
    latest_deadline().is_some()
}

/// Waits until no refresh is under way. It waits for each one at most as long as its request may take, and five seconds more.
pub async fn until_idle() {
    loop {
        let ended = ACTIVITY.ended.notified();
        let Some(deadline) = latest_deadline() else { return };
        let left = deadline.saturating_duration_since(Instant::now());
        // If it ended or if its time is over: the loop checks again.
        let _ = tokio::time::timeout(left, ended).await;
    }
}

/// Blocks until every answer that is being written is on the disk, or the time is over.
pub fn wait_for_writes(at_most: Duration) {
    let writes = ACTIVITY.writes.lock().unwrap_or_else(PoisonError::into_inner);
    // A poisoned or timed-out wait ends it, too: the process ends.
    drop(ACTIVITY.written.wait_timeout_while(writes, at_most, |writes| *writes > 0));
}

fn latest_deadline() -> Option<Instant> {
    let rotations = ACTIVITY.rotations.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    rotations.until.values().copied().filter(|deadline| *deadline > now).max()
}

/// Makes each refresh wait in its first step, until the result is dropped.
#[cfg(test)]
pub(super) fn hold_refreshes() -> impl Drop {
    ACTIVITY.rotations.lock().unwrap_or_else(PoisonError::into_inner)
}
