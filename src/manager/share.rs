//! Writing later what only the spool has: an answer that the shared store did not take at once.

use std::sync::Arc;

use super::account::engine::Sharing;
use super::account::inner::Inner;
use super::policy;
use crate::mirror::Allowance;
use crate::shared::CALL_LIMIT;
use crate::task;

impl Inner {
    /// Starts a task that writes what only the spool has to the store. The task tries again until the store has it.
    pub(super) fn keep_sharing(&self) {
        let (Some(sharing), Some(inner)) = (self.sharing(), self.me.upgrade()) else { return };
        if !sharing.begins_sharing() {
            return;
        }
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                let Some(sharing) = inner.sharing() else { return };
                // `close` tries once by itself.
                if inner.snapshot().is_closing() || inner.share_spooled(&Allowance::new()).await {
                    sharing.ends_sharing();
                    return;
                }
            }
        });
    }

    /// Reads the record in the background of the first call that the spool serves. An earlier process of this host may have died before
    /// it wrote its answer to the store, and other hosts continue without that answer after a lease.
    pub(super) fn look_first(self: &Arc<Self>) {
        if !self.sharing().is_some_and(Sharing::begins_first_look) {
            return;
        }
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            match inner.enter(&Allowance::new()).await {
                Ok(transaction) => {
                    transaction.adopt_read();
                    transaction.leave().await;
                }
                Err(_) => {
                    if let Some(sharing) = inner.sharing() {
                        sharing.misses_first_look();
                    }
                }
            }
        });
    }

    /// Tries once to write what only the spool has to the store. Returns whether the store has it.
    pub(super) async fn share_spooled(self: &Arc<Self>, allowance: &Arc<Allowance>) -> bool {
        let Some(sharing) = self.sharing() else { return true };
        // What the record has is not known before the first look.
        if self.snapshot().is_persisted() && !sharing.is_looking_first() {
            return true;
        }
        match self.enter_although_closing(allowance).await {
            Ok(transaction) => {
                transaction.adopt_read();
                transaction.leave().await;
            }
            Err(_) => return false,
        }
        self.snapshot().is_persisted()
    }

    /// Waits for the last try of a manager that is being closed. With a shared store the wait is limited to the time of one call of the
    /// store, because a try makes several calls. A state that is on no disk is lost with the process: its last try may take the time of
    /// two calls, a load and a commit.
    pub(super) async fn at_the_end<T>(&self, last_try: impl Future<Output = T>) {
        if self.sharing().is_none() {
            last_try.await;
            return;
        }
        let calls = if self.parts.store.is_durable() { 1 } else { 2 };
        tokio::select! {
            biased;
            _ = last_try => {}
            () = self.parts.clock.sleep(CALL_LIMIT * calls) => {}
        }
    }
}
