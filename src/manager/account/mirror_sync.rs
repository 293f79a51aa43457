//! The state of the mirror: whether it is behind the journal, and when it is read again.

use crate::Error;
use crate::pasted::Flaw;

/// What is known of the mirror.
#[derive(Default)]
pub(in crate::manager) struct MirrorSync {
    /// The problem with the mirror, until it is solved.
    pub(in crate::manager) problem: Option<Problem>,
    /// The reason why the text in the mirror is no token, if it is none.
    pub(in crate::manager) flaw_shown: Option<Flaw>,
    pub(in crate::manager) first_look: FirstLook,
    /// Whether the mirror may show another text than the newest token.
    pub(in crate::manager) due: bool,
    /// Whether the last update wrote the mirror, and the mirror was not read since.
    pub(in crate::manager) written: bool,
    pub(in crate::manager) looks: Looks,
}

/// A problem with the mirror.
pub(in crate::manager) struct Problem {
    pub(in crate::manager) error: Error,
    /// Whether the mirror cannot be read: then a read that succeeds solves the problem.
    pub(in crate::manager) is_unreadable: bool,
}

/// Whether the mirror was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::manager) enum FirstLook {
    /// It was read, or there is none.
    #[default]
    Done,
    /// It was not read yet, because only the program's own code can read it.
    Pending,
}

/// The reads of the mirror that no change of the journal causes.
#[derive(Default)]
pub(in crate::manager) struct Looks {
    /// How many more such reads there may be.
    pub(in crate::manager) left: u32,
    /// Whether such a read is scheduled.
    pub(in crate::manager) to_come: bool,
    /// Whether a task waits for a slow call already, to update the mirror after it.
    pub(in crate::manager) waits: bool,
}

impl MirrorSync {
    /// Notes that the mirror may show another text than the newest token.
    pub(in crate::manager) fn wake(&mut self) {
        self.due = true;
    }

    /// The error of the problem, if there is one.
    pub(in crate::manager) fn error(&self) -> Option<&Error> {
        self.problem.as_ref().map(|problem| &problem.error)
    }

    /// Whether the mirror was never read.
    pub(in crate::manager) fn is_unread(&self) -> bool {
        self.first_look == FirstLook::Pending
    }

    /// Notes that the mirror was read. Returns whether that was the first time.
    pub(in crate::manager) fn was_read(&mut self) -> bool {
        self.problem.take_if(|problem| problem.is_unreadable);
        std::mem::take(&mut self.first_look) == FirstLook::Pending
    }

    /// Notes that the mirror could not be read.
    pub(in crate::manager) fn could_not_be_read(&mut self) {
        self.due = true;
        if let Some(problem) = &mut self.problem {
            problem.is_unreadable = true;
        }
    }

    /// Notes that the mirror shows what it should.
    pub(in crate::manager) fn is_right(&mut self, written: bool) {
        self.problem = None;
        self.written = written;
    }

    /// Schedules one of the reads that are left, unless one is scheduled already. Returns whether it did.
    pub(in crate::manager) fn takes_look(&mut self) -> bool {
        let takes = !self.looks.to_come && self.looks.left > 0;
        if takes {
            self.looks.left -= 1;
            self.looks.to_come = true;
        }
        takes
    }

    /// Cancels scheduled reads. Returns whether the mirror has to be updated before the manager is closed.
    pub(in crate::manager) fn ends(&mut self) -> bool {
        let looks = std::mem::take(&mut self.looks);
        self.looks.waits = looks.waits;
        self.due || looks.to_come || self.written
    }
}
