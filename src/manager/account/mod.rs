//! What is kept of one account, what is known of it, and the only ways to change either.

pub(super) mod enter;
pub(super) mod flight;
pub(super) mod inner;
mod look;
pub(super) mod mirror_sync;
mod pending;
pub(super) mod snapshot;
pub(super) mod stored;
pub(super) mod transaction;
