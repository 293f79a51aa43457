//! Who may read a file on Windows, which has no modes: a file has the access list that its folder gives it, unless it gets one
//! of its own when it is created. The meaning of such a list is the same on every system, and tested on each. Only the calls
//! are those of the crate `ring-auth-access`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The system itself, which can read everything anyway, and its administrators, who can give themselves that right.
const SYSTEM: &str = "S-1-5-18";
const ADMINISTRATORS: &str = "S-1-5-32-544";

/// The calls of the system. A list is text in its own notation (SDDL): `D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-…)`.
pub(super) trait System {
    /// An open file.
    type File;
    /// How a file is opened.
    type Opening;

    /// The user of this process.
    fn user(&self) -> io::Result<User>;

    /// The list of a file or folder.
    fn list_of(&self, path: &Path) -> io::Result<String>;

    /// Creates a file that does not exist yet, with that list or with the one that its folder gives it.
    fn create_file(&self, path: &Path, list: Option<&str>, opening: &Self::Opening) -> io::Result<Self::File>;

    /// Creates a folder that does not exist yet, with that list or with the one that its own folder gives it.
    fn create_dir(&self, path: &Path, list: Option<&str>) -> io::Result<()>;
}

/// A user, as lists name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// The identifier: `S-1-5-21-…`.
    pub(super) sid: String,
    /// The name of the user in a list: the identifier, or one of the two letters of an account that every system has.
    pub(super) name: String,
}

/// Who may read what is created in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// This user, the system and its administrators.
    Us,
    /// Other users as well.
    Others,
    /// Unknown: the system does not say, or has no access lists there.
    Unknown,
}

/// The kind of entry that gets a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file.
    File,
    /// A folder, with everything that is created in it later.
    Folder,
}

/// The access lists of files.
pub(super) struct AccessLists<S> {
    system: S,
    /// Folders with files that other users may be able to read, and whether that was reported.
    exposed: Mutex<HashMap<PathBuf, bool>>,
}

impl<S: System> AccessLists<S> {
    pub(super) fn new(system: S) -> Self {
        Self { system, exposed: Mutex::default() }
    }

    /// Who may read what is created in a folder, if it gets no list of its own.
    pub(super) fn readers_in(&self, folder: &Path) -> Readers {
        self.judged(folder, List::readers_of_new)
    }

    /// Creates a file that does not exist yet and that only this user, the system and its administrators can read. If that is
    /// not possible, the file is created all the same, and [`Self::take_exposed`] reports it.
    pub(super) fn create_file(&self, path: &Path, opening: &S::Opening) -> io::Result<S::File> {
        if self.is_ours_beside(path) {
            return self.system.create_file(path, None, opening);
        }
        let made = match self.list_for(Kind::File) {
            Ok(list) => self.system.create_file(path, Some(&list), opening),
            Err(error) => Err(error),
        };
        // A token that other users can read is better than one that is lost.
        let file = made.or_else(|_| self.system.create_file(path, None, opening))?;
        // A drive without lists accepts any list, and a server may change it.
        if self.judged(path, List::readers) != Readers::Us {
            self.expose(path);
        }
        Ok(file)
    }

