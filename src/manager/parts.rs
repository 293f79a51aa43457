//! The parts and settings of a manager.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::account::engine::Sharing;
use super::clock::Clock;
use super::events::Listener;
use crate::Secret;
use crate::journal::{Codec, Store};
use crate::mirror::Follower;
use crate::oauth::{LoginFlow, OauthClient};
use crate::shared::SharedStore;

/// The parts of a manager, which are injected.
pub struct Parts {
    /// The store that keeps the state.
    pub store: Arc<dyn Store>,
    /// The mirror that also shows the newest token.
    pub mirror: Option<Follower>,
    /// The client of Ring's authentication server.
    pub oauth: Arc<dyn OauthClient>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The receiver of events.
    pub listener: Arc<dyn Listener>,
    /// The shared store, if the account is kept in one. Then `store` is the spool of this host.
    pub shared: Option<SharedParts>,
    /// The runtime in which tasks run.
    pub runtime: Handle,
}

/// The parts of a manager that are only there with a shared store.
pub struct SharedParts {
    pub(super) engine: Arc<dyn SharedStore>,
    pub(super) codec: Codec,
    /// The shared store as the manager uses it, once the manager is open.
    pub(super) sharing: Option<Box<Sharing>>,
}

impl SharedParts {
    /// The engine, and how the text of the record is written and read.
    pub fn new(engine: Arc<dyn SharedStore>, codec: Codec) -> Self {
        Self { engine, codec, sharing: None }
    }
}

/// The settings of a manager.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The token of the caller, as it was given. If the store's token is newer, that one is used.
    pub refresh_token: Option<Secret>,
    /// Whether the first call, and not the constructor, rejects a `refresh_token` that is no token.
    pub refuses_at_calls: bool,
    /// The text from which the hardware id is derived if no token has one, as in ring-client-api.
    pub system_id: Option<String>,
    /// The name shown in Ring's Control Center.
    pub device_name: String,
    /// The flow of a login.
    pub login_flow: LoginFlow,
    /// The time limit of one request.
    pub request_timeout: Duration,
    /// Whether to refresh ahead of expiry without being asked.
    pub auto_refresh: bool,
}

/// The default for [`Settings::device_name`].
pub const DEFAULT_DEVICE_NAME: &str = "ring-auth";
