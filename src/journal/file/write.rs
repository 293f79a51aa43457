//! The ways to make a journal durable: in the space that was reserved, by a new file, in place, or in the private folder of
//! the user.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::Notice;
use super::super::codec::Step;
use super::super::format;
use super::super::state::State;
use super::guard::FileGuard;
use super::{OTHER_NAMES, SLOTS, STAND_INS, name_of};
use crate::Result;
use crate::files::names::{sibling, stand_in};
use crate::files::platform::{self, Ownership};
use crate::files::replace::{self, Reservation, Way};

impl FileGuard {
    /// Whether the journal can be written over without a copy beside it: it need not grow for that, and its only token
    /// is the one that Ring has just replaced, so a torn journal is worth no less than the present one.
    fn only_spent_is_there(&self, state: &State, length: usize) -> bool {
        let Ok(Ok(Some(bytes))) = self.shared.real().map(|real| self.shared.disk.read(real)) else { return false };
        let spent = state.previous().filter(|stored| stored.succeeded).map(|stored| stored.token.fingerprint());
        let there = self.shared.codec.open(&bytes).ok().and_then(|opened| format::decode(&opened.text).ok());
        let there = there.and_then(|old| old.fingerprint());
        bytes.len() >= length && spent.is_some() && there == spent
    }

    /// A place for a copy, by its index among the places that hold neither a copy that is still needed nor another
    /// file.
    pub(super) fn slot(&self, real: &Path, index: usize) -> Result<PathBuf> {
        let names = SLOTS.iter().map(|slot| (*slot).to_owned());
        let others = OTHER_NAMES.flat_map(|number| SLOTS.iter().map(move |slot| format!("{slot}-{number}")));
        let is_free = |slot: &PathBuf| {
            !self.copies.contains(slot) && !self.foreign.contains(slot) && self.shared.may_remove(real, slot)
        };
        let mut free = names.chain(others).map(|slot| sibling(real, &slot)).filter(is_free);
        free.nth(index).ok_or_else(|| {
            self.shared.failed(
                "written: other files have the names that its copies need",
                &io::ErrorKind::AlreadyExists.into(),
            )
        })
    }

