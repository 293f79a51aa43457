//! A mirror that is a file. It is replaced as a whole, under a lock, and what another program has just written is never
//! overwritten.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use super::format::{Format, FormatError};
use super::which_journal::{Sightings, of_lock};
use super::{Attempts, Decide, Decision, Introduced, Mirror, Purpose, Reconciled};
use crate::files::Disk;
use crate::files::foreign::{Backup, ForeignFile, LOOK, Put, WHOLE_LOOKS, is_torn};
use crate::files::lock::Lock;
use crate::journal::Notice;
use crate::{Error, ErrorCode, Result, Secret};

/// How often a change is started again because another program was faster.
const ROUNDS: u32 = 25;

/// A file that contains a token among other things.
pub struct FileMirror {
    file: ForeignFile,
    format: Box<dyn Format>,
    purpose: Purpose,
    /// The tokens and places that it showed, by which its journal is found.
    sightings: Sightings,
}

impl FileMirror {
    /// A file at a path. Its lock and its backups lie in the given folder, or in one of our own beside the file. Each read
    /// notes what the file shows.
    pub(super) fn new(
        given: PathBuf,
        format: Box<dyn Format>,
        state_path: Option<PathBuf>,
        disk: Disk,
        purpose: Purpose,
        sightings: Sightings,
    ) -> Self {
        Self { file: ForeignFile::new(given, state_path, of_lock, disk), format, purpose, sightings }
    }

    fn format_error(&self, error: &FormatError) -> Error {
        let code = match error {
            FormatError::Several { .. } => ErrorCode::InvalidArgument,
            _ => ErrorCode::Store,
        };
        Error::new(code, format!("{}: {error}", self.name()))
    }

    /// The bytes of the file and the token in them. As long as they do not parse, they are read again, at most `looks` times.
    fn read_whole(&self, real: &Path, mut looks: u32) -> Result<(Option<Vec<u8>>, Option<Secret>)> {
        loop {
            let bytes = self.file.read(real)?;
            let shown = self.format.read(bytes.as_deref().unwrap_or_default());
            self.note(real, bytes.as_deref().unwrap_or_default(), &shown);
            match shown {
                // An editor that writes in place has truncated the file and is about to write it: a write now would be mixed
                // with it.
                Ok(None) if looks > 0 && bytes.as_ref().is_some_and(Vec::is_empty) => {
                    looks -= 1;
                    sleep(LOOK);
                }
                Ok(token) => return Ok((bytes, token)),
                Err(FormatError::Nothing | FormatError::NoBlock { .. })
                    if self.purpose == Purpose::Introduce && bytes.is_some() =>
                {
                    return Ok((bytes, None));
                }
                // An editor may have written a part of it.
                Err(FormatError::NotValid { .. } | FormatError::Nothing) if looks > 0 && bytes.is_some() => {
                    looks -= 1;
                    sleep(LOOK);
                }
                Err(_) if bytes.is_none() => {
                    return Err(self.file.failed("read", &io::Error::from(io::ErrorKind::NotFound)));
                }
                Err(error) => return Err(self.format_error(&error)),
            }
        }
    }

    /// Notes what a text shows, so that the journal is found by it. A text that cannot be read shows nothing.
    fn note(&self, real: &Path, text: &[u8], shown: &Result<Option<Secret>, FormatError>) {
        match shown {
            Ok(shown) => self.sightings.note(real, shown.as_ref(), self.format.places(text)),
            Err(FormatError::NoBlock { .. }) => self.sightings.note(real, None, self.format.places(text)),
            Err(_) => {}
        }
    }

    fn with_token(&self, text: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), FormatError> {
        match self.purpose {
            Purpose::Introduce => self.format.introduce(text, token),
            Purpose::Follow => {
                self.format.write(text.unwrap_or_default(), token).map(|new| (new, Introduced::default()))
            }
        }
    }

