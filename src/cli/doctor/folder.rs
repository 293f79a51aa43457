//! The checks of the journal's folder: permissions, free space and file system.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::Check;
use crate::ErrorCode;
use crate::files::platform;
use crate::files::trial::{self, Abilities, Failed};
use crate::files::volume::{Kind, Volume};
use crate::files::{Disk, remedy, resolve};
use crate::mirror::{JOURNALS_FOLDER, Target};

pub(super) const FOLDER: &str = "folder";
pub(super) const SPACE: &str = "space";
pub(super) const FILE_SYSTEM: &str = "file-system";

/// The free space below which there is a warning. After years a journal with its copies has some hundred kilobytes, but a disk with
/// so little free space is soon full.
const LITTLE_SPACE: u64 = 1024 * 1024;
const FEW_FILES: u64 = 16;

/// The space for an answer, beside that of the journal.
const ROOM: usize = 64 * 1024;

/// The result of a trial in the journal's folder.
pub(super) struct Trial {
    pub(super) folder: PathBuf,
    /// The abilities of the folder; `None` if it does not exist.
    pub(super) done: Option<Result<Abilities, Failed>>,
    volume: Option<Volume>,
    /// Whether the journal exists and can be written in place.
    can_write_in_place: bool,
}

impl Trial {
    pub(super) fn of(real: &Path, there: Option<&Metadata>) -> Self {
        let folder = real.parent().unwrap_or(real).to_owned();
        let room = there.map_or(0, |there| usize::try_from(there.len()).unwrap_or(0)).saturating_mul(2) + ROOM;
        let is_there = folder.is_dir();
        let done = is_there.then(|| trial::run(&Disk::default(), &folder, room));
        let nearest = folder.ancestors().find(|folder| folder.is_dir());
        let volume = nearest.and_then(|folder| Volume::of(folder).ok());
        let can_write_in_place = there.is_some() && platform::may_write(real);
        Self { folder, done, volume, can_write_in_place }
    }

    /// The failure for lack of space, if there is one.
    pub(super) fn is_full(&self) -> Option<&Failed> {
        let failed = self.done.as_ref()?.as_ref().err()?;
        matches!(failed.error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded).then_some(failed)
    }
}

pub(super) fn folder(real: &Path, trial: &Trial, target: Option<&Target>) -> Check {
    let own = match &trial.done {
        None => absent_folder(&trial.folder),
        Some(Ok(abilities)) => able(real, &trial.folder, *abilities),
        Some(Err(_)) if trial.is_full().is_some() => {
            return Check::skipped(FOLDER, "There is no space left: see space.");
        }
        Some(Err(failed)) => refused(trial, failed),
    };
    match target.and_then(|target| folder_of_mirror(target, &trial.folder)) {
        Some(mirrors) => own.or_worse(mirrors),
        None => own,
    }
}

/// The check of a mirror's folder, if it is another folder and the trial fails there.
fn folder_of_mirror(target: &Target, journals: &Path) -> Option<Check> {
    let path = target.path();
    let mirror = resolve(path).ok()?;
    let folder = mirror.parent().filter(|folder| *folder != journals && folder.is_dir())?;
    let Failed { what, error } = trial::run(&Disk::default(), folder, ROOM).err()?;
    let sentence = format!(
        "In {}, the folder of {}, a file cannot be {what}: {error}. {}",
        folder.display(),
        path.display(),
        remedy(&error)
    );
    Some(if platform::may_write(&mirror) {
        Check::warning(FOLDER, sentence).and("Until then the file is written in place.")
    } else {
        Check::failed(FOLDER, ErrorCode::Store, sentence)
    })
}

/// The check of a folder with the abilities that a rotation needs.
fn able(real: &Path, folder: &Path, abilities: Abilities) -> Check {
    if platform::is_mounted_alone(real) {
        return Check::warning(
            FOLDER,
            format!(
                "{} is mounted alone, so another file cannot take its place: it is written in place, and its copies stay in this container. Mount its folder instead.",
                real.display()
            ),
        );
    }
    let exchange = if abilities.exchanges {
        "and exchanged"
    } else {
        "but not exchanged, so a change that another program makes to a mirror in the same moment is noticed a little later"
    };
    Check::ok(FOLDER, format!("In {} files can be made, synced, renamed {exchange}.", folder.display()))
}

