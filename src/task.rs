//! Tasks of one type only: for each other type of future that the runtime is given, all that makes it a task is compiled once
//! more, and that for both of its schedulers.

use std::any::Any;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

type Done = Box<dyn Any + Send>;

/// A task that was begun. It goes on where this is dropped, and its panic is the error of whoever waits for it.
pub(crate) struct Task<T> {
    handle: JoinHandle<Done>,
    gives: PhantomData<fn() -> T>,
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = ready!(Pin::new(&mut self.handle).poll(context))?;
        match done.downcast() {
            Ok(done) => Poll::Ready(Ok(*done)),
            Err(_) => unreachable!("a task gives what its work gave"),
        }
    }
}

/// Begins what waits for sockets, clocks and locks.
pub(crate) fn spawn<T: Send + 'static>(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    // Boxed by itself first: a future within another is moved, and lies there twice.
    let work = Box::pin(work);
    let work: Pin<Box<dyn Future<Output = Done> + Send>> = Box::pin(async move { Box::new(work.await) as Done });
    Task { handle: runtime.spawn(work), gives: PhantomData }
}

/// Begins what waits for a disk, on a thread for that. Only from within a task.
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let work: Box<dyn FnOnce() -> Done + Send> = Box::new(move || Box::new(work()) as Done);
    Task { handle: tokio::task::spawn_blocking(work), gives: PhantomData }
}

/// Begins what may wait for a disk for ever, on a thread of its own, which nobody waits for: the threads for what has to reach the disk
/// are few, and a mount that has gone would take them one after the other.
pub(crate) fn apart(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("ring-auth-file".to_owned()).spawn(work).map(drop)
}
