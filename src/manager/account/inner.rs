//! What all files of the manager share: its parts, its locks, its snapshot, and its events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};

use super::engine::Sharing;
use super::pending::Slot;
use super::snapshot::Snapshot;
use super::stored::Stored;
use crate::journal::state::State;
use crate::journal::{Guard, Notice};
use crate::manager::activity::Write;
use crate::manager::clock::Clock;
use crate::manager::events::{Event, Level};
use crate::manager::parts::{Parts, Settings};
use crate::manager::steps::Logins;
use crate::mirror::{Allowance, Turns};
use crate::shared::CALL_LIMIT;
use crate::task::BoxFuture;
use crate::{Error, ErrorCode, Result, Secret, task};

/// The shared part of a manager.
pub(in crate::manager) struct Inner {
    pub(in crate::manager) parts: Parts,
    pub(in crate::manager) settings: Settings,
    snapshot: Mutex<Snapshot>,
    /// Locked while the snapshot changes and the listener gets the events of that.
    telling: Mutex<()>,
    /// Lets one task of this process enter the store at a time, and keeps a state that could not be written.
    pub(super) entry: tokio::sync::Mutex<Slot>,
    pub(in crate::manager) logins: Logins,
    /// Locked during a change that a caller asks for: its token, its push credentials, a logout.
    pub(in crate::manager) edits: Arc<tokio::sync::Mutex<()>>,
    /// Locked while the mirror is read and written.
    pub(in crate::manager) following: tokio::sync::Mutex<()>,
    /// The order of the disk calls for a mirror that is a file.
    pub(in crate::manager) at_place: Turns,
    /// Notifies waiting tasks of each change of the snapshot.
    pub(in crate::manager) changed: Arc<Notify>,
    /// For tasks that [`Inner::update`] begins.
    pub(in crate::manager) me: Weak<Inner>,
    pub(super) hooks: Hooks,
}

/// Functions of the files above `account/` that are called after a change. They are injected, so that this file does not depend on
/// those.
#[derive(Clone, Copy)]
pub(in crate::manager) struct Hooks {
    /// Updates the mirror.
    pub(in crate::manager) sync_mirror: fn(Arc<Inner>, Arc<Allowance>) -> BoxFuture<'static, ()>,
    /// Begins to look for the login of another process, if one is needed.
    pub(in crate::manager) watch_for_login: fn(&Inner),
    /// Begins to bring what only the spool has to the shared store.
    pub(in crate::manager) keep_sharing: fn(&Inner),
}

impl Inner {
    pub(in crate::manager) fn new(parts: Parts, settings: Settings, snapshot: Snapshot, hooks: Hooks) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            parts,
            settings,
            snapshot: Mutex::new(snapshot),
            telling: Mutex::new(()),
            entry: tokio::sync::Mutex::new(None),
            logins: Logins::default(),
            edits: Arc::default(),
            following: tokio::sync::Mutex::new(()),
            at_place: Turns::default(),
            changed: Arc::new(Notify::new()),
            me: Weak::clone(me),
            hooks,
        })
    }

    /// The shared store, if the account is kept in one.
    pub(in crate::manager) fn sharing(&self) -> Option<&Sharing> {
        self.parts.shared.as_ref()?.sharing.as_deref()
    }

    /// Whether what is written outlives the process.
    pub(in crate::manager) fn is_durable(&self) -> bool {
        self.sharing().is_some() || self.parts.store.is_durable()
    }

    pub(in crate::manager) fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::manager) fn log(&self, level: Level, message: impl Into<String>) {
        self.parts.listener.on_event(Event::Log(level, message.into()));
    }

    /// Changes the snapshot, and sends the events of that change.
    pub(in crate::manager) fn update<T>(&self, change: impl FnOnce(&mut Snapshot, &dyn Clock) -> T) -> T {
        let clock = self.parts.clock.as_ref();
        // The events of two changes are sent in the order of the changes.
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
        let is_logout = self.sharing().is_some() && state.family.is_none() && state.logged_out_at.is_some();
        self.update(
            |snapshot, clock| {
                if is_logout { snapshot.adopt_logout(state, clock) } else { snapshot.adopt(state, clock) }
            },
        );
    }

    /// The hardware id of requests. It is decided once, and stored.
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

    pub(in crate::manager) fn log_notices(&self, notices: Vec<Notice>) {
        for Notice(sentence) in notices {
            self.log(Level::Warn, sentence);
        }
    }

    /// Logs each notice once: the way in which a file has to be written does not change from one rotation to the next.
    pub(in crate::manager) fn log_once(&self, mut notices: Vec<Notice>) {
        let mut snapshot = self.snapshot();
        notices.retain(|notice| !snapshot.heard.logged.contains(notice));
        snapshot.heard.logged.extend(notices.iter().cloned());
        drop(snapshot);
        self.log_notices(notices);
    }

    /// Waits, unless the manager is being closed. Returns whether it waited to the end.
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
                biased;
                () = &mut sleep => return true,
                () = &mut changed => changed.set(self.changed.notified()),
            }
        }
    }

    /// Waits until the manager is being closed.
    pub(super) async fn closes(&self) {
        while self.pause(CALL_LIMIT).await {}
    }

    /// Fails with `CLOSED` if the manager is closing.
    pub(in crate::manager) fn check_open(&self) -> Result<()> {
        self.snapshot().check_open()
    }

    /// Takes a place in the queue for a lock, unless the manager is closing. Both are one step, and [`Inner::close`] takes its places in the
    /// same way: a call is ahead of it in the queue, or fails.
    pub(in crate::manager) fn queue_if_open<T: Send + 'static>(
        &self,
        lock: &Arc<tokio::sync::Mutex<T>>,
    ) -> Result<BoxFuture<'static, OwnedMutexGuard<T>>> {
        let snapshot = self.snapshot();
        snapshot.check_open()?;
        Ok(task::queue_for(lock))
    }

    /// Runs work that may wait for a disk on a thread for blocking calls.
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
                // The runtime ends, and with it the process.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Reads the state in the store, without the lock.
    pub(in crate::manager) async fn peek(&self) -> Result<Option<Stored>> {
        let store = Arc::clone(&self.parts.store);
        if store.is_in_memory() {
            return Stored::peek(store.as_ref());
        }
        task::spawn_blocking(move || Stored::peek(store.as_ref())).await.unwrap_or_else(|_| Err(broken()))
    }

    pub(super) async fn release(&self, guard: Box<dyn Guard>) {
        if !self.parts.store.is_in_memory() {
            // The release of the reserved space is a storage call, too.
            let _ = task::spawn_blocking(move || drop(guard)).await;
        }
    }

    /// Notes that an answer is being written, so that the end of the process waits for it. It does not wait for a program's own `save`.
    pub(in crate::manager) fn begin_write(&self) -> Option<Write> {
        (!self.parts.store.needs_the_program()).then(Write::begin)
    }
}

/// The error for a mistake in ring-auth itself. The next call starts from the journal.
pub(in crate::manager) fn broken() -> Error {
    Error::new(
        ErrorCode::Protocol,
        "Something went wrong inside ring-auth. Nothing that was stored is lost; the next call starts afresh. Please report it.",
    )
}
