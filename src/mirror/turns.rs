//! Limits for waiting for work that may never end: a program's own code, a mount that does not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

/// How long one call of the manager waits for such work, in all.
const LIMIT: Duration = Duration::from_secs(10);

/// How long one call of the manager may still wait for work that may never end.
#[derive(Debug)]
pub struct Allowance {
    left: Mutex<Duration>,
}

impl Allowance {
    /// A new allowance of ten seconds.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(LIMIT) })
    }

    /// Whether the allowance is used up.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Waits for `work` within the allowance. `None` if it took longer.
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

/// Runs pieces of work one after the other. Each starts when the previous one has ended, however late that is.
#[derive(Debug, Default, Clone)]
pub struct Turns {
    lock: Arc<tokio::sync::Mutex<()>>,
    running: Arc<Mutex<Option<Running>>>,
}

/// The running work.
#[derive(Debug, Clone, Copy)]
struct Running {
    name: &'static str,
    since: Instant,
}

/// The turn. The work drops this value when it has ended.
#[derive(Debug)]
pub struct Turn {
    running: Arc<Mutex<Option<Running>>>,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the turn of the work of that name. Work that has exceeded its time may never end, so it is not waited for any
    /// longer.
    ///
    /// # Errors
    ///
    /// The name of the running work.
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

    /// Whether work is running.
    pub fn is_taken(&self) -> bool {
        self.lock.try_lock().is_err()
    }

    /// Waits until the running work has ended.
    pub async fn free(&self) {
        drop(self.lock.lock().await);
    }
}

impl Turn {
    /// Starts other work in the same turn. Its time begins now.
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
