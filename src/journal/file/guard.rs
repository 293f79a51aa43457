//! A journal whose lock is held. The guard reads, marks, writes and forgets it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::codec::{Codec, Form, Step};
use super::super::format;
use super::super::id::JournalId;
use super::super::state::{Mark, State};
use super::super::{Begun, Claim, Found, Guard, Notice, origin};
use super::damaged::moved_aside;
use super::newest::Damage;
use super::{Shared, name_of, now};
use crate::files::lock::Lock;
use crate::files::platform::{self, Ownership};
use crate::files::replace::{self, Reservation, Way};
use crate::files::{Disk, make_folder_of};
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result};

/// The space that is reserved for an answer, beyond the length of the present state and of two tokens like the one that
/// is sent. Ring's tokens have some 1500 bytes.
pub(super) const SPACE_FOR_ANSWER: usize = 16 * 1024;

pub(in crate::journal) struct FileGuard {
    pub(super) shared: Arc<Shared>,
    pub(super) lock: Lock,
    /// The space for the answer of the request that is sent.
    pub(super) reservation: Option<Reservation>,
    /// The copies that are needed until a newer state is durable.
    pub(super) copies: Vec<PathBuf>,
    /// Other files that lie in the places of copies.
    pub(super) foreign: Vec<PathBuf>,
    /// A digest of the content at the journal's path when this process last read or wrote it.
    pub(super) seen: Option<String>,
    /// The copy in the user's private folder, which has the state that could not be written anywhere else.
    pub(super) stand_in: Option<PathBuf>,
    /// The token and the mark that the journal had when it was read.
    pub(super) found: (Option<Fingerprint>, Option<Mark>),
    /// The form in which the journal was found.
    pub(super) form: Option<Form>,
}

impl FileGuard {
    pub(super) fn new(shared: Arc<Shared>, lock: Lock) -> Self {
        let (copies, foreign) = (Vec::new(), Vec::new());
        Self {
            shared,
            lock,
            reservation: None,
            copies,
            foreign,
            seen: None,
            stand_in: None,
            found: (None, None),
            form: None,
        }
    }

    fn ownership<'a>(&self, real: &'a Path) -> io::Result<Option<Ownership<'a>>> {
        Ok(self.shared.disk.metadata(real)?.map(|there| Ownership::of(&there, real)))
    }

    /// Whether the journal has a second name, a hard link.
    fn has_other_names(&self) -> bool {
        let there = self.shared.real().map(|real| self.shared.disk.metadata(real));
        matches!(there, Ok(Ok(Some(there))) if platform::has_other_names(&there))
    }

    /// Makes sure that the journal's folder and its lock exist. The journal may have been removed since this process
    /// entered.
    fn check_home(&mut self, real: &Path) -> Result<()> {
        let shared = &self.shared;
        if !shared.check_home(real)? {
            return Ok(());
        }
        make_folder_of(&shared.disk, real, shared.folder)
            .map_err(|error| shared.failed("made: its folder is missing", &error))?;
        // The lock may have been removed with the journal, and then another process could take a new one.
        if let Some(lock) = Lock::try_take_with_file(&shared.disk, real)? {
            self.lock = lock;
        }
        Ok(())
    }

    /// Whether another process wrote the journal since this one read or wrote it, although this one has the lock. Locks
    /// do not work on every file system and in every container.
    pub(super) fn is_overtaken(&self, real: &Path) -> io::Result<bool> {
        Ok(self.shared.disk.read(real)?.as_deref().map(format::digest_of) != self.seen)
    }

    /// The state that another process wrote despite the lock. It has to be merged before anything is written.
    fn theirs(&mut self, real: &Path) -> Result<Option<State>> {
        let shared = Arc::clone(&self.shared);
        let mut newest = shared.newest()?;
        self.copies = std::mem::take(&mut newest.copies);
        self.foreign = std::mem::take(&mut newest.foreign);
        if newest.damage.is_some() {
            let _ = self.keep_damaged(real);
        }
        self.seen = newest.journal.take();
        Ok(newest.state)
    }
}

