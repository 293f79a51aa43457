//! Tasks of one type: for each other type of future the runtime's code for tasks would be compiled again, for both of its
//! schedulers.
//!
//! Blocking work runs on threads of its own, a few at a time. Work that does not end soon waits for something that may never happen:
//! a dead mount answers, another process ends, the user acts. It is not counted any more, so that no other work waits behind it.

use std::any::Any;
use std::future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::task::{JoinError, JoinHandle, unconstrained};

/// A future that can be held without naming its type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Done = Box<dyn Any + Send>;

/// The number of threads for blocking work of a runtime. Some of them may be stuck.
pub const BLOCKING_THREADS: usize = 512;
/// The number of pieces of blocking work that run at a time, without those that are stuck.
const AT_A_TIME: usize = 32;
/// The time after which work counts as stuck: a storage call takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_millis(250);

static FREE: Semaphore = Semaphore::const_new(AT_A_TIME);

/// A task that was begun. It continues if this is dropped. If it panics, waiting for it is an error.
pub(crate) struct Task<T> {
    handle: JoinHandle<Done>,
    gives: PhantomData<fn() -> T>,
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(undone(ready!(Pin::new(&mut self.handle).poll(context))?)))
    }
}

fn undone<T: 'static>(done: Done) -> T {
    match done.downcast() {
        Ok(done) => *done,
        Err(_) => unreachable!("a task gives what its work gave"),
    }
}

/// Begins a task that waits for sockets, clocks and locks.
pub(crate) fn spawn<T: Send + 'static>(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    // Boxed by itself first: a future within another is moved, and lies there twice.
    let work = Box::pin(work);
    let work: Pin<Box<dyn Future<Output = Done> + Send>> = Box::pin(async move { Box::new(work.await) as Done });
    Task { handle: runtime.spawn(work), gives: PhantomData }
}

/// Takes a place in the queue for a lock at once, so that callers get the lock in the order of their calls. The lock's own future takes
/// its place only when it is polled for the first time, and tasks begin in any order.
///
/// The callers behind this place wait until the result is dropped or was awaited, so pass it to a task.
pub(crate) fn queue_for<T: Send + 'static>(
    lock: &Arc<tokio::sync::Mutex<T>>,
) -> BoxFuture<'static, OwnedMutexGuard<T>> {
    let mut turn = Box::pin(unconstrained(Arc::clone(lock).lock_owned()));
    // No task has to be woken yet: the task that waits for the turn polls this future again, with a waker of its own.
    match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(guard) => Box::pin(future::ready(guard)),
        Poll::Pending => turn,
    }
}

/// Does blocking work on a thread for it: work that waits for a disk, another process or the user. Call it only in a task. Work that has
/// begun continues if this is dropped.
pub(crate) async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let work: Box<dyn FnOnce() -> Done + Send> = Box::new(move || Box::new(work()) as Done);
    block(&FREE, work).await.map(undone)
}

async fn block(free: &Semaphore, work: Box<dyn FnOnce() -> Done + Send>) -> Result<Done, JoinError> {
    // The semaphore is never closed. Without a permit the work is done, too.
    let permit = free.acquire().await.ok();
    let mut work = tokio::task::spawn_blocking(work);
    if let Ok(done) = tokio::time::timeout(STUCK_AFTER, &mut work).await {
        return done;
    }
    drop(permit);
    work.await
}

/// Work that may never end, such as reading a file on a dead mount. Each piece runs on a thread of its own: the threads for storage
/// calls are few, and such work would take them one after the other. Each piece runs once at a time, and all tasks that need it wait
/// for the same run.
pub(crate) struct Apart<K, T>(Mutex<Vec<Piece<K, T>>>);

struct Piece<K, T> {
    key: K,
    since: Instant,
    done: watch::Receiver<Option<T>>,
}

