//! ring-auth: gets a Ring refresh token, keeps it alive through every rotation, and never loses it.
//!
//! Ring's refresh tokens work once. Each refresh answers with a new one, and a program that loses that answer is locked out
//! until the user logs in again. So the manager writes first and uses afterwards: see `docs/architecture.md`.

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod error;
pub mod files;
pub mod hardware_id;
pub mod http;
pub mod journal;
pub mod location;
mod looks;
pub mod manager;
pub mod mirror;
pub mod oauth;
pub mod pasted;
pub mod secret;
pub mod shared;
mod task;
pub mod token;
pub mod totp;

pub use error::{Error, ErrorCode, Result};
pub use secret::Secret;
pub use task::{BLOCKING_THREADS, BoxFuture};