    /// Repairs what a process left behind that was stopped during a change.
    fn recover(&self, real: &Path, decide: &mut Decide<'_>, notices: &mut Vec<Notice>) -> Result<()> {
        let failed = |error: io::Error| self.file.failed("repaired", &error);
        let kept = self.file.repair_exchanges(real, &|bytes| self.format.read(bytes).is_ok()).map_err(failed)?;
        notices.extend(kept.iter().map(|kept| {
            Notice(format!(
                "{} was changed by ring-auth and by another program at the same time. What the other program wrote is kept as {}.",
                self.name(),
                kept.display()
            ))
        }));
        for backup in self.file.backups(real) {
            self.recover_in_place(real, &backup, decide, notices)?;
        }
        Ok(())
    }

    /// Repairs a file if its backup shows that a write in place was begun: a torn file does not parse, or its token is made of
    /// two.
    fn recover_in_place(
        &self,
        real: &Path,
        backup: &Backup,
        decide: &mut Decide<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        let failed = |error: io::Error| self.file.failed("repaired", &error);
        let old = backup.old.as_slice();
        let there = self.file.read(real)?.unwrap_or_default();
        let shown = self.format.read(&there);
        // A backup that does not parse was itself stopped while it was written, so the file was not written yet.
        if let Ok(former) = self.format.read(old) {
            let intended = match decide(former.as_ref())? {
                Decision::Show(token) => self.format.write(old, &token).ok(),
                Decision::Clear => self.format.clear(old).ok(),
                Decision::Leave => None,
            };
            let torn = match &intended {
                Some(new) => is_torn(&there, old, new),
                None => false,
            };
            if torn || matches!(shown, Err(FormatError::NotValid { .. })) {
                self.file.restore(real, backup, intended.as_deref().unwrap_or(old)).map_err(failed)?;
                notices.push(Notice(format!(
                    "{} was only partly written when ring-auth was stopped. It was restored from its backup.",
                    self.name()
                )));
            }
        }
        self.file.discard(backup).map_err(failed)
    }
}

impl Mirror for FileMirror {
    fn check_place(&self) -> Result<()> {
        match self.purpose {
            Purpose::Introduce => self.dry_run().map(drop),
            Purpose::Follow => Ok(()),
        }
    }

    fn dry_run(&self) -> Result<Introduced> {
        let real = self.file.real()?;
        let _lock = self.file.lock(&real)?;
        let (text, _) = self.read_whole(&real, WHOLE_LOOKS)?;
        let (new, introduced) = self
            .format
            .introduce(text.as_deref(), &Secret::new("dry-run"))
            .map_err(|error| self.format_error(&error))?;
        self.file.dry_run(&real, text.as_deref(), &new).map_err(|error| self.file.failed("written", &error))?;
        Ok(introduced)
    }

    fn look(&self, attempts: Attempts) -> Result<Option<Secret>> {
        let looks = if attempts == Attempts::One { 0 } else { WHOLE_LOOKS };
        let real = self.file.real()?;
        // During a write in place, and after one that was stopped, the file may show a token made of two.
        for backup in self.file.backups(&real) {
            if let Ok(token) = self.format.read(&backup.old) {
                self.sightings.note(&real, token.as_ref(), self.format.places(&backup.old));
                return Ok(token);
            }
        }
        Ok(self.read_whole(&real, looks)?.1)
    }

