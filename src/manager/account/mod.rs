//! The state of one account, in the store and in memory, and the only ways to change it.

pub(super) mod engine;
pub(super) mod enter;
pub(super) mod flight;
pub(super) mod inner;
mod look;
pub(super) mod mirror_sync;
mod pending;
pub(super) mod sharing;
pub(super) mod snapshot;
pub(super) mod stored;
pub(super) mod transaction;
