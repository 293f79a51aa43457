//! Counters of a manager.

use crate::ErrorCode;
use crate::journal::state::Millis;

/// Counters of a manager since it was made, and when its account last worked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Refreshes to which Ring gave this manager new tokens.
    pub rotations: u64,
    /// Refreshes that needed no request, because another process or manager had rotated.
    pub adopted: u64,
    /// Refreshes that continued one during which a process was stopped.
    pub takeovers: u64,
    /// Requests that failed, by error code.
    pub failures: Vec<(ErrorCode, u64)>,
    /// When Ring last accepted a token or a login of the account, from any process.
    pub last_success_at: Option<Millis>,
}

impl Stats {
    pub(super) fn count_failure(&mut self, code: ErrorCode) {
        match self.failures.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((code, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_their_code() {
        let mut stats = Stats::default();
        for code in [ErrorCode::Network, ErrorCode::Timeout, ErrorCode::Network] {
            stats.count_failure(code);
        }
        assert_eq!(stats.failures, [(ErrorCode::Network, 2), (ErrorCode::Timeout, 1)]);
    }
}
