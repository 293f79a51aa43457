//! The place where a token is kept, and the one function that opens it: for the library, the addon and the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::Disk;
use crate::journal::{Codec, JournalStore, MemoryStore, Store};
use crate::mirror::{CustomStore, Follower, Mirror, Program, Purpose, Target, state_folder};
use crate::shared::SharedStore;
use crate::token::Fingerprint;
use crate::{Error, Result};

/// The name of the journal behind a program's own code, in the folder that the program names.
const CUSTOM_JOURNAL: &str = "ring-auth.json";

/// The place where a token is kept.
#[derive(Clone)]
pub enum Location {
    /// The memory of the process, and no file.
    Memory,
    /// A journal.
    Journal(PathBuf),
    /// A file that shows the token among other things, behind a journal.
    Mirror {
        /// The file, and the place of the token in it.
        target: Target,
        /// The journal's folder. The default is a folder beside the file.
        state_path: Option<PathBuf>,
    },
    /// A store that hosts share, and the folder of this host's spool.
    Shared {
        /// The engine.
        engine: Arc<dyn SharedStore>,
        /// The spool's folder; `None` on a host without a disk.
        state_path: Option<PathBuf>,
        /// The name that tells the spools of several accounts in one folder apart.
        account: String,
        /// The file that shows the token on this host.
        mirror: Option<Target>,
    },
    /// A program's own code.
    Custom {
        /// The program's functions.
        functions: Arc<dyn CustomStore>,
        /// The journal's folder. Without one there is no journal.
        state_path: Option<PathBuf>,
    },
}

/// An opened location.
#[derive(Clone)]
pub struct Opened {
    /// The state of the token: a journal, or memory.
    pub store: Arc<dyn Store>,
    /// The place that shows the token beside the store.
    pub mirror: Option<Follower>,
    /// The engine of a shared store, of which `store` is this host's spool.
    pub shared: Option<Arc<dyn SharedStore>>,
}

impl Location {
    /// Opens the location. Writes nothing yet. Blocks.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if a path cannot be the path of such a file, if several blocks of a file match, and for a key without a
    /// journal. `STORE` if a path cannot be followed.
    pub fn open(&self, codec: &Codec, disk: Disk, purpose: Purpose) -> Result<Opened> {
        if matches!(self, Self::Memory | Self::Custom { state_path: None, .. }) && codec.has_key() {
            return Err(Error::invalid(
                "A key seals a journal, and this store has none: give it a statePath, or remove the key.",
            ));
        }
        Ok(match self {
            Self::Memory => Opened { store: Arc::new(MemoryStore::new(codec.issuer())), mirror: None, shared: None },
            Self::Journal(path) => {
                Opened { store: Arc::new(JournalStore::open(path, codec, disk)?), mirror: None, shared: None }
            }
            Self::Mirror { target, state_path } => {
                let (journal, mirror) = target.open(state_path.as_deref(), codec, disk, purpose)?;
                Opened { store: Arc::new(journal), mirror: Some(Follower::Place(Arc::new(mirror))), shared: None }
            }
            Self::Shared { engine, state_path, account, mirror } => {
                let open = |target: &Target| target.open_alone(state_path.as_deref(), disk.clone(), purpose);
                let mirror = mirror.as_ref().map(open).transpose()?;
                let mirror = mirror.map(|mirror| Follower::Place(Arc::new(mirror)));
                let store: Arc<dyn Store> = match state_path {
                    None => Arc::new(MemoryStore::new(codec.issuer())),
                    Some(folder) => {
                        let path = state_folder(folder)?.join(spool_name(account));
                        Arc::new(JournalStore::open_in_state_folder(path, codec, disk)?)
                    }
                };
                Opened { store, mirror, shared: Some(Arc::clone(engine)) }
            }
            Self::Custom { functions, state_path: None } => {
                let (store, program) = Program::without_a_journal(Arc::clone(functions), codec.issuer());
                Opened { store: Arc::new(store), mirror: Some(Follower::Program(program)), shared: None }
            }
            Self::Custom { functions, state_path: Some(folder) } => {
                let path = state_folder(folder)?.join(CUSTOM_JOURNAL);
                let journal = JournalStore::open_in_state_folder(path, codec, disk)?;
                let program = Program::before_a_journal(Arc::clone(functions));
                Opened { store: Arc::new(journal), mirror: Some(Follower::Program(program)), shared: None }
            }
        })
    }

    /// The file in which people look for the token: the mirror, or else the journal.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Journal(path) => Some(path),
            Self::Mirror { target, .. } => Some(target.path()),
            Self::Memory | Self::Shared { .. } | Self::Custom { .. } => None,
        }
    }

    /// The mirror's file and the place of the token in it, if the mirror is a file.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Mirror { target, .. } => Some(target),
            Self::Shared { mirror, .. } => mirror.as_ref(),
            Self::Memory | Self::Journal(_) | Self::Custom { .. } => None,
        }
    }
}

impl Opened {
    /// The mirror, if it is a file.
    pub fn file_mirror(&self) -> Option<&Arc<dyn Mirror>> {
        match &self.mirror {
            Some(Follower::Place(mirror)) => Some(mirror),
            Some(Follower::Program(_)) | None => None,
        }
    }
}

/// The file name of an account's spool. It contains a digest of the account's name, so that two accounts never have the same spool.
fn spool_name(account: &str) -> String {
    let label: String =
        account.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("shared-{label}-{:?}.json", Fingerprint::of(account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::journal::{KEY_BYTES, Key};

    #[test]
    fn a_key_needs_a_journal() {
        let sealed = Codec::from("https://oauth.ring.com").with_key(Key::new([7; KEY_BYTES]).into());
        let error = Location::Memory.open(&sealed, Disk::default(), Purpose::Follow).err().unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn two_accounts_never_share_a_spool() {
        let names = ["default", "a/b", "a-b", "a b", "Ä", "Ö", &"x".repeat(50), &"x".repeat(51)].map(spool_name);
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name) && name.is_ascii() && !name.contains('/'), "{name}");
        }
        assert!(names[0].starts_with("shared-default-"));
    }
}
