//! Changes of the journal that need no request to Ring.

use std::future;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::account::inner::{Inner, broken};
use super::account::transaction::KeptIn;
use super::events::Level;
use crate::journal::Origin;
use crate::journal::merge::Outcome;
use crate::journal::state::Known;
use crate::mirror::Allowance;
use crate::task::BoxFuture;
use crate::token::RefreshToken;
use crate::{Error, Result, task};

/// The turn of a change. It ends when the store has the change: no other one waits until the mirrors show it.
type Turn = OwnedMutexGuard<()>;

impl Inner {
    pub(super) fn set_refresh_token(self: &Arc<Self>, token: RefreshToken) -> BoxFuture<'static, Result<()>> {
        let edit = self.edit(async move |inner: Arc<Self>, turn: Turn| {
            let allowance = Allowance::new();
            let mut transaction = inner.enter_although_closing(&allowance).await?;
            match transaction.state().recognise(token.fingerprint()) {
                Known::Unknown => {
                    if transaction.accept(&token, Origin::Given).await? == KeptIn::Elsewhere {
                        transaction.leave().await;
                        // Mirrors that show one family have one journal. The journal that has the token is found by what the
                        // mirror shows.
                        inner.show(&token).await?;
                        transaction = inner.enter_although_closing(&allowance).await?;
                    }
                }
                Known::Fallback => {}
                Known::Current => {
                    if !transaction.state().clone().rewrap(&token) {
                        transaction.leave().await;
                        return Ok(());
                    }
                }
                Known::Former | Known::Rejected => {
                    transaction.adopt_read();
                    transaction.leave().await;
                    inner.log(Level::Warn, "The refresh token that was set is an old copy, so the newer one is kept.");
                    return Ok(());
                }
            }
            let at = inner.parts.clock.wall();
            transaction.commit(&Outcome::Given { token, at }).await;
            drop(turn);
            inner.sync_mirror(&allowance).await;
            Ok(())
        });
        self.outdate_refresh();
        edit
    }

    pub(super) fn set_push_credentials(self: &Arc<Self>, credentials: Option<Value>) -> BoxFuture<'static, Result<()>> {
        self.edit(async move |inner: Arc<Self>, turn: Turn| {
            let allowance = Allowance::new();
            let transaction = inner.enter_although_closing(&allowance).await?;
            let Some(stored) = transaction.state().current() else {
                transaction.leave().await;
                return Err(Error::new(
                    crate::ErrorCode::NoRefreshToken,
                    "Push credentials are kept in the refresh token, and there is none yet. Log in first.",
                ));
            };
            let token = stored.token.with_push_credentials(credentials.clone());
            if token == stored.token {
                transaction.leave().await;
                return Ok(());
            }
            if !token.survives_wrapping() {
                transaction.leave().await;
                return Err(Error::invalid(
                    "The push credentials (pnc) are too large or nested too deeply: the refresh token that they are kept in could not be read again.",
                ));
            }
            transaction.commit(&Outcome::PushCredentials(credentials)).await;
            drop(turn);
            inner.sync_mirror(&allowance).await;
            Ok(())
        })
    }

    pub(super) fn forget(self: &Arc<Self>) -> BoxFuture<'static, Result<()>> {
        let edit = self.edit(async move |inner: Arc<Self>, _turn: Turn| {
            // Another task that uses the mirror ends first, and no task looks into it until it shows no token: without a
            // journal, a token in it would count as pasted.
            let _following = inner.following.lock().await;
            let transaction = inner.enter_although_closing(&Allowance::new()).await?;
            transaction.erase(inner.clear_mirror()).await?
        });
        self.outdate_refresh();
        edit
    }

    /// Keeps later callers from the result of a refresh that began with another token.
    fn outdate_refresh(&self) {
        if let Some(flight) = &mut self.snapshot().flight {
            flight.is_outdated = true;
        }
    }

    /// Makes a change in a task of its own, which continues if the caller is dropped. Changes are made in the order of the calls. [`Inner::close`]
    /// comes after all of them, so a change waits for the store's lock although the manager is closing.
    fn edit<F>(
        self: &Arc<Self>,
        change: impl FnOnce(Arc<Self>, Turn) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<()>>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let turn = match self.queue_if_open(&self.edits) {
            Ok(turn) => turn,
            Err(error) => return Box::pin(future::ready(Err(error))),
        };
        let inner = Arc::clone(self);
        let task = task::spawn(&self.parts.runtime, async move { change(Arc::clone(&inner), turn.await).await });
        Box::pin(async move { task.await.unwrap_or_else(|_| Err(broken())) })
    }
}
