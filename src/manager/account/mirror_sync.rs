//! How far the mirror is behind the journal, and when it is looked at again.

use crate::Error;
use crate::pasted::Flaw;

/// What is known of the mirror.
#[derive(Default)]
pub(in crate::manager) struct MirrorSync {
    /// What is wrong with it, until it is right again.
    pub(in crate::manager) problem: Option<Problem>,
    /// Why the text in it is no token, if it is none.
    pub(in crate::manager) flaw_shown: Option<Flaw>,
    pub(in crate::manager) first_look: FirstLook,
    /// Whether it may show something else than the newest token.
    pub(in crate::manager) due: bool,
    /// Whether the last look wrote it, and none has come after that.
    pub(in crate::manager) written: bool,
    pub(in crate::manager) looks: Looks,
}

/// What is wrong with the mirror.
pub(in crate::manager) struct Problem {
    pub(in crate::manager) error: Error,
    /// Whether it cannot be read: then a look that succeeds ends the problem.
    pub(in crate::manager) is_unreadable: bool,
}

/// Whether the mirror was looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::manager) enum FirstLook {
    /// It was, or there is none.
    #[default]
    Done,
    /// Not yet, because that takes the program's own code.
    Pending,
}

/// The looks into the mirror that come by themselves.
#[derive(Default)]
pub(in crate::manager) struct Looks {
    /// How many more times the mirror is looked into although nothing happened here.
    pub(in crate::manager) left: u32,
    /// Whether such a look is to come.
    pub(in crate::manager) to_come: bool,
    /// Whether a task is there already that waits for what takes too long, and brings the mirror up to date then.
    pub(in crate::manager) waits: bool,
}

impl MirrorSync {
    /// The mirror may show something else than the newest token now.
    pub(in crate::manager) fn wake(&mut self) {
        self.due = true;
    }

    /// What is wrong, if something is.
    pub(in crate::manager) fn error(&self) -> Option<&Error> {
        self.problem.as_ref().map(|problem| &problem.error)
    }

    /// Whether the mirror has not been looked into yet.
    pub(in crate::manager) fn is_unread(&self) -> bool {
        self.first_look == FirstLook::Pending
    }

    /// A look succeeded. Says whether it was the first one.
    pub(in crate::manager) fn was_read(&mut self) -> bool {
        self.problem.take_if(|problem| problem.is_unreadable);
        std::mem::take(&mut self.first_look) == FirstLook::Pending
    }

    /// A look failed.
    pub(in crate::manager) fn could_not_be_read(&mut self) {
        self.due = true;
        if let Some(problem) = &mut self.problem {
            problem.is_unreadable = true;
        }
    }

    /// The mirror shows what it should.
    pub(in crate::manager) fn is_right(&mut self, written: bool) {
        self.problem = None;
        self.written = written;
    }

    /// Takes one of the looks that are left, if none is to come already.
    pub(in crate::manager) fn takes_look(&mut self) -> bool {
        let takes = !self.looks.to_come && self.looks.left > 0;
        if takes {
            self.looks.left -= 1;
            self.looks.to_come = true;
        }
        takes
    }

    /// Whether there is something to do before the manager is closed. No look comes by itself after that.
    pub(in crate::manager) fn ends(&mut self) -> bool {
        let looks = std::mem::take(&mut self.looks);
        self.looks.waits = looks.waits;
        self.due || looks.to_come || self.written
    }
}