    /// Creates a folder that does not exist yet and that only this user, the system and its administrators can read, with
    /// everything that is created in it later. If that is not possible, each file in it is created with a list of its own.
    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        if self.is_ours_beside(path) {
            return self.system.create_dir(path, None);
        }
        match self.list_for(Kind::Folder).and_then(|list| self.system.create_dir(path, Some(&list))) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.system.create_dir(path, None),
            made => made,
        }
    }

    /// Whether other users may be able to read a file beside that one. Returns true once.
    pub(super) fn take_exposed(&self, file: &Path) -> bool {
        let mut exposed = hold(&self.exposed);
        let said = file.parent().and_then(|folder| exposed.get_mut(folder));
        said.is_some_and(|said| !std::mem::replace(said, true))
    }

    /// Whether a file may take the place of another: both give each user the same rights.
    pub(super) fn are_alike(&self, one: &Path, other: &Path) -> bool {
        self.list_of(one).is_some_and(|list| self.list_of(other) == Some(list))
    }

    /// Whether only this user can read what is created beside a path.
    fn is_ours_beside(&self, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.readers_in(folder) == Readers::Us)
    }

    fn judged(&self, path: &Path, readers: impl FnOnce(&List, &User) -> Readers) -> Readers {
        match (self.list_of(path), self.system.user()) {
            (Some(list), Ok(user)) => readers(&list, &user),
            _ => Readers::Unknown,
        }
    }

    /// The list with which a file or folder is created.
    fn list_for(&self, kind: Kind) -> io::Result<String> {
        self.system.user().map(|user| list_for(&user, kind))
    }

    /// Remembers that other users may be able to read a file.
    fn expose(&self, file: &Path) {
        if let Some(folder) = file.parent() {
            hold(&self.exposed).entry(folder.to_owned()).or_insert(false);
        }
    }

    fn list_of(&self, path: &Path) -> Option<List> {
        self.system.list_of(path).ok().as_deref().and_then(List::parse)
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A list that gives all rights to this user, the system and its administrators, and takes none from the folder.
fn list_for(user: &User, kind: Kind) -> String {
    let flags = match kind {
        Kind::File => "",
        Kind::Folder => "OICI",
    };
    let others = [SYSTEM, ADMINISTRATORS].into_iter().filter(|sid| *sid != user.sid);
    let entries: Vec<_> =
        std::iter::once(user.sid.as_str()).chain(others).map(|sid| format!("(A;{flags};FA;;;{sid})")).collect();
    format!("D:P{}", entries.concat())
}

/// One entry of an access list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    kind: String,
    flags: String,
    rights: String,
    trustee: String,
}

/// An access list in the system's own notation (SDDL): `D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    is_protected: bool,
    /// Sorted: only the granted rights count here, not their order.
    entries: Vec<Entry>,
}

impl List {
    /// `None` for a list that is not understood completely: an entry that is overlooked could give rights to anyone.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("D:")?;
        let (flags, mut rest) = text.split_at(text.find('(')?);
        if !flags.bytes().all(|byte| b"PAIR".contains(&byte)) {
            return None;
        }
        let mut entries = Vec::new();
        while let Some(entry) = rest.strip_prefix('(') {
            let (entry, behind) = entry.split_once(')')?;
            let [kind, flags, rights, "", "", trustee] = entry.split(';').collect::<Vec<_>>()[..] else { return None };
            let [kind, flags, rights, trustee] = [kind, flags, rights, trustee].map(str::to_owned);
            entries.push(Entry { kind, flags, rights, trustee });
            rest = behind;
        }
        entries.sort();
        rest.is_empty().then(|| Self { is_protected: flags.contains('P'), entries })
    }

    /// Who may read what is created in the folder that has this list.
    fn readers_of_new(&self, user: &User) -> Readers {
        // If nothing is inherited, the process decides, and this list does not show how.
        readers_by(self.entries.iter().filter(|entry| entry.has("OI") || entry.has("CI")), user)
    }

    /// Who may read a file that has this list.
    fn readers(&self, user: &User) -> Readers {
        readers_by(self.entries.iter(), user)
    }
}

fn readers_by<'a>(entries: impl Iterator<Item = &'a Entry>, user: &User) -> Readers {
    let mut entries = entries.peekable();
    let is_said = entries.peek().is_some();
    let is_ours = is_said && entries.all(|entry| entry.kind == "D" || entry.kind == "A" && entry.is_for_us(user));
    if is_ours { Readers::Us } else { Readers::Others }
}

impl Entry {
    fn has(&self, flag: &str) -> bool {
        self.flags.as_bytes().chunks(2).any(|one| one == flag.as_bytes())
    }

    fn is_for_us(&self, user: &User) -> bool {
        // CO and OW stand for the user that creates the file.
        let names = ["SY", "BA", "CO", "OW", SYSTEM, ADMINISTRATORS, &user.sid, &user.name];
        // A service of the system creates files in the home folder of the user for whom it was set up.
        let is_at_home = user.sid == SYSTEM && self.rights == "FA" && self.trustee.starts_with("S-1-5-21-");
        names.contains(&self.trustee.as_str()) || is_at_home && !is_of_a_domain(&self.trustee)
    }
}

/// Whether an identifier is one of the groups and accounts that every domain has: its users, its guests.
fn is_of_a_domain(sid: &str) -> bool {
    sid.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()).is_none_or(|number| number < 1000)
}

/// This system.
#[cfg(windows)]
pub(super) struct Windows;

