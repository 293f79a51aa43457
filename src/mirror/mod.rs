//! Places that show the newest token because people look there. The journal is the truth; these are copies of it.

mod assignments;
mod dotenv;
mod format;
mod homebridge;
mod json;

pub use dotenv::Dotenv;
pub use format::{Format, Introduced, Unfit};
pub use homebridge::Homebridge;