    /// Makes bytes durable by the first way that works.
    pub(super) fn put(&mut self, bytes: &[u8], reservation: Option<Reservation>) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let there = disk.metadata(real).map_err(|error| shared.failed("written", &error))?;
        let ownership = there.as_ref().map(|there| Ownership::of(there, real));
        // If a new file took its place, the other name would still lead to the old file.
        let has_other_names = there.as_ref().is_some_and(platform::has_other_names);
        let in_its_place =
            |reservation: Reservation| if has_other_names { reservation.only_as_copy() } else { reservation };
        let mut used = None;
        if let Some(reservation) = reservation.map(in_its_place) {
            let slot = reservation.path().to_owned();
            if let Ok(way) = replace::replace(disk, reservation, real, bytes) {
                return Ok(self.note_write(way, &slot, bytes));
            }
            used = Some(slot);
        }
        // The reservation may contain a whole state, so it stays until the next copy is whole.
        let slot = match self.slot(real, 1)? {
            slot if Some(&slot) == used.as_ref() => self.slot(real, 0)?,
            slot => slot,
        };
        let fresh = match Reservation::empty(disk, &slot, ownership) {
            // A process that may not change the owner of a file can still write into the one that has the right owner.
            Err(error) if ownership.is_some() && platform::means_irreplaceable(&error) => {
                return self.put_in_place(bytes, &slot, &error);
            }
            made => made.and_then(|reservation| replace::replace(disk, in_its_place(reservation), real, bytes)),
        };
        match fresh {
            Ok(way) => Ok(self.note_write(way, &slot, bytes)),
            Err(error) => Err(shared.failed("written", &error)),
        }
    }

    /// Writes over the journal in place, with a whole copy in the first place that accepts one.
    fn put_in_place(&mut self, bytes: &[u8], slot: &Path, refused: &io::Error) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let places = [Some(slot.to_owned()), self.free_stand_in(real)];
        for place in places.into_iter().flatten() {
            if replace::copy(disk, &place, bytes).is_err() {
                continue;
            }
            if replace::write_over(disk, real, bytes).is_err() {
                // The copy is whole, so the next process that reads the journal repairs it from that copy.
                return Ok(self.note_write(Way::Beside, &place, bytes));
            }
            let _ = disk.remove(&place);
            return Ok(self.note_write(Way::InPlace, &place, bytes));
        }
        Err(shared.failed("written", refused))
    }

    /// A place in the user's private folder that holds neither a copy that is still needed nor another file.
    fn free_stand_in(&self, real: &Path) -> Option<PathBuf> {
        STAND_INS
            .iter()
            .filter_map(|ending| stand_in(&self.shared.disk, real, ending).ok())
            .find(|place| !self.copies.contains(place) && !self.foreign.contains(place))
    }

    /// Keeps bytes that could not be written at any other path in a place where the next process of this user finds them.
    fn put_aside(&mut self, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let Ok(real) = shared.real() else { return };
        let Some(place) = self.free_stand_in(real) else { return };
        if replace::copy(&shared.disk, &place, bytes).is_ok() {
            self.keep_aside(place);
        }
    }

    /// Notes that only this place has the newest state. Removes this guard's former copy in that folder, which is
    /// older.
    fn keep_aside(&mut self, place: PathBuf) {
        if let Some(former) = self.stand_in.replace(place.clone()) {
            let _ = self.shared.disk.remove(&former);
            self.copies.retain(|copy| *copy != former);
        }
        self.copies.push(place);
    }

    /// Notes how bytes were written. If they are in the journal, the former copies are not needed any more, and are
    /// removed.
    pub(super) fn note_write(&mut self, way: Way, copy: &Path, bytes: &[u8]) -> Way {
        let shared = Arc::clone(&self.shared);
        if way == Way::Beside {
            // The journal is unchanged, or this write has torn it.
            self.seen = shared
                .real()
                .ok()
                .and_then(|real| shared.disk.read(real).ok())
                .flatten()
                .as_deref()
                .map(format::digest_of);
            if shared.real().is_ok_and(|real| copy.parent() == real.parent()) {
                self.stand_in = None;
                for former in std::mem::replace(&mut self.copies, vec![copy.to_owned()]) {
                    let _ = shared.disk.remove(&former);
                }
            } else {
                self.keep_aside(copy.to_owned());
            }
            return way;
        }
        self.seen = Some(format::digest_of(bytes));
        self.stand_in = None;
        for former in std::mem::take(&mut self.copies) {
            let _ = shared.disk.remove(&former);
        }
        if let Ok(real) = shared.real() {
            shared.home.note(real);
        }
        way
    }

    pub(super) fn notices(&self, way: Way) -> Vec<Notice> {
        let path = self.shared.given.display();
        let mut notices = match way {
            Way::Replaced => Vec::new(),
            Way::InPlace => vec![Notice(format!(
                "The journal {path} cannot be replaced atomically here, so it is written in place, with a copy beside it during the write."
            ))],
            Way::Beside => vec![Notice(format!(
                "The journal {path} could not be changed, so its newest version lies in a file beside it. Give this user the right to write it."
            ))],
        };
        if self.shared.real().is_ok_and(platform::take_exposed) {
            notices.push(Notice(format!(
                "The access list of the journal {path} could not be changed, so other users of this computer may be able to read the token. Keep it in a folder that is yours alone, on a drive with access lists (NTFS)."
            )));
        }
        notices
    }

    /// Writes a state in the first way that works.
    pub(super) fn put_somehow(&mut self, state: &State, bytes: &[u8]) -> Result<Way> {
        let reservation = self.reservation.take();
        let error = match self.put(bytes, reservation) {
            Ok(Way::Beside) if self.stand_in.is_some() => {
                self.shared.failed("written", &io::Error::from(io::ErrorKind::PermissionDenied))
            }
            Ok(way) => return Ok(way),
            Err(error) => error,
        };
        if self.only_spent_is_there(state, bytes.len()) {
            let shared = Arc::clone(&self.shared);
            let (disk, real) = (&shared.disk, shared.real()?);
            // The entry in the folder may be what could not be made durable, so the folder is synced as well.
            if replace::write_over(disk, real, bytes).and_then(|()| replace::sync_folder(disk, real)).is_ok() {
                return Ok(self.note_write(Way::InPlace, real, bytes));
            }
        }
        if self.stand_in.is_none() {
            self.put_aside(bytes);
        }
        Err(error)
    }

    /// Keeps a state that could not be written at any other path in a place where the next process of this user finds it.
    pub(super) fn put_state_aside(&mut self, state: &mut State, real: &Path) {
        if self.stand_in.is_some() {
            return;
        }
        state.sequence += 1;
        let form = self.shared.codec.form(self.form.as_ref(), self.step(state));
        if let Ok(bytes) = form.and_then(|form| form.encode(state, &name_of(real))) {
            self.put_aside(&bytes);
        }
    }

    /// Makes a state durable in the journal itself, without a request that follows. A probe is a text that appears at
    /// each path of this journal. Returns `false`, and writes nothing, if another process has written meanwhile.
    pub(in crate::journal) fn write_unsent(
        &mut self,
        state: &mut State,
        probe: Option<&str>,
        step: Step,
    ) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        if self.is_overtaken(real).map_err(|error| shared.failed("read", &error))? {
            return Ok(false);
        }
        let mut written = State { sequence: state.sequence + 1, ..state.clone() };
        if written.fingerprint() == self.found.0 {
            written.mark.clone_from(&self.found.1);
        }
        written.unknown.extend(probe.map(|probe| (format::PROBE.to_owned(), probe.into())));
        let form = shared.codec.form(self.form.as_ref(), step)?;
        match self.put(&form.encode(&written, &name_of(real))?, None)? {
            Way::Replaced => self.lock.follow(&shared.disk, real),
            Way::InPlace => {}
            Way::Beside => return Err(shared.failed("written", &io::ErrorKind::PermissionDenied.into())),
        }
        state.sequence = written.sequence;
        self.form = Some(form);
        Ok(true)
    }

    /// Writes a state into a journal that is not the one of this manager. If that cannot be changed, it stays as it is, and no file is
    /// made beside it.
    pub(in crate::journal) fn write_visited(&mut self, state: &mut State) -> Result<bool> {
        if !self.copies.is_empty() {
            return Ok(false);
        }
        let written = self.write_unsent(state, None, Step::Visited);
        if written.is_err() {
            for copy in std::mem::take(&mut self.copies) {
                let _ = self.shared.disk.remove(&copy);
            }
        }
        written
    }
}