#[cfg(windows)]
mod windows {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::fs::OpenOptionsExt;
    use std::path::Path;
    use std::sync::OnceLock;

    use ring_auth_access::Opening;

    use super::{System, User, Windows};

    impl System for Windows {
        type File = File;
        type Opening = Opening;

        fn user(&self) -> io::Result<User> {
            // A process keeps its user.
            static USER: OnceLock<User> = OnceLock::new();
            if let Some(user) = USER.get() {
                return Ok(user.clone());
            }
            let (sid, name) = ring_auth_access::user()?;
            Ok(USER.get_or_init(|| User { sid, name }).clone())
        }

        fn list_of(&self, path: &Path) -> io::Result<String> {
            ring_auth_access::list_of(path)
        }

        fn create_file(&self, path: &Path, list: Option<&str>, opening: &Opening) -> io::Result<File> {
            if let Some(list) = list {
                return ring_auth_access::create_file(path, list, *opening);
            }
            let mut options = OpenOptions::new();
            options.read(opening.is_read).write(true).share_mode(opening.share_mode).create_new(true).open(path)
        }

        fn create_dir(&self, path: &Path, list: Option<&str>) -> io::Result<()> {
            list.map_or_else(|| std::fs::create_dir(path), |list| ring_auth_access::create_dir(path, list))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const ME: &str = "S-1-5-21-1-2-3-1001";
    const MINE: &str = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-5-21-1-2-3-1001)";
    /// As `C:\ProgramData` has it.
    const EVERYBODY_S: &str =
        "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;DCLCRPCR;;;BU)";

    fn user(sid: &str) -> User {
        let name = match sid {
            SYSTEM => "SY",
            sid if sid.ends_with("-500") => "LA",
            sid => sid,
        };
        User { sid: sid.into(), name: name.into() }
    }

    /// What a system makes of a list that it is given.
    #[derive(Clone, Copy)]
    enum Takes {
        It,
        /// A drive without lists: it creates everything and reports no error.
        Nothing,
        /// A server that replaces the list by one of its own.
        Another(&'static str),
        /// A server that creates nothing with a list.
        Refuses,
    }

    /// A system that only answers.
    struct Fake {
        user: Option<&'static str>,
        lists: RefCell<HashMap<PathBuf, String>>,
        takes: Cell<Takes>,
        asked: RefCell<Vec<String>>,
    }

    impl Fake {
        fn create(&self, what: &str, path: &Path, list: Option<&str>) -> io::Result<()> {
            self.asked.borrow_mut().push(format!("{what} {} {}", path.display(), list.unwrap_or("-")));
            let taken = match (list, self.takes.get()) {
                (Some(_), Takes::Refuses) => return Err(io::ErrorKind::PermissionDenied.into()),
                (_, Takes::Nothing) => return Ok(()),
                (Some(_), Takes::Another(list)) | (Some(list), Takes::It) => list,
                (None, _) => "D:AI(A;ID;FA;;;SY)(A;ID;FR;;;BU)",
            };
            self.lists.borrow_mut().insert(path.into(), taken.into());
            Ok(())
        }
    }

    impl System for Fake {
        type File = ();
        type Opening = ();

        fn user(&self) -> io::Result<User> {
            self.user.map(user).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
        }

        fn list_of(&self, path: &Path) -> io::Result<String> {
            self.lists.borrow().get(path).cloned().ok_or_else(|| io::ErrorKind::Unsupported.into())
        }

        fn create_file(&self, path: &Path, list: Option<&str>, (): &()) -> io::Result<()> {
            self.create("file", path, list)
        }

        fn create_dir(&self, path: &Path, list: Option<&str>) -> io::Result<()> {
            self.create("folder", path, list)
        }
    }

    fn system<const N: usize>(user: &'static str, lists: [(&str, &str); N]) -> AccessLists<Fake> {
        AccessLists::new(Fake {
            user: Some(user),
            lists: RefCell::new(lists.map(|(path, list)| (path.into(), list.into())).into()),
            takes: Cell::new(Takes::It),
            asked: RefCell::default(),
        })
    }

    fn asked(lists: &AccessLists<Fake>) -> Vec<String> {
        lists.system.asked.take()
    }