    fn reconcile(&self, decide: &mut Decide<'_>) -> Result<Reconciled> {
        let mut reconciled = Reconciled::default();
        let mut locked: Option<(PathBuf, Lock)> = None;
        for _ in 0..ROUNDS {
            // A link may lead elsewhere since the last round.
            let real = self.file.real()?;
            if locked.as_ref().is_none_or(|(path, _)| *path != real) {
                drop(locked.take());
                locked = Some((real.clone(), self.file.lock(&real)?));
                self.recover(&real, decide, &mut reconciled.notices)?;
            }
            let (old, shown) = self.read_whole(&real, WHOLE_LOOKS)?;
            let text = old.as_deref().unwrap_or_default();
            let new = match decide(shown.as_ref())? {
                Decision::Leave => return Ok(reconciled),
                Decision::Show(token) => self.with_token(old.as_deref(), &token),
                Decision::Clear => match self.format.clear(text) {
                    // Without a place for a token there is none to remove, and no file is created.
                    Err(FormatError::Nothing | FormatError::NoBlock { .. }) => return Ok(reconciled),
                    Ok(_) if old.is_none() => return Ok(reconciled),
                    cleared => cleared.map(|new| (new, Introduced::default())),
                },
            };
            let (new, introduced) = new.map_err(|error| self.format_error(&error))?;
            if old.as_ref() == Some(&new) {
                return Ok(reconciled);
            }
            match self.file.put(&real, old.as_deref(), &new).map_err(|error| self.file.failed("written", &error))? {
                Put::Changed => continue,
                Put::Replaced => {}
                Put::InPlace => reconciled.notices.push(Notice(format!(
                    "{} cannot be replaced atomically here, so it is written in place, with a backup beside it during the write.",
                    self.name()
                ))),
            }
            self.note(&real, &new, &self.format.read(&new));
            reconciled.written = true;
            reconciled.introduced = introduced;
            return Ok(reconciled);
        }
        Err(Error::new(
            ErrorCode::Store,
            format!("Another program keeps changing {}. The manager tries again later.", self.name()),
        ))
    }

