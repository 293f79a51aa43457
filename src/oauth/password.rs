//! The legacy login: the password grant.

use super::{CLIENT_ID, GrantKind, RingOauth, SCOPE, TokenAnswer, WireError};
use crate::Secret;

impl RingOauth {
    /// Sends e-mail and password. Without a code, this makes Ring send one, so ring-auth does not repeat it by itself.
    /// The code must be valid in a header.
    pub(super) async fn password_grant(
        &self,
        email: &str,
        password: &Secret,
        hardware_id: &str,
        code: Option<&Secret>,
    ) -> Result<TokenAnswer, WireError> {
        let fields = [
            ("grant_type", "password"),
            ("username", email),
            ("password", password.expose()),
            ("client_id", CLIENT_ID),
            ("scope", SCOPE),
        ];
        self.token(GrantKind::Password, &fields, hardware_id, code.map_or("", Secret::expose)).await
    }
}
