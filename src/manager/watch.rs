//! Waiting for a login: the manager reads the journal from time to time, because another process may log in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::account::inner::Inner;
use super::account::stored::Stored;
use super::events::Level;
use crate::journal::Stamp;
use crate::mirror::Allowance;
use crate::{Result, task};

/// The time between two reads of the journal's metadata while a login is needed.
const BETWEEN_LOOKS: Duration = Duration::from_secs(15);

/// A caller that waits for a login, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(callers: &'a AtomicUsize) -> Self {
        callers.fetch_add(1, Ordering::AcqRel);
        Self(callers)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    /// Begins to look for the login of another process, if a login is needed and no task does so already.
    pub(super) fn watch_for_login(&self) {
        // Without a journal no other process can bring a token.
        if !self.is_durable() || self.parts.store.needs_the_program() {
            return;
        }
        {
            let mut snapshot = self.snapshot();
            if !self.is_login_awaited()
                || snapshot.is_closing()
                || snapshot.login.is_watched
                || snapshot.has_usable_token()
            {
                return;
            }
            snapshot.login.is_watched = true;
        }
        let (weak, clock) = (self.me.clone(), Arc::clone(&self.parts.clock));
        task::spawn(&self.parts.runtime, async move {
            let mut seen = None;
            loop {
                clock.sleep(BETWEEN_LOOKS).await;
                // A manager that its program dropped is not kept alive by this task.
                let Some(inner) = weak.upgrade() else { return };
                {
                    let mut snapshot = inner.snapshot();
                    if snapshot.is_closing() || snapshot.has_usable_token() || !inner.is_login_awaited() {
                        snapshot.login.is_watched = false;
                        return;
                    }
                }
                inner.look_for_login(&mut seen).await;
            }
        });
    }

    /// Whether to look for a login: an engine is asked only for an account that somebody waits for.
    fn is_login_awaited(&self) -> bool {
        self.sharing().is_none_or(|sharing| self.settings.auto_refresh || sharing.waiting.load(Ordering::Acquire) > 0)
    }

    /// Takes over the token of a login that another process has stored. Reads the journal only if its metadata changed.
    async fn look_for_login(self: &Arc<Self>, seen: &mut Option<Stamp>) {
        if self.sharing().is_some() {
            if self.snapshot().flight.is_none()
                && let Ok(transaction) = self.enter(&Allowance::new()).await
            {
                transaction.adopt_read();
                transaction.leave().await;
            }
            return;
        }
        let (store, before) = (Arc::clone(&self.parts.store), seen.clone());
        let looked = task::spawn_blocking(move || {
            let stamp = store.stamp()?;
            (Some(&stamp) != before.as_ref()).then(|| (stamp, Stored::peek(store.as_ref())))
        });
        // If it cannot be read now, it is read again at the next look.
        let Ok(Some((stamp, Ok(state)))) = looked.await else { return };
        *seen = Some(stamp);
        let Some(state) = state.filter(|state| state.family.is_some() && !state.is_dead() && state.is_at_home()) else {
            return;
        };
        let adopted = self.update(|snapshot, clock| {
            let is_free = snapshot.flight.is_none() && snapshot.offered.given.is_none() && !snapshot.is_closing();
            let adopts = is_free && !snapshot.has_usable_token() && snapshot.ahead_of(&state).is_none();
            if adopts {
                snapshot.adopt(&state, clock);
            }
            adopts
        });
        if adopted {
            self.log(Level::Info, "Another process has logged in: its refresh token is used from now on.");
        } else {
            *seen = None;
        }
    }

    pub(super) async fn wait_for_login(self: &Arc<Self>) -> Result<()> {
        let _waiting = self.sharing().map(|sharing| Waiting::new(&sharing.waiting));
        self.watch_for_login();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // After this call no change is missed.
            changed.as_mut().enable();
            {
                let snapshot = self.snapshot();
                snapshot.check_open()?;
                if snapshot.has_usable_token() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }
}