    #[test]
    fn in_a_folder_that_is_ours_everything_takes_the_list_of_the_folder() {
        let lists = system(ME, [("D:/mine", MINE)]);
        assert_eq!(lists.readers_in(Path::new("D:/mine")), Readers::Us);
        lists.create_file(Path::new("D:/mine/j.json"), &()).unwrap();
        lists.create_dir(Path::new("D:/mine/.ring-auth")).unwrap();
        assert_eq!(asked(&lists), ["file D:/mine/j.json -", "folder D:/mine/.ring-auth -"]);
        assert!(!lists.take_exposed(Path::new("D:/mine/j.json")));
    }

    #[test]
    fn a_file_is_for_us_the_system_and_its_administrators() {
        let lists = system(ME, [("/f", EVERYBODY_S)]);
        lists.create_file(Path::new("/f/j.json"), &()).unwrap();
        assert!(!lists.take_exposed(Path::new("/f/j.json")));
        let list = "D:P(A;;FA;;;S-1-5-21-1-2-3-1001)(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)";
        assert_eq!(asked(&lists), [format!("file /f/j.json {list}")]);
        // The system itself is named once.
        let lists = system(SYSTEM, []);
        lists.create_file(Path::new("/f/j.json"), &()).unwrap();
        assert_eq!(asked(&lists), ["file /f/j.json D:P(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)"]);
    }

    #[test]
    fn a_folder_is_for_us_with_all_that_will_be_in_it() {
        let lists = system(ME, [("/f", EVERYBODY_S)]);
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Others);
        lists.create_dir(Path::new("/f/.ring-auth")).unwrap();
        assert_eq!(lists.readers_in(Path::new("/f/.ring-auth")), Readers::Us);
        let list = "D:P(A;OICI;FA;;;S-1-5-21-1-2-3-1001)(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)";
        assert_eq!(asked(&lists), [format!("folder /f/.ring-auth {list}")]);
    }

    #[test]
    fn a_file_that_others_can_read_is_created_and_reported_once() {
        let another = Takes::Another("D:AI(A;ID;FA;;;SY)(A;ID;FR;;;WD)");
        for takes in [Takes::Nothing, another, Takes::Refuses] {
            let lists = system(ME, []);
            lists.system.takes.set(takes);
            let (journal, other) = (Path::new("/f/j.json"), Path::new("/g/j.json"));
            for _ in 0..2 {
                lists.create_file(Path::new("/f/j.json.tmp"), &()).unwrap();
            }
            assert!(lists.take_exposed(journal));
            lists.create_file(Path::new("/f/j.json.tmp"), &()).unwrap();
            assert!(!lists.take_exposed(journal) && !lists.take_exposed(other));
            // A folder that other users can read is not taken for a private one.
            lists.create_dir(Path::new("/g")).unwrap();
            assert_ne!(lists.readers_in(Path::new("/g")), Readers::Us);
        }
    }

