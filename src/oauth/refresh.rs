//! The refresh grant, which exchanges a refresh token for the next one.

use std::sync::Arc;

use super::{
    CLIENT_ID, Endpoints, Grant, GrantKind, Login, LoginRequest, OauthClient, RingOauth, SCOPE, TOKEN_PATH,
    TokenAnswer, WireError,
};
use crate::task::BoxFuture;
use crate::{Error, ErrorCode, Result, Secret};

impl OauthClient for RingOauth {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a Secret,
        hardware_id: &'a str,
    ) -> BoxFuture<'a, Result<Grant, WireError>> {
        Box::pin(async move {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.expose()),
                ("client_id", CLIENT_ID),
                ("scope", SCOPE),
            ];
            match self.token(GrantKind::RefreshToken, &fields, hardware_id, "").await? {
                TokenAnswer::Granted(grant) => Ok(grant),
                TokenAnswer::CodeNeeded(_) => Err(WireError { error: unasked_code(), ambiguous: true, date: None }),
            }
        })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        let url = self.endpoints.oauth.url(TOKEN_PATH);
        Box::pin(async move { self.http.prepare(&url).await.map_err(|failure| failure.to_error()) })
    }

    fn login(self: Arc<Self>, request: LoginRequest) -> Login {
        Login::new(self, request)
    }

    fn endpoints(&self) -> &Endpoints {
        Self::endpoints(self)
    }

    fn user_agent(&self) -> &str {
        Self::user_agent(self)
    }
}

/// The error if Ring asks for a code for a grant that needs none. [`classify`](super::classify()) never returns
/// [`TokenAnswer::CodeNeeded`] for these grants, but the types cannot express that.
pub(super) fn unasked_code() -> Error {
    Error::new(ErrorCode::Protocol, "Ring asked for a code although no login is under way. Try again later.")
}
