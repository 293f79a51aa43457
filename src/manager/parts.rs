//! What a manager is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::clock::Clock;
use super::events::Listener;
use crate::Secret;
use crate::journal::Store;
use crate::mirror::Follower;
use crate::oauth::{LoginFlow, OauthClient};

/// What a manager is given. It has no way to any of these but this one.
pub struct Parts {
    /// Where the state is kept.
    pub store: Arc<dyn Store>,
    /// Where else the newest token is shown.
    pub mirror: Option<Follower>,
    /// The client of Ring's authentication server.
    pub oauth: Arc<dyn OauthClient>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who hears of what happens.
    pub listener: Arc<dyn Listener>,
    /// Where tasks run.
    pub runtime: Handle,
}

/// How a manager behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The token that the caller had, as it was given; the store's own is used where that is newer.
    pub refresh_token: Option<Secret>,
    /// Whether a text in its place that is no token is refused by the first call, and not at once.
    pub refuses_at_calls: bool,
    /// What the hardware id is derived from where no token has one, as in ring-client-api.
    pub system_id: Option<String>,
    /// The name shown in Ring's Control Center.
    pub device_name: String,
    /// How to log in.
    pub login_flow: LoginFlow,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Whether to refresh ahead of expiry without being asked.
    pub auto_refresh: bool,
}

/// How a device is called in Ring's Control Center, unless it says otherwise.
pub const DEFAULT_DEVICE_NAME: &str = "ring-auth";