    #[test]
    fn an_entry_that_exists_is_not_created_again() {
        struct Full;
        impl System for Full {
            type File = ();
            type Opening = ();
            fn user(&self) -> io::Result<User> {
                Ok(user(ME))
            }
            fn list_of(&self, _path: &Path) -> io::Result<String> {
                Ok(EVERYBODY_S.into())
            }
            fn create_file(&self, _path: &Path, _list: Option<&str>, (): &()) -> io::Result<()> {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            fn create_dir(&self, path: &Path, list: Option<&str>) -> io::Result<()> {
                self.create_file(path, list, &())
            }
        }
        let lists = AccessLists::new(Full);
        let path = Path::new("/f/j.json");
        assert_eq!(lists.create_file(path, &()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(lists.create_dir(path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!lists.take_exposed(path));
    }

    #[test]
    fn without_a_name_for_this_user_nothing_is_taken_for_ours_or_taken_away() {
        let mut lists = system(ME, [("/f", MINE)]);
        lists.system.user = None;
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Unknown);
        lists.create_file(Path::new("/f/j"), &()).unwrap();
        lists.create_dir(Path::new("/f/d")).unwrap();
        assert!(lists.take_exposed(Path::new("/f/j")));
        assert_eq!(asked(&lists), ["file /f/j -", "folder /f/d -"]);
    }

    #[test]
    fn the_built_in_administrator_is_known_by_two_letters() {
        let lists = system("S-1-5-21-1-2-3-500", [("/f", "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;LA)")]);
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Us);
        lists.system.takes.set(Takes::Another("D:P(A;;FA;;;LA)(A;;FA;;;SY)(A;;FA;;;BA)"));
        lists.create_file(Path::new("/g/j"), &()).unwrap();
        assert!(!lists.take_exposed(Path::new("/g/j")));
        assert_eq!(system(ME, [("/f", "D:(A;OICI;FA;;;LA)")]).readers_in(Path::new("/f")), Readers::Others);
    }

    #[test]
    fn only_a_file_with_the_same_rights_for_all_users_takes_a_place() {
        let inherited = "D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)";
        let lists = system(
            ME,
            [
                ("/new", inherited),
                ("/same", "D:(A;ID;FA;;;BA)(A;ID;FA;;;SY)"),
                ("/protected", "D:PAI(A;ID;FA;;;SY)(A;ID;FA;;;BA)"),
                ("/other", "D:AI(A;;FR;;;BU)(A;ID;FA;;;SY)(A;ID;FA;;;BA)"),
            ],
        );
        let is_alike = |other: &str| lists.are_alike(Path::new("/new"), Path::new(other));
        assert!(is_alike("/new") && is_alike("/same"));
        assert!(!is_alike("/protected") && !is_alike("/other") && !is_alike("/none"));
        assert!(!lists.are_alike(Path::new("/none"), Path::new("/none")), "what is unknown is not alike");
    }

    #[test]
    fn the_list_of_a_folder_shows_who_can_read_new_files() {
        let readers = |list: &str, sid| List::parse(list).map(|list| list.readers_of_new(&user(sid)));
        assert_eq!(readers(MINE, ME), Some(Readers::Us));
        assert_eq!(readers(EVERYBODY_S, ME), Some(Readers::Others));
        assert_eq!(readers("D:(A;OICI;FA;;;S-1-5-18)(A;OICIIO;GA;;;CO)(D;OICI;FA;;;WD)", ME), Some(Readers::Us));
        for others in ["WD", "AU", "BU", "CG", "S-1-5-21-1-2-3-1002", "S-1-15-2-1"] {
            let list = format!("D:(A;OICI;FA;;;SY)(A;OICI;FR;;;{others})");
            assert_eq!(readers(&list, ME), Some(Readers::Others), "{others}");
            // In the folder itself, and in nothing that is made there.
            let list = format!("D:(A;OICI;FA;;;SY)(A;;FR;;;{others})");
            assert_eq!(readers(&list, ME), Some(Readers::Us), "{others}");
            assert_eq!(List::parse(&list).unwrap().readers(&user(ME)), Readers::Others, "{others} may read the folder");
        }
        // Nothing is inherited, or by a kind of entry that has conditions.
        assert_eq!(readers("D:(A;;FA;;;SY)", ME), Some(Readers::Others));
        assert_eq!(readers("D:(AU;OICI;FA;;;SY)", ME), Some(Readers::Others));
        // A service in the home folder of a user counts as this user. A group of the whole domain, and a user who may only
        // read, do not.
        let home = |rights: &str, sid: &str| format!("D:P(A;OICI;FA;;;SY)(A;OICI;{rights};;;{sid})");
        assert_eq!(readers(&home("FA", ME), SYSTEM), Some(Readers::Us));
        assert_eq!(readers(&home("FR", ME), SYSTEM), Some(Readers::Others));
        assert_eq!(readers(&home("FA", "S-1-5-21-1-2-3-513"), SYSTEM), Some(Readers::Others));
    }

    #[test]
    fn a_list_that_is_not_understood_to_its_end_is_none() {
        for whole in ["D:PAI(A;;FA;;;SY)", "D:(A;;FA;;;SY)"] {
            assert_eq!(List::parse(whole).unwrap().entries.len(), 1, "{whole}");
        }
        for other in [
            "",
            "D:",
            "D:P",
            "D:NO_ACCESS_CONTROL",
            "O:SYD:(A;;FA;;;SY)",
            "D:(A;;FA;;;SY)(A;;FA;;;",
            "D:(A;;FA;;;SY)S:(ML;;NW;;;LW)",
            "D:(A;;FA;;;SY)(XA;;FA;;;WD;(@User.a==(1)))",
            "D:(A;;FA;;SY)",
            "D:(OA;;FA;0;;SY)",
        ] {
            assert_eq!(List::parse(other), None, "{other}");
        }
    }
}
