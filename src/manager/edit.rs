//! Changes to what is kept that need no request.

use std::sync::Arc;

use serde_json::Value;

use super::account::inner::Inner;
use super::account::transaction::KeptIn;
use super::events::Level;
use crate::journal::Origin;
use crate::journal::state::{Known, State};
use crate::mirror::Allowance;
use crate::token::RefreshToken;
use crate::{Error, Result};

impl Inner {
    pub(super) async fn set_refresh_token(self: &Arc<Self>, token: RefreshToken) -> Result<()> {
        self.detached(async move |inner: Arc<Self>| {
            let allowance = Allowance::new();
            let mut transaction = inner.enter(&allowance).await?;
            match transaction.state.recognise(token.fingerprint()) {
                Known::Unknown => {
                    if inner.accept(&mut transaction, &token, Origin::Given).await? == KeptIn::Elsewhere {
                        inner.leave(transaction).await;
                        // Mirrors that show one family are one keeper: the journal that has the token is found by what
                        // the mirror shows.
                        inner.show(&token).await?;
                        transaction = inner.enter(&allowance).await?;
                    }
                }
                // Given by a person's own hand, this is no copy that came back by itself.
                Known::Aside => transaction.state.swap_aside(),
                Known::Current => {
                    if !transaction.state.rewrap(&token) {
                        inner.leave(transaction).await;
                        return Ok(());
                    }
                }
                Known::Former | Known::Rejected => {
                    inner.adopt(&transaction.state);
                    inner.leave(transaction).await;
                    inner.log(Level::Warn, "The refresh token that was set is an old copy, so the newer one is kept.");
                    return Ok(());
                }
            }
            let state = inner.commit(transaction).await;
            inner.adopt(&state);
            inner.sync_mirror(&allowance).await;
            Ok(())
        })
        .await
    }

    pub(super) async fn set_push_credentials(self: &Arc<Self>, credentials: Option<Value>) -> Result<()> {
        self.detached(async move |inner: Arc<Self>| {
            let allowance = Allowance::new();
            let mut transaction = inner.enter(&allowance).await?;
            let Some(held) = &transaction.state.current else {
                inner.leave(transaction).await;
                return Err(Error::new(
                    crate::ErrorCode::NoRefreshToken,
                    "Push credentials are kept in the refresh token, and there is none yet. Log in first.",
                ));
            };
            let token = held.token.with_push_credentials(credentials);
            if token == held.token {
                inner.leave(transaction).await;
                return Ok(());
            }
            if !token.survives_wrapping() {
                inner.leave(transaction).await;
                return Err(Error::invalid(
                    "The push credentials (pnc) are too large or nested too deeply: the refresh token that they are kept in could not be read again.",
                ));
            }
            transaction.state.wrap(token);
            let state = inner.commit(transaction).await;
            inner.adopt(&state);
            inner.sync_mirror(&allowance).await;
            Ok(())
        })
        .await
    }

    pub(super) async fn forget(self: &Arc<Self>) -> Result<()> {
        self.detached(async move |inner: Arc<Self>| {
            // Whoever is in the mirror ends first, and nobody looks until it shows nothing: with the journal gone, what it
            // shows would be a token that has just been pasted.
            let _turn = inner.following.lock().await;
            let transaction = inner.enter(&Allowance::new()).await?;
            let issuer = transaction.state.issuer.clone();
            let cleared = inner.erase(transaction).await?;
            inner.update(|snapshot, _| snapshot.given = None);
            inner.adopt(&State::logged_out(issuer, inner.parts.clock.wall()));
            cleared
        })
        .await
    }
}
