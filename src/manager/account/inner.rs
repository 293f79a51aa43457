//! What everything in a manager stands on: its parts, its snapshot, and the way to tell what changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::pending::Slot;
use super::snapshot::Snapshot;
use super::stored::Stored;
use crate::journal::state::State;
use crate::journal::{Guard, Notice};
use crate::manager::activity::Write;
use crate::manager::clock::Clock;
use crate::manager::events::{Event, Level};
use crate::manager::parts::{Parts, Settings};
use crate::manager::steps::{UnderWay, Waiting};
use crate::mirror::{Allowance, Turns};
use crate::task::BoxFuture;
use crate::{Error, ErrorCode, Result, Secret, task};

/// What all rooms of a manager share.
pub(in crate::manager) struct Inner {
    pub(in crate::manager) parts: Parts,
    pub(in crate::manager) settings: Settings,
    snapshot: Mutex<Snapshot>,
    /// Held while the listener is told.
    telling: Mutex<()>,
    /// Serialises what enters the store within this process, and keeps what could not be written.
    pub(super) entry: tokio::sync::Mutex<Slot>,
    pub(in crate::manager) login: tokio::sync::Mutex<Option<Box<Waiting>>>,
    /// The step of a login that was asked for last, for whoever asks for the same.
    pub(in crate::manager) asked: Mutex<Option<Box<UnderWay>>>,
    /// Held while the mirror is looked into and written.
    pub(in crate::manager) following: tokio::sync::Mutex<()>,
    /// Whose turn it is where a mirror lies that is a place.
    pub(in crate::manager) at_place: Turns,
    /// Rung when something changed that a waiting task may care about.
    pub(in crate::manager) changed: Arc<Notify>,
    /// For tasks that [`Inner::update`] begins.
    pub(in crate::manager) me: Weak<Inner>,
    pub(super) hooks: Hooks,
}

/// What the rooms above do when something becomes known. It is given, so that nothing here depends on them.
#[derive(Clone, Copy)]
pub(in crate::manager) struct Hooks {
    /// Brings the mirror up to date.
    pub(in crate::manager) sync_mirror: fn(Arc<Inner>, Arc<Allowance>) -> BoxFuture<'static, ()>,
    /// Begins to look for the login of another process, if one is needed.
    pub(in crate::manager) watch_for_login: fn(&Inner),
}

impl Inner {
    pub(in crate::manager) fn new(parts: Parts, settings: Settings, snapshot: Snapshot, hooks: Hooks) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            parts,
            settings,
            snapshot: Mutex::new(snapshot),
            telling: Mutex::new(()),
            entry: tokio::sync::Mutex::new(None),
            login: tokio::sync::Mutex::new(None),
            asked: Mutex::new(None),
            following: tokio::sync::Mutex::new(()),
            at_place: Turns::default(),
            changed: Arc::new(Notify::new()),
            me: Weak::clone(me),
            hooks,
        })
    }

    pub(in crate::manager) fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::manager) fn log(&self, level: Level, message: impl Into<String>) {
        self.parts.listener.on_event(Event::Log(level, message.into()));
    }

    /// Changes the snapshot, and tells the listener what that changed.
    pub(in crate::manager) fn update<T>(&self, change: impl FnOnce(&mut Snapshot, &dyn Clock) -> T) -> T {
        let clock = self.parts.clock.as_ref();
        // Two that change it at the same time are heard of in the order in which they did.
        let _in_order = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, events) = {
            let mut snapshot = self.snapshot();
            let changed = change(&mut snapshot, clock);
            (changed, snapshot.news(clock))
        };
        for event in events {
            self.parts.listener.on_event(event);
        }
        self.changed.notify_waiters();
        (self.hooks.watch_for_login)(self);
        changed
    }

    pub(in crate::manager) fn announce_newer(&self, old: Secret) {
        self.update(|snapshot, _| snapshot.announce(old));
    }

    pub(super) fn adopt(&self, state: &Stored) {
        self.update(|snapshot, clock| snapshot.adopt(state, clock));
    }

    /// The id that requests are made with: decided once, and kept.
    pub(in crate::manager) async fn decide_hardware_id(&self, state: &State) -> Result<String> {
        let of_token = state.current().and_then(|stored| stored.token.hardware_id()).map(str::to_owned);
        let known = of_token
            .or_else(|| state.hardware_id.clone())
            .or_else(|| self.settings.system_id.as_deref().map(crate::hardware_id::from_system_id));
        match known {
            Some(known) => Ok(known),
            None => crate::hardware_id::of_machine().await,
        }
    }

    pub(in crate::manager) fn tell(&self, notices: Vec<Notice>) {
        for Notice(sentence) in notices {
            self.log(Level::Warn, sentence);
        }
    }

    /// Each sentence once: how a file has to be written does not change from one rotation to the next.
    pub(in crate::manager) fn tell_once(&self, mut notices: Vec<Notice>) {
        let mut snapshot = self.snapshot();
        notices.retain(|notice| !snapshot.heard.told.contains(notice));
        snapshot.heard.told.extend(notices.iter().cloned());
        drop(snapshot);
        self.tell(notices);
    }

    /// Waits, unless the manager is being closed. Says whether it waited.
    pub(in crate::manager) async fn pause(&self, wait: Duration) -> bool {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        let sleep = self.parts.clock.sleep(wait);
        tokio::pin!(sleep);
        loop {
            if self.snapshot().is_closing() {
                return false;
            }
            tokio::select! {
                () = &mut sleep => return true,
                () = &mut changed => changed.set(self.changed.notified()),
            }
        }
    }

    /// What a call is answered with once the manager is closing.
    pub(in crate::manager) fn check_open(&self) -> Result<()> {
        self.snapshot().check_open()
    }

    /// Does it in a task of its own, so that a caller who goes away does not leave it half done.
    pub(in crate::manager) async fn detached<T, F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.check_open()?;
        task::spawn(&self.parts.runtime, work(Arc::clone(self))).await.unwrap_or_else(|_| Err(broken()))
    }

    /// Runs what may wait for a disk where that stops nobody else.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        mut guard: Box<dyn Guard>,
        work: impl FnOnce(&mut Box<dyn Guard>) -> T + Send + 'static,
    ) -> (Box<dyn Guard>, T) {
        if self.parts.store.is_in_memory() {
            let done = work(&mut guard);
            return (guard, done);
        }
        let task = task::spawn_blocking(move || {
            let done = work(&mut guard);
            (guard, done)
        });
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going, and with it the process.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// What is kept now, without the lock.
    pub(in crate::manager) async fn peek(&self) -> Result<Option<Stored>> {
        let store = Arc::clone(&self.parts.store);
        if store.is_in_memory() {
            return Stored::peek(store.as_ref());
        }
        task::spawn_blocking(move || Stored::peek(store.as_ref())).await.unwrap_or_else(|_| Err(broken()))
    }

    pub(super) async fn release(&self, guard: Box<dyn Guard>) {
        if !self.parts.store.is_in_memory() {
            // Giving the room back is a storage call as well.
            let _ = task::spawn_blocking(move || drop(guard)).await;
        }
    }

    /// An answer is on its way to where it is kept. What the program itself has to write is not waited for at its end.
    pub(in crate::manager) fn begin_write(&self) -> Option<Write> {
        (!self.parts.store.needs_the_program()).then(Write::begin)
    }
}

/// For what only a mistake of our own can cause; the next call starts from the journal.
pub(in crate::manager) fn broken() -> Error {
    Error::new(
        ErrorCode::Protocol,
        "Something went wrong inside ring-auth. Nothing that was stored is lost; the next call starts afresh. Please report it.",
    )
}