    fn name(&self) -> String {
        self.file.given().display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::{Dotenv, Homebridge};
    use super::*;
    use crate::files::fault;
    use crate::files::{Moment, Probe};

    const CONFIG: &str = "{\r\n\t\"bridge\": {\"name\": \"H\"},\r\n\t\"platforms\": [{\"platform\": \"Ring\", \"refreshToken\": \"TOKEN\", \"x\": 1.10}]\r\n}";
    const OLD: &str = "old-token-0123456789";

    fn config(token: &str) -> String {
        CONFIG.replace("TOKEN", token)
    }

    fn mirror(folder: &Path, disk: Disk) -> FileMirror {
        let format = Box::new(Homebridge::default());
        FileMirror::new(folder.join("config.json"), format, None, disk, Purpose::Follow, Sightings::default())
    }

    fn begin() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config(OLD)).unwrap();
        (folder, path)
    }

    fn show(mirror: &FileMirror, token: &str) -> Result<Reconciled> {
        mirror.reconcile(&mut |_| Ok(Decision::Show(Secret::new(token))))
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Does something at a moment of a storage call, the first time that it comes.
    struct At<F>(&'static str, Moment, Mutex<Option<F>>);

    impl<F: FnOnce() + Send> Probe for At<F> {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            if (call, moment) == (self.0, self.1)
                && let Some(work) = self.2.lock().unwrap().take()
            {
                work();
            }
            Ok(())
        }
    }

    fn at(call: &'static str, moment: Moment, work: impl FnOnce() + Send + 'static) -> Disk {
        struct Shared<F>(At<F>);
        impl<F: FnOnce() + Send> Probe for Shared<F> {
            fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
                self.0.at(call, path, moment)
            }
        }
        // Storage calls within a probe are not calls of the mirror.
        let work: Box<dyn FnOnce() + Send> = Box::new(work);
        Disk::with_probe(Arc::new(Shared(At(call, moment, Mutex::new(Some(work))))))
    }

    #[test]
    fn only_the_token_changes_and_what_came_out_is_gone_after_the_next_look() {
        let (folder, path) = begin();
        let mirror = mirror(folder.path(), Disk::default());
        for token in ["a", "a-much-longer-token-than-the-one-before-it", "b"] {
            assert!(show(&mirror, token).unwrap().written);
            assert_eq!(text(&path), config(token));
        }
        assert!(!show(&mirror, "b").unwrap().written);
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        assert_eq!(names(&folder.path().join(".ring-auth")), [".gitignore", "config.json.lock"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_file_is_not_changed() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, path) = begin();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        let error = show(&mirror, "new").unwrap_err();
        assert_eq!(error.code(), ErrorCode::Store);
        assert_eq!(text(&path), config(OLD));
        assert!(mirror.dry_run().is_err(), "known before a login");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        mirror.dry_run().unwrap();
        assert_eq!(text(&path), config(OLD), "a dry run writes nothing");
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), config("new"));
    }

    #[test]
    fn a_file_that_does_not_parse_is_not_changed() {
        let (folder, path) = begin();
        for bad in ["", "{", "// hello\n{}", "[]", "{\"platforms\": []}"] {
            std::fs::write(&path, bad).unwrap();
            let error = show(&mirror(folder.path(), Disk::default()), "new").unwrap_err();
            assert_eq!(error.code(), ErrorCode::Store);
            assert_eq!(text(&path), bad);
        }
    }

    #[test]
    fn an_editor_in_the_middle_of_writing_is_waited_for() {
        /// Goes on writing once half of the file was read a few times.
        struct Slow(PathBuf, Mutex<u32>);
        impl Probe for Slow {
            fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
                if (call, moment) == ("read", Moment::After) && path.ends_with("config.json") {
                    let mut reads = self.1.lock().unwrap();
                    *reads += 1;
                    if *reads == 3 {
                        std::fs::write(&self.0, config(OLD)).unwrap();
                    }
                }
                Ok(())
            }
        }
        let (folder, path) = begin();
        let whole = config(OLD);
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let editor = Arc::new(Slow(path.clone(), Mutex::default()));
        show(&mirror(folder.path(), Disk::with_probe(Arc::clone(&editor) as Arc<dyn Probe>)), "new").unwrap();
        assert!(*editor.1.lock().unwrap() > 3);
        assert_eq!(text(&path), config("new"));
    }

    #[test]
    fn an_editor_that_had_the_file_open_loses_nothing() {
        use std::io::{Seek, Write};
        let (folder, path) = begin();
        let mut open = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, "new").unwrap();
        let theirs = config(OLD).replace("1.10", "2.20");
        open.rewind().unwrap();
        open.write_all(theirs.as_bytes()).unwrap();
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), theirs.replace(OLD, "new"));
        assert_eq!(mirror.reconcile(&mut |_| Ok(Decision::Leave)).unwrap(), Reconciled::default());
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
    }

    #[test]
    fn a_new_env_file_is_private_and_a_faster_program_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let open = |disk| {
            let format = Box::new(Dotenv::default());
            let state_path = Some(folder.path().to_owned());
            FileMirror::new(path.clone(), format, state_path, disk, Purpose::Follow, Sightings::default())
        };
        let theirs = path.clone();
        let mirror = open(at("link", Moment::Before, move || std::fs::write(theirs, "A=1\n").unwrap()));
        show(&mirror, "t").unwrap();
        assert_eq!(text(&path), "A=1\nRING_REFRESH_TOKEN=t\n");
        std::fs::remove_file(&path).unwrap();
        show(&open(Disk::default()), "t").unwrap();
        assert_eq!(text(&path), "RING_REFRESH_TOKEN=t\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_was_not_there_has_one_name_and_its_editors_are_not_taken_for_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let (format, sightings) = (Box::new(Dotenv::default()), Sightings::default());
        let mirror = FileMirror::new(path.clone(), format, None, Disk::default(), Purpose::Follow, sightings);
        show(&mirror, "t").unwrap();
        // As `echo A=1 >> .env` does it.
        let mut open = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut open, b"A=1\n").unwrap();
        assert_eq!(show(&mirror, "u").unwrap().notices, []);
        assert_eq!(mirror.reconcile(&mut |_| Ok(Decision::Leave)).unwrap(), Reconciled::default());
        assert_eq!(text(&path), "RING_REFRESH_TOKEN=u\nA=1\n");
        assert_eq!(names(folder.path()), [".env", ".ring-auth"]);
    }

    #[test]
    fn the_old_version_waits_in_the_folder_that_is_not_committed() {
        let (folder, path) = begin();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), config("new"));
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_in_place_that_finds_no_space_is_taken_back() {
        /// Stops each write of a longer text half-way, as a disk that fills up does.
        #[derive(Default)]
        struct Full(Mutex<bool>);
        impl Probe for Full {
            fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
                if !path.ends_with("config.json") {
                    return Ok(());
                }
                match (call, moment) {
                    ("exchange", Moment::Before) => Err(io::Error::from_raw_os_error(16)),
                    // Every second write restores the old text.
                    ("write", Moment::Middle) if !std::mem::replace(&mut *self.0.lock().unwrap(), true) => {
                        Err(io::Error::from_raw_os_error(28))
                    }
                    ("write", Moment::After) => {
                        *self.0.lock().unwrap() = false;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
        let (folder, path) = begin();
        let long = "x".repeat(1000);
        let full = mirror(folder.path(), Disk::with_probe(Arc::new(Full::default())));
        for _ in 0..2 {
            assert!(show(&full, &long).unwrap_err().message().contains("Free some space"));
            assert_eq!(text(&path), config(OLD));
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        }
        show(&mirror(folder.path(), Disk::default()), &long).unwrap();
        assert_eq!(text(&path), config(&long));
    }

    #[test]
    fn two_processes_take_turns() {
        let (folder, path) = begin();
        let turns: Vec<_> = (0..4)
            .map(|who| {
                let folder = folder.path().to_owned();
                std::thread::spawn(move || {
                    let mirror = mirror(&folder, Disk::default());
                    for turn in 0..25 {
                        // The lock has no order: any thread may be the next one, and each gives up after a while.
                        while let Err(error) = show(&mirror, &format!("token-{who}-{turn}")) {
                            assert_eq!(error.code(), ErrorCode::StoreLocked, "{error}");
                        }
                    }
                })
            })
            .collect();
        for turn in turns {
            turn.join().unwrap();
        }
        show(&mirror(folder.path(), Disk::default()), "last").unwrap();
        assert_eq!(text(&path), config("last"));
    }

    /// Fails each call from a moment on, as if the process were gone. Refuses some calls before that, with an errno.
    struct Gone {
        left: Mutex<usize>,
        refused: Vec<(&'static str, i32)>,
    }

    impl Probe for Gone {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            let mut left = self.left.lock().unwrap();
            if *left == 0 {
                return Err(fault(5));
            }
            *left -= 1;
            let of_config = path.file_name().is_some_and(|name| name == "config.json");
            match self.refused.iter().find(|(refused, _)| *refused == call) {
                Some((_, errno)) if moment == Moment::Before && of_config => Err(fault(*errno)),
                _ => Ok(()),
            }
        }
    }

    /// Stops at every moment of every call, then starts again. Returns how many moments there were.
    fn stop_everywhere(refused: &[(&'static str, i32)], new: &str, whole_throughout: bool) -> usize {
        let mut stops = 0;
        loop {
            let (folder, path) = begin();
            let gone = Arc::new(Gone { left: Mutex::new(stops), refused: refused.to_vec() });
            let done = show(&mirror(folder.path(), Disk::with_probe(Arc::clone(&gone) as Arc<_>)), new).is_ok();
            if whole_throughout {
                let left = text(&path);
                assert!(left == config(OLD) || left == config(new), "after {stops}: {left}");
            }
            let after = mirror(folder.path(), Disk::default());
            let mut decide = |shown: Option<&Secret>| {
                let shown = shown.map(|token| token.expose().to_owned());
                assert!(shown.as_deref() == Some(OLD) || shown.as_deref() == Some(new), "after {stops}: {shown:?}");
                Ok(if shown.as_deref() == Some(new) { Decision::Leave } else { Decision::Show(Secret::new(new)) })
            };
            after.reconcile(&mut decide).unwrap();
            after.reconcile(&mut decide).unwrap();
            assert_eq!(text(&path), config(new), "after {stops}");
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "after {stops}");
            let mut ours = names(&folder.path().join(".ring-auth"));
            // If the process was stopped before it created this file, no later one does.
            ours.retain(|name| name != ".gitignore");
            assert_eq!(ours, ["config.json.lock"], "after {stops}");
            if done {
                return stops;
            }
            stops += 1;
        }
    }

    const TOKENS: [&str; 4] =
        ["new-token-9876543210", "new", "a-token-that-is-longer-than-the-old-one", "old-token-0123456780"];

    #[test]
    fn a_mirror_is_whole_wherever_its_write_is_stopped_and_the_next_start_updates_it() {
        for new in TOKENS {
            assert!(stop_everywhere(&[], new, true) > 30);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mirror_that_cannot_be_exchanged_is_repaired_wherever_its_write_is_stopped() {
        for new in TOKENS {
            // A file system that cannot exchange files says EINVAL. The probe cannot, so the rename is refused as well.
            assert!(stop_everywhere(&[("exchange", 16), ("rename", 16)], new, false) > 30);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_replaced_is_written_in_place_and_reported() {
        // EBUSY, EXDEV, EPERM, EACCES
        for errno in [16, 18, 1, 13] {
            let (folder, path) = begin();
            let probe = Gone { left: Mutex::new(usize::MAX), refused: vec![("exchange", errno)] };
            let mirror = mirror(folder.path(), Disk::with_probe(Arc::new(probe)));
            for new in TOKENS {
                let reconciled = show(&mirror, new).unwrap();
                assert!(reconciled.notices[0].0.contains("in place"), "{errno}");
                assert_eq!(text(&path), config(new));
            }
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        }
    }

    /// Refuses some calls, with an errno.
    #[cfg(target_os = "linux")]
    struct Refuses(Vec<(&'static str, i32)>);

    #[cfg(target_os = "linux")]
    impl Probe for Refuses {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            match self.0.iter().find(|(refused, _)| *refused == call && moment == Moment::Before) {
                Some((_, errno)) => Err(io::Error::from_raw_os_error(*errno)),
                None => Ok(()),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dry_run_knows_what_a_change_will_meet() {
        let (eperm, eacces, enospc) = (1, 13, 28);
        let cases = [
            (vec![], true),
            (vec![("create", enospc)], false),
            (vec![("write", enospc)], false),
            (vec![("sync", enospc)], false),
            (vec![("rename", enospc)], false),
            // If this user may not give a file its owner, the existing file is written in place, if that is allowed.
            (vec![("chown", eperm)], true),
            (vec![("chown", eperm), ("open", eacces)], false),
            (vec![("rename", eacces), ("open", eacces)], false),
            (vec![("create", eacces)], false),
        ];
        for (refused, can_be_written) in cases {
            let (folder, path) = begin();
            let mirror = mirror(folder.path(), Disk::with_probe(Arc::new(Refuses(refused.clone()))));
            assert_eq!(mirror.dry_run().is_ok(), can_be_written, "{refused:?}");
            assert_eq!(text(&path), config(OLD), "{refused:?}");
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "{refused:?}");
            let ours = names(&folder.path().join(".ring-auth"));
            assert!(ours.iter().all(|name| [".gitignore", "config.json.lock"].contains(&name.as_str())), "{ours:?}");
            assert_eq!(show(&mirror, "new").is_ok(), can_be_written, "{refused:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_dry_run_leaves_alone_what_a_stopped_write_left_behind() {
        let (folder, path) = begin();
        std::fs::hard_link(&path, folder.path().join("other-name")).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, OLD).unwrap();
        let [backup, _] = mirror.file.backup_paths(&path);
        std::fs::write(&backup, config("the-only-whole-one")).unwrap();
        mirror.dry_run().unwrap();
        assert_eq!(text(&backup), config("the-only-whole-one"));
        assert_eq!(text(&path), config(OLD));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failing_call_leaves_the_file_whole_and_is_reported() {
        // ENOSPC, EIO, EDQUOT
        for errno in [28, 5, 122] {
            for call in ["create", "write", "chown", "sync", "rename", "exchange", "sync-dir"] {
                let (folder, path) = begin();
                let disk = Disk::with_probe(Arc::new(Refuses(vec![(call, errno)])));
                let error = show(&mirror(folder.path(), disk), "new").unwrap_err();
                assert_eq!(error.code(), ErrorCode::Store, "{call} {errno}");
                let left = text(&path);
                assert!(left == config(OLD) || left == config("new"), "{call} {errno}");
                show(&mirror(folder.path(), Disk::default()), "new").unwrap();
                show(&mirror(folder.path(), Disk::default()), "new").unwrap();
                assert_eq!(text(&path), config("new"));
                assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "{call} {errno}");
            }
        }
    }
}