/// The check of a folder that does not exist yet.
fn absent_folder(folder: &Path) -> Check {
    let name = folder.display();
    let nearest = folder.ancestors().skip(1).find(|folder| std::fs::symlink_metadata(folder).is_ok());
    match nearest {
        Some(nearest) if !nearest.is_dir() => Check::failed(
            FOLDER,
            ErrorCode::Store,
            format!(
                "The folder {name} is not there and cannot be made: {} is no folder. Check the path.",
                nearest.display()
            ),
        ),
        Some(nearest) if platform::may_write(nearest) && folder.ends_with(JOURNALS_FOLDER) => {
            Check::ok(FOLDER, format!("The folder {name} is not there yet. The first login or refresh makes it."))
        }
        Some(nearest) if platform::may_write(nearest) => Check::warning(
            FOLDER,
            format!(
                "The folder {name} is not there. The first login or refresh makes it, in {}. If it should be there, check the path, and whether its volume is mounted.",
                nearest.display()
            ),
        ),
        _ => Check::failed(
            FOLDER,
            ErrorCode::Store,
            format!(
                "The folder {name} is not there, and this user cannot make it. Make it, and give it to this user (chown)."
            ),
        ),
    }
}

/// The check of a folder without the abilities that a rotation needs.
fn refused(trial: &Trial, failed: &Failed) -> Check {
    let Failed { what, error } = failed;
    let sentence = format!("In {} a file cannot be {what}: {error}. {}", trial.folder.display(), remedy(error));
    let is_refused = platform::means_irreplaceable(error) || error.kind() == io::ErrorKind::PermissionDenied;
    if is_refused && trial.can_write_in_place {
        return Check::warning(FOLDER, sentence)
            .and("Until then the journal is written in place, which a power cut can tear.");
    }
    Check::failed(FOLDER, ErrorCode::Store, sentence)
}