impl Guard for FileGuard {
    fn read(&mut self) -> Result<Found> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let mut newest = shared.newest()?;
        self.copies = std::mem::take(&mut newest.copies);
        self.foreign = std::mem::take(&mut newest.foreign);
        self.form = newest.form.take();
        let path = shared.given.display();
        let mut notices = Vec::new();
        if shared.codec.has_key() {
            self.seal_what_was_kept(real).map_err(|error| shared.failed("sealed", &error))?;
        }
        if matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { .. })) && self.has_other_names() {
            return Err(shared.damaged_under_two_names());
        }
        // A token that was not being sent is still the newest, even if the torn text had another one.
        let may_be_spent = matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { sent: true }));
        if may_be_spent && platform::is_mounted_alone(real) && !shared.is_empty(real) {
            return Err(shared.damaged_in_a_container());
        }
        match newest.damage {
            None => {}
            Some(Damage::Salvaged { .. }) => {
                // The damaged text stays at its path until a whole version replaces it, because no other file has the
                // token.
                let kept = match self.keep_damaged(real) {
                    Ok(aside) => format!(" The damaged text was kept as {}.", aside.display()),
                    Err(_) => String::new(),
                };
                notices.push(Notice(format!(
                    "The journal {path} was damaged, but its newest token is whole and is used.{kept}"
                )));
            }
            Some(damage) => {
                let (instead, whole) = match damage {
                    Damage::Useless => {
                        ("a token that was given is used instead; without one, a login is needed", false)
                    }
                    Damage::Copied | Damage::Salvaged { .. } => ("its whole copy is used", true),
                };
                notices.push(Notice(match self.move_aside(real) {
                    Ok(aside) => {
                        format!("The journal {path} was damaged. It was kept as {}, and {instead}.", aside.display())
                    }
                    // The cause was a write in place that was stopped, and a whole copy of its text lies beside the
                    // journal; or the file is empty, because it was made to be mounted. Nothing is lost with it.
                    Err(_) if whole || shared.is_empty(real) => {
                        format!("The journal {path} was damaged, and {instead}.")
                    }
                    Err(error) => return Err(shared.failed("moved aside", &error)),
                }));
            }
        }
        self.seen = match newest.damage {
            Some(Damage::Useless | Damage::Copied) => {
                let there = shared.disk.read(real).map_err(|error| shared.failed("read", &error))?;
                there.as_deref().map(format::digest_of)
            }
            _ => newest.journal,
        };
        let mut state = newest.state.unwrap_or_else(|| State::new(shared.codec.issuer()));
        state.id.get_or_insert_with(JournalId::random);
        self.found = (state.fingerprint(), state.mark.clone());
        Ok(Found { state, notices })
    }

    fn claim(&mut self, state: &mut State) -> Result<Claim> {
        origin::claim(self, state)
    }

    fn place(&self) -> Option<String> {
        origin::place(self.shared.real().ok()?, self.lock.identity()?)
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        identify(state, real);
        self.check_home(real)?;
        if self.is_overtaken(real).map_err(|error| shared.failed("read", &error))?
            && let Some(theirs) = self.theirs(real)?
        {
            return Ok(Begun::Overtaken(Box::new(theirs)));
        }
        let form = shared.codec.form(self.form.as_ref(), Step::Kept)?;
        state.sequence += 1;
        let bytes = form.encode(state, &name_of(real))?;
        let ownership = self.ownership(real).map_err(|error| shared.failed("written", &error))?;
        let reserved = self.slot(real, 0)?;
        // The reservation of an earlier request, under the same guard, has the same name.
        if let Some(former) = self.reservation.take() {
            former.release(&shared.disk);
        }
        // The present token is kept with its push credentials. Its successor and the access token are about as long.
        let token = state.current().map_or(0, |stored| stored.token.wrapped().expose().len());
        let size = bytes.len() + form.length_of(SPACE_FOR_ANSWER + 2 * token);
        let signature = form.signature().as_bytes();
        let kept = match Reservation::reserve(&shared.disk, &reserved, size, signature, ownership) {
            // The new file cannot have the journal's owner, so it cannot replace the journal. But the answer can be
            // written into it.
            Err(error) if ownership.is_some() && platform::means_irreplaceable(&error) => {
                Reservation::reserve(&shared.disk, &reserved, size, signature, None).map(Reservation::only_as_copy)
            }
            kept => kept,
        };
        let reservation = match kept {
            Ok(reservation) => Some(reservation),
            // No file can be made beside the journal.
            Err(error) if platform::means_irreplaceable(&error) => None,
            Err(error) => return Err(shared.failed("written", &error)),
        };
        match self.put(&bytes, None) {
            Ok(Way::Beside) => {
                if let Some(reservation) = reservation {
                    reservation.release(&shared.disk);
                }
                // Nothing is sent, so the copy must not say that a request has begun: only a mark that was there before
                // stays.
                let former = state.mark.as_ref().and_then(|mark| Some((mark, mark.starts.checked_sub(1)?)));
                let mark = former.map(|(mark, starts)| Mark { starts, ..mark.clone() });
                let unsent = State { mark, sequence: state.sequence + 1, ..state.clone() };
                if form.encode(&unsent, &name_of(real)).and_then(|bytes| self.put(&bytes, None)).is_ok() {
                    state.sequence = unsent.sequence;
                }
                Err(shared.failed("written", &io::Error::from(io::ErrorKind::PermissionDenied)))
            }
            Ok(way) => {
                if way == Way::Replaced {
                    self.lock.follow(&shared.disk, real);
                }
                self.reservation = reservation;
                self.form = Some(form);
                Ok(Begun::Ready(self.notices(way)))
            }
            Err(error) => {
                if let Some(reservation) = reservation {
                    reservation.release(&shared.disk);
                }
                Err(error)
            }
        }
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        if let Err(error) = self.check_home(real) {
            self.put_state_aside(state, real);
            return Err(error);
        }
        let mut notices = Vec::new();
        // A journal that cannot be read now can still be replaced.
        let theirs = if self.is_overtaken(real).unwrap_or(false) { self.theirs(real) } else { Ok(None) };
        let theirs = theirs.map_err(|error| {
            if error.code() != ErrorCode::InvalidArgument {
                return error;
            }
            // Another program has put a file of its own there: it stays, and this state must not be lost.
            self.put_state_aside(state, real);
            Error::new(ErrorCode::Store, error.message())
        })?;
        if let Some(theirs) = theirs {
            state.merge(theirs);
            notices.push(Notice(format!(
                "Another process changed the journal {} although this one had its lock. Both states were merged. Keep the journal on a file system whose locks work, and let one machine alone use it.",
                shared.given.display()
            )));
        }
        identify(state, real);
        state.sequence += 1;
        let form = shared.codec.form(self.form.as_ref(), self.step(state))?;
        let bytes = form.encode(state, &name_of(real))?;
        let way = self.put_somehow(state, &bytes)?;
        self.form = Some(form);
        state.volatile = false;
        notices.extend(self.notices(way));
        // The state is durable. Now there is time to find out to which journal the former tokens belong.
        let token = state.fingerprint();
        let is_given = token != self.found.0 && token.is_some_and(|token| state.given.contains(&token));
        if is_given && way != Way::Beside && origin::part(self, state).unwrap_or(false) {
            identify(state, real);
            self.write_unsent(state, None, Step::Kept)?;
        }
        Ok(notices)
    }

    fn stand_in(&self) -> Option<String> {
        self.stand_in.as_ref().map(|place| place.display().to_string())
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let newest = match shared.newest() {
            Err(_) if shared.codec.forgets_sealed() => shared.whatever_is_there(real)?,
            newest => newest?,
        };
        self.copies = newest.copies;
        self.foreign = newest.foreign;
        self.form = newest.form;
        let former = newest.state.clone().unwrap_or_else(|| State::new(shared.codec.issuer()));
        let (sequence, mirrors) = (former.sequence + 1, former.mirrors.clone());
        let mut nothing = State { sequence, mirrors, ..former.after_logout(now()) };
        // A copy that was never used here must not count as the journal from which it was copied.
        let is_at_home = |state: &State| state.is_at_home() && state.place.as_deref().is_none_or(|place| place == real);
        nothing.id = newest.state.filter(is_at_home).and_then(|state| state.id).or_else(|| Some(JournalId::random()));
        let form = shared.codec.form(self.form.as_ref(), Step::Kept)?;
        let bytes = form.encode(&nothing, &name_of(real))?;
        // The empty journal contains the time of the logout: without it, a missing journal would not count as a logout.
        if !matches!(self.put(&bytes, None), Ok(Way::Replaced | Way::InPlace)) {
            // If there is no space for a copy, the journal itself can be shortened in place.
            replace::write_over(&shared.disk, real, &bytes).map_err(|error| shared.failed("removed", &error))?;
            self.note_write(Way::InPlace, real, &bytes);
        }
        let is_ours = |slot: &PathBuf| !self.foreign.contains(slot) && shared.may_remove(real, slot);
        let mut paths: Vec<PathBuf> = shared.slots(real)?.into_iter().filter(is_ours).collect();
        paths.extend(moved_aside(&shared.disk, real));
        for path in paths {
            shared.disk.remove(&path).map_err(|error| shared.failed("removed", &error))?;
        }
        replace::sync_folder(&shared.disk, real).map_err(|error| shared.failed("removed", &error))?;
        Ok(Vec::new())
    }
}

impl FileGuard {
    /// The path of the journal, behind all links.
    pub(in crate::journal) fn real(&self) -> Result<PathBuf> {
        self.shared.real().map(Path::to_owned)
    }

    pub(in crate::journal) fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    pub(in crate::journal) fn codec(&self) -> &Codec {
        &self.shared.codec
    }

    /// The purpose of the next write of a state.
    pub(super) fn step(&self, state: &State) -> Step {
        if state.fingerprint() == self.found.0 { Step::Kept } else { Step::Rotated }
    }
}

/// Gives a journal an id if it has none, and its path as soon as it holds a token.
fn identify(state: &mut State, real: &Path) {
    state.id.get_or_insert_with(JournalId::random);
    if state.family.is_some() {
        state.place.get_or_insert_with(|| real.to_owned());
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.release(&self.shared.disk);
        }
    }
}
