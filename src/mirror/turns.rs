//! Waiting for what may never end: a program's own code, a mount that has gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

/// How long one call of the manager waits for such things, in all.
const LIMIT: Duration = Duration::from_secs(10);

/// How long one call of the manager may still wait for what may never end.
#[derive(Debug)]
pub struct Allowance {
    left: Mutex<Duration>,
}

impl Allowance {
    /// Ten seconds.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(LIMIT) })
    }

    /// Whether there is none left.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Waits for `work`, and no longer than is allowed. `None` if it took longer.
    pub async fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.wait_at_most(LIMIT, work).await
    }

    async fn wait_at_most<T>(&self, at_most: Duration, work: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let limit = at_most.min(*self.left());
        let done = timeout(limit, work).await.ok();
        let mut left = self.left();
        *left = left.saturating_sub(began.elapsed());
        done
    }

    fn left(&self) -> MutexGuard<'_, Duration> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets one piece of work after the other be done, each when the one before it has ended, however late that is.
#[derive(Debug, Default, Clone)]
pub struct Turns {
    lock: Arc<tokio::sync::Mutex<()>>,
    running: Arc<Mutex<Option<Running>>>,
}

/// The work whose turn it is.
#[derive(Debug, Clone, Copy)]
struct Running {
    name: &'static str,
    since: Instant,
}

/// The turn, until this is dropped: by whoever does the work, when it has ended.
#[derive(Debug)]
pub struct Turn {
    running: Arc<Mutex<Option<Running>>>,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the turn of the work of that name. Work that has had its time and has not ended may never do so: nobody
    /// waits for that any more.
    ///
    /// # Errors
    ///
    /// The name of the work that is still being done.
    pub async fn take(&self, name: &'static str, allowance: &Allowance) -> Result<Turn, &'static str> {
        let held = if let Ok(held) = Arc::clone(&self.lock).try_lock_owned() {
            held
        } else {
            let running = *slot(&self.running);
            let left = |running: Running| (running.since + LIMIT).saturating_duration_since(Instant::now());
            let waited = allowance.wait_at_most(running.map_or(LIMIT, left), Arc::clone(&self.lock).lock_owned()).await;
            waited.ok_or_else(|| running.map_or(name, |running| running.name))?
        };
        let turn = Turn { running: Arc::clone(&self.running), _held: held };
        turn.begins(name);
        Ok(turn)
    }

    /// Whether something is being done.
    pub fn is_taken(&self) -> bool {
        self.lock.try_lock().is_err()
    }

    /// Waits until what is being done has ended, if it does.
    pub async fn free(&self) {
        drop(self.lock.lock().await);
    }
}

impl Turn {
    /// Other work is done in the same turn, and has its time from now on.
    pub(super) fn begins(&self, name: &'static str) {
        *slot(&self.running) = Some(Running { name, since: Instant::now() });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *slot(&self.running) = None;
    }
}

fn slot(running: &Mutex<Option<Running>>) -> MutexGuard<'_, Option<Running>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