pub(super) fn space(trial: &Trial) -> Check {
    let folder = trial.folder.display();
    let volume = trial.volume.as_ref();
    if let Some(failed) = trial.is_full() {
        let full = |sentence: String| Check::failed(SPACE, ErrorCode::Store, sentence);
        let free = volume.and_then(|volume| volume.free_bytes).map(size);
        return if failed.error.kind() == io::ErrorKind::QuotaExceeded {
            full(format!("The quota of this user is used up in {folder}. Remove files, or have the quota raised."))
        } else if failed.what == "made" && volume.is_some_and(|volume| volume.free_files == Some(0)) {
            full(format!(
                "No more files can be made in {folder}: its file system has no inodes left (df -i). Remove files that are not needed."
            ))
        } else {
            full(format!(
                "The disk of {folder} is full: {} free, and a rotation needs more. Free some space on that disk.",
                free.unwrap_or_else(|| "too little is".to_owned())
            ))
        };
    }
    let Some(Volume { free_bytes, free_files, .. }) = volume else {
        return Check::skipped(SPACE, "The file system does not report its free space.");
    };
    let Some(bytes) = *free_bytes else {
        return Check::skipped(SPACE, "The free space cannot be read on this system.");
    };
    if bytes < LITTLE_SPACE {
        return Check::warning(
            SPACE,
            format!("Only {} are free in {folder}. Free some space on that disk.", size(bytes)),
        );
    }
    match *free_files {
        Some(files) if files < FEW_FILES => Check::warning(
            SPACE,
            format!(
                "Only {files} more files can be made in {folder} (inodes, df -i). Remove files that are not needed."
            ),
        ),
        Some(files) => Check::ok(SPACE, format!("{} and {files} inodes are free.", size(bytes))),
        None => Check::ok(SPACE, format!("{} are free.", size(bytes))),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

pub(super) fn file_system(trial: &Trial) -> Check {
    let Some(volume) = &trial.volume else {
        return Check::skipped(FILE_SYSTEM, "The type of the file system cannot be read.");
    };
    kind(volume, &trial.folder)
}

fn kind(volume: &Volume, folder: &Path) -> Check {
    let (name, folder) = (volume.name.unwrap_or("local"), folder.display());
    match volume.kind {
        Kind::Local => Check::ok(FILE_SYSTEM, "It is neither a network nor a copy-on-write file system that is known."),
        Kind::CopyOnWrite => Check::ok(
            FILE_SYSTEM,
            format!(
                "It is {name}, which copies on write: a disk that fills up during a refresh can refuse the answer, so keep some space free."
            ),
        ),
        Kind::Network => Check::warning(
            FILE_SYSTEM,
            format!(
                "{folder} is on {name}: locks and fsync there are as good as its server or driver. Keep the journal on a local disk (--state-dir for a mirror), and never use it from two machines."
            ),
        ),
        Kind::Memory => Check::warning(
            FILE_SYSTEM,
            format!(
                "{folder} is on {name}, in memory: the token is gone when this machine restarts. Keep the journal on a disk."
            ),
        ),
        Kind::Container => Check::warning(
            FILE_SYSTEM,
            format!(
                "{folder} is in the layer of a container ({name}): the token is gone with the container. Keep the journal on a volume."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn volume(name: Option<&'static str>, kind: Kind) -> Volume {
        Volume { name, kind, free_bytes: Some(u64::MAX), free_files: None }
    }

    // The test passes the names of file systems, because it cannot mount each of them on every machine.
    #[test]
    fn what_a_file_system_means_is_said() {
        let line = |name, of| kind(&volume(Some(name), of), Path::new("/data")).line();
        assert_eq!(
            line("nfs", Kind::Network),
            "warning  file-system     /data is on nfs: locks and fsync there are as good as its server or driver. Keep the journal on a local disk (--state-dir for a mirror), and never use it from two machines."
        );
        assert_eq!(
            line("btrfs", Kind::CopyOnWrite),
            "ok       file-system     It is btrfs, which copies on write: a disk that fills up during a refresh can refuse the answer, so keep some space free."
        );
        assert!(line("tmpfs", Kind::Memory).starts_with("warning  file-system     /data is on tmpfs, in memory"));
        assert!(line("overlay", Kind::Container).contains("in the layer of a container (overlay)"));
        assert_eq!(kind(&volume(None, Kind::Local), Path::new("/data")).state, State::Ok);
    }

    fn tried(done: Result<Abilities, Failed>, free_bytes: u64, free_files: Option<u64>) -> Trial {
        let volume = Volume { free_bytes: Some(free_bytes), free_files, ..volume(None, Kind::Local) };
        Trial { folder: "/data".into(), done: Some(done), volume: Some(volume), can_write_in_place: false }
    }

    #[test]
    fn what_is_free_is_said_and_little_of_it_is_a_warning() {
        let able = || Ok(Abilities { exchanges: true, locks: true });
        let check = |bytes, files| space(&tried(able(), bytes, files));
        assert_eq!(check(5 << 30, Some(1_000)).message, "5.0 GiB and 1000 inodes are free.");
        assert_eq!(check(1_600_000, None).message, "1.5 MiB are free.");
        assert_eq!(
            check(600_000, Some(1_000)).line(),
            "warning  space           Only 585.9 KiB are free in /data. Free some space on that disk."
        );
        assert_eq!(check(5 << 30, Some(3)).state, State::Warning);
    }

    #[test]
    fn a_quota_a_full_disk_and_missing_inodes_are_told_apart() {
        let failed = |what, kind: io::ErrorKind, files| {
            let trial = tried(Err(Failed { what, error: kind.into() }), 0, files);
            assert_eq!(folder(Path::new("/data/j.json"), &trial, None).state, State::Skipped);
            space(&trial).message
        };
        assert!(failed("made", io::ErrorKind::StorageFull, Some(0)).contains("has no inodes left"));
        assert!(
            failed("written", io::ErrorKind::StorageFull, Some(9))
                .starts_with("The disk of /data is full: 0 bytes free")
        );
        assert!(
            failed("written", io::ErrorKind::QuotaExceeded, Some(9)).starts_with("The quota of this user is used up")
        );
    }

    #[test]
    fn a_folder_that_refuses_files_is_a_failure_unless_the_journal_can_be_written_in_place() {
        for (kind, in_place, state) in [
            (io::ErrorKind::PermissionDenied, true, State::Warning),
            (io::ErrorKind::PermissionDenied, false, State::Failed),
            (io::ErrorKind::TimedOut, true, State::Failed),
        ] {
            let trial = tried(Err(Failed { what: "renamed", error: kind.into() }), 1, None);
            let trial = Trial { can_write_in_place: in_place, ..trial };
            let check = folder(Path::new("/data/j.json"), &trial, None);
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.message.starts_with("In /data a file cannot be renamed: "), "{check:?}");
        }
    }
}