impl<K: Clone + PartialEq + Send, T: Clone + Send + Sync + 'static> Apart<K, T> {
    /// A piece of work that was not begun.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The result of a piece of work; `None` if it has not ended `patience` after it began.
    pub(crate) async fn wait(
        &'static self,
        key: &K,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (since, mut done) = self.begin(key, work)?;
        let left = patience.saturating_sub(since.elapsed());
        let done = tokio::time::timeout(left, done.wait_for(Option::is_some)).await.ok()?;
        done.as_ref().ok().and_then(|done| Option::clone(done))
    }

    fn begin(
        &'static self,
        key: &K,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<(Instant, watch::Receiver<Option<T>>)> {
        let mut pieces = self.pieces();
        // Work that has ended is begun again, also if its thread has panicked.
        pieces.retain(|piece| piece.done.has_changed().is_ok() && piece.done.borrow().is_none());
        if let Some(piece) = pieces.iter().find(|piece| piece.key == *key) {
            return Some((piece.since, piece.done.clone()));
        }
        let (told, done) = watch::channel(None);
        thread::Builder::new()
            .name("ring-auth-file".to_owned())
            .spawn(move || {
                told.send_replace(Some(work()));
            })
            .ok()?;
        let since = Instant::now();
        pieces.push(Piece { key: key.clone(), since, done: done.clone() });
        Some((since, done))
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Piece<K, T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread::sleep;

    use super::*;

    const SOON: Duration = Duration::from_millis(500);
    const LATE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_that_never_ends_is_begun_once_and_waited_for_once() {
        static APART: Apart<&str, usize> = Apart::new();
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let (go, gate) = mpsc::channel::<()>();
        let work = move || {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let _ = gate.recv();
            1
        };
        assert_eq!(APART.wait(&"stuck", SOON, work).await, None);
        let began = Instant::now();
        for _ in 0..50 {
            assert_eq!(APART.wait(&"stuck", SOON, || 2).await, None);
        }
        // If each waited anew, it would be fifty times as long.
        assert!(began.elapsed() < SOON * 40, "who comes later does not wait anew");
        assert_eq!(APART.wait(&"other", LATE, || 3).await, Some(3));
        let (waited, ()) = tokio::join!(APART.wait(&"stuck", LATE, || 2), async { go.send(()).unwrap() });
        assert_eq!(waited, Some(1), "who waits gets what the first has begun");
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
        // What has ended is begun anew.
        while APART.wait(&"stuck", LATE, || 4).await != Some(4) {}
    }

    #[tokio::test]
    async fn work_that_panics_gives_nothing_and_is_begun_anew() {
        static APART: Apart<(), usize> = Apart::new();
        assert_eq!(APART.wait(&(), LATE, || panic!("on purpose")).await, None);
        assert_eq!(APART.wait(&(), LATE, || 1).await, Some(1));
    }

    /// As the addon makes it.
    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(BLOCKING_THREADS).enable_all().build().unwrap()
    }

    /// As many as there are, and not those that other tests need.
    static PERMITS: Semaphore = Semaphore::const_new(AT_A_TIME);

    fn begin(runtime: &Handle, work: impl FnOnce() -> bool + Send + 'static) -> Task<Result<Done, JoinError>> {
        spawn(runtime, block(&PERMITS, Box::new(move || Box::new(work()) as Done)))
    }

    #[test]
    fn work_that_is_stuck_does_not_hold_up_other_work() {
        let runtime = runtime();
        let over = Arc::new(AtomicBool::new(false));
        let stuck: Vec<_> = (0..AT_A_TIME * 3)
            .map(|_| {
                let over = Arc::clone(&over);
                begin(runtime.handle(), move || {
                    while !over.load(Ordering::SeqCst) {
                        sleep(Duration::from_millis(5));
                    }
                    true
                })
            })
            .collect();
        let other = begin(runtime.handle(), || true);
        let waited = Duration::from_secs(60);
        let done = runtime.block_on(async { tokio::time::timeout(waited, other).await });
        over.store(true, Ordering::SeqCst);
        done.unwrap().unwrap().unwrap();
        for stuck in stuck {
            runtime.block_on(stuck).unwrap().unwrap();
        }
    }

    #[test]
    fn a_panic_is_the_error_of_who_waits() {
        let runtime = runtime();
        let done: Task<Result<(), JoinError>> = spawn(runtime.handle(), spawn_blocking(|| panic!("as asked")));
        assert!(runtime.block_on(done).unwrap().unwrap_err().is_panic());
    }
}
