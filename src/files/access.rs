//! Who may read a file on Windows, where there is no mode: a file has the access list that its folder gives it, unless
//! it gets one of its own. What is asked of the system and how its answers are read is the same on every system, and
//! tested on each; only the running of its tools is not.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::names::plain;

/// The system itself, which can read everything anyway, and its administrators, who can let themselves.
const SYSTEM: &str = "S-1-5-18";
const ADMINISTRATORS: &str = "S-1-5-32-544";

/// Runs the system's own tools.
pub(super) trait Tools {
    /// What a tool printed, and whether it says that it worked.
    ///
    /// # Errors
    ///
    /// Where it cannot be run, or does not end.
    fn run(&self, tool: &str, arguments: &[OsString]) -> io::Result<(bool, String)>;
}

/// Who may read what is made in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// This user, the system and its administrators.
    Us,
    /// Somebody else as well.
    Others,
    /// The system does not say, or has no access lists there.
    Unknown,
}

/// What gets a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file.
    File,
    /// A folder, with all that is made in it later.
    Folder,
}

/// The access lists of files, by way of the system's tools.
pub(super) struct AccessLists<T> {
    tools: T,
    user: OnceLock<Option<String>>,
    /// Asked once: a tool costs some 30 ms.
    folders: Mutex<HashMap<PathBuf, Readers>>,
    /// Folders with files that could not be kept from others, and whether that was said.
    exposed: Mutex<HashMap<PathBuf, bool>>,
}

impl<T: Tools> AccessLists<T> {
    pub(super) fn new(tools: T) -> Self {
        Self { tools, user: OnceLock::new(), folders: Mutex::default(), exposed: Mutex::default() }
    }

    /// Who may read what is made in a folder, without a list of its own.
    pub(super) fn readers_in(&self, folder: &Path) -> Readers {
        let folder = plain(folder.to_owned());
        if let Some(known) = hold(&self.folders).get(&folder) {
            return *known;
        }
        let readers = match (self.list_of(&folder), self.user()) {
            (Some(list), Some(user)) => list.readers_of_new(user),
            _ => Readers::Unknown,
        };
        hold(&self.folders).insert(folder, readers);
        readers
    }

    /// Lets nobody but this user, the system and its administrators at something. Where that cannot be done it is
    /// remembered, and what has to be kept is kept all the same.
    pub(super) fn restrict(&self, path: &Path, kind: Kind) {
        let path = plain(path.to_owned());
        let done = self.user().is_some_and(|user| {
            let mut arguments: Vec<OsString> = vec![path.clone().into(), "/inheritance:r".into(), "/grant:r".into()];
            arguments.extend(grants(user, kind).into_iter().map(OsString::from));
            arguments.push("/q".into());
            matches!(self.tools.run("icacls.exe", &arguments), Ok((true, _)))
        });
        match kind {
            Kind::Folder if done => {
                hold(&self.folders).insert(path, Readers::Us);
            }
            // What is made in it is tried again, each by itself.
            Kind::Folder => {}
            Kind::File if done => {}
            Kind::File => self.expose(&path),
        }
    }

    /// Remembers that a file could not be kept from others.
    pub(super) fn expose(&self, file: &Path) {
        if let Some(folder) = plain(file.to_owned()).parent() {
            hold(&self.exposed).entry(folder.to_owned()).or_insert(false);
        }
    }

    /// Whether a file beside that one could not be kept from others; said once.
    pub(super) fn take_exposed(&self, file: &Path) -> bool {
        let mut exposed = hold(&self.exposed);
        let said = plain(file.to_owned()).parent().and_then(|folder| exposed.get_mut(folder));
        said.is_some_and(|said| !std::mem::replace(said, true))
    }

    /// Whether a file may take the place of another: everybody may do with it what they may do with that one.
    pub(super) fn are_alike(&self, one: &Path, other: &Path) -> bool {
        self.list_of(one).is_some_and(|list| self.list_of(other) == Some(list))
    }

    fn user(&self) -> Option<&str> {
        let ask = || {
            let (worked, answer) =
                self.tools.run("whoami.exe", &["/user", "/fo", "csv", "/nh"].map(OsString::from)).ok()?;
            worked.then(|| user_in(&answer)).flatten()
        };
        self.user.get_or_init(ask).as_deref()
    }

    /// `icacls` says names, in the language of the system; `cacls` says identifiers.
    fn list_of(&self, path: &Path) -> Option<List> {
        let (worked, answer) =
            self.tools.run("cacls.exe", &[plain(path.to_owned()).into_os_string(), "/s".into()]).ok()?;
        if worked { List::in_answer(&answer) } else { None }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is granted, and to whom.
fn grants(user: &str, kind: Kind) -> Vec<String> {
    let rights = match kind {
        Kind::File => "F",
        Kind::Folder => "(OI)(CI)F",
    };
    let others = [SYSTEM, ADMINISTRATORS].into_iter().filter(|sid| *sid != user);
    std::iter::once(user).chain(others).map(|sid| format!("*{sid}:{rights}")).collect()
}

/// The identifier in `"name","S-1-5-…"`. The name may be in any code page, and have anything in it but quotes.
fn user_in(answer: &str) -> Option<String> {
    let (_, last) = answer.trim_end().strip_suffix('"')?.rsplit_once('"')?;
    is_sid(last).then(|| last.to_owned())
}

fn is_sid(text: &str) -> bool {
    text.strip_prefix("S-1-")
        .is_some_and(|rest| rest.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
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
    /// Sorted: what counts here is what is granted, not in which order.
    entries: Vec<Entry>,
}

impl List {
    /// The list in an answer: a path, which may begin with `D:` itself, then the list in quotes.
    fn in_answer(answer: &str) -> Option<Self> {
        answer.rmatch_indices("D:").find_map(|(at, mark)| Self::parse(&answer[at + mark.len()..]))
    }

    /// `None` for anything that is not understood to its end: an entry that is overlooked could let anybody in.
    fn parse(text: &str) -> Option<Self> {
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
        let is_whole = rest.trim().trim_start_matches('"').is_empty();
        is_whole.then(|| Self { is_protected: flags.contains('P'), entries })
    }

    /// Who may read what is made in the folder that has this list.
    fn readers_of_new(&self, user: &str) -> Readers {
        let mut inherited = self.entries.iter().filter(|entry| entry.has("OI") || entry.has("CI")).peekable();
        if inherited.peek().is_none() {
            // What nobody says is decided by the process, and by no rule that could be read here.
            return Readers::Others;
        }
        if inherited.all(|entry| entry.kind == "D" || entry.kind == "A" && entry.is_for_us(user)) {
            Readers::Us
        } else {
            Readers::Others
        }
    }
}

impl Entry {
    fn has(&self, flag: &str) -> bool {
        self.flags.as_bytes().chunks(2).any(|one| one == flag.as_bytes())
    }

    fn is_for_us(&self, user: &str) -> bool {
        // CO and OW are whoever makes the file.
        let names = ["SY", "BA", "CO", "OW", SYSTEM, ADMINISTRATORS, user];
        // The system makes files in somebody's home for them: a service for the user who set it up.
        let is_at_home = user == SYSTEM && self.rights == "FA" && self.trustee.starts_with("S-1-5-21-");
        names.contains(&self.trustee.as_str()) || is_at_home && !is_of_a_domain(&self.trustee)
    }
}

/// Whether an identifier is one of the groups and accounts that every domain has: its users, its guests.
fn is_of_a_domain(sid: &str) -> bool {
    sid.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()).is_none_or(|number| number < 1000)
}

/// The tools of this system.
#[cfg(not(unix))]
pub(super) struct SystemTools;

#[cfg(not(unix))]
mod system {
    use std::ffi::OsString;
    use std::io::{self, Read};
    use std::os::windows::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::thread::{sleep, spawn};
    use std::time::{Duration, Instant};

    use super::{SystemTools, Tools};

    /// A service has no window, and its user wants none.
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    /// They need some 30 ms, and on a machine that has just started a second.
    const PATIENCE: Duration = Duration::from_secs(5);
    const LOOK: Duration = Duration::from_millis(5);
    /// A list has some hundred bytes, and never more than 64 KiB.
    const MAX_ANSWER: u64 = 256 * 1024;

    impl Tools for SystemTools {
        fn run(&self, tool: &str, arguments: &[OsString]) -> io::Result<(bool, String)> {
            let mut child = Command::new(system_folder().join(tool))
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .creation_flags(CREATE_NO_WINDOW)
                .spawn()?;
            // Read meanwhile: a full pipe would keep it from ending.
            let output = child.stdout.take().map(|output| {
                spawn(move || {
                    let mut answer = Vec::new();
                    let _ = output.take(MAX_ANSWER).read_to_end(&mut answer);
                    answer
                })
            });
            let status = end_of(&mut child)?;
            let answer = output.and_then(|output| output.join().ok()).unwrap_or_default();
            Ok((status.success(), String::from_utf8_lossy(&answer).into_owned()))
        }
    }

    fn end_of(child: &mut Child) -> io::Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(LOOK);
        }
    }

    /// Not by a search for the name: anybody may put a program of that name into a folder that is searched.
    fn system_folder() -> PathBuf {
        let root = std::env::var_os("SystemRoot").map(PathBuf::from).filter(|root| root.is_absolute());
        root.as_deref().unwrap_or(Path::new(r"C:\Windows")).join("System32")
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

    /// A system of which only the answers are there.
    struct Fake {
        user: &'static str,
        lists: RefCell<HashMap<&'static str, &'static str>>,
        can_restrict: Cell<bool>,
        asked: RefCell<Vec<String>>,
    }

    impl Tools for Fake {
        fn run(&self, tool: &str, arguments: &[OsString]) -> io::Result<(bool, String)> {
            let arguments: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
            self.asked.borrow_mut().push(format!("{tool} {}", arguments.join(" ")));
            match tool {
                "whoami.exe" => Ok((true, format!("\"machine\\jos\u{fffd}\",\"{}\"\r\n", self.user))),
                "cacls.exe" => match self.lists.borrow().get(arguments[0]) {
                    Some(list) => Ok((true, format!("{} \"{list}\" \r\n\r\n", arguments[0]))),
                    None => Ok((false, "The Cacls command can be run only on NTFS.".into())),
                },
                "icacls.exe" => Ok((self.can_restrict.get(), String::new())),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn system<const N: usize>(user: &'static str, lists: [(&'static str, &'static str); N]) -> AccessLists<Fake> {
        AccessLists::new(Fake {
            user,
            lists: RefCell::new(lists.into()),
            can_restrict: Cell::new(true),
            asked: RefCell::default(),
        })
    }

    fn asked(lists: &AccessLists<Fake>) -> Vec<String> {
        lists.tools.asked.take()
    }

    #[test]
    fn a_folder_that_is_ours_is_asked_about_once_and_nothing_is_changed() {
        let lists = system(ME, [("D:/mine", MINE)]);
        for _ in 0..3 {
            assert_eq!(lists.readers_in(Path::new("D:/mine")), Readers::Us);
        }
        assert_eq!(asked(&lists), ["cacls.exe D:/mine /s", "whoami.exe /user /fo csv /nh"]);
    }

    #[test]
    fn a_file_is_given_to_us_the_system_and_its_administrators() {
        let lists = system(ME, []);
        lists.restrict(Path::new("/f/j.json"), Kind::File);
        assert!(!lists.take_exposed(Path::new("/f/j.json")));
        let command =
            "icacls.exe /f/j.json /inheritance:r /grant:r *S-1-5-21-1-2-3-1001:F *S-1-5-18:F *S-1-5-32-544:F /q";
        assert_eq!(asked(&lists)[1..], [command]);
        // The system itself is named once.
        let lists = system(SYSTEM, []);
        lists.restrict(Path::new("/f/j.json"), Kind::File);
        assert_eq!(asked(&lists)[1..], ["icacls.exe /f/j.json /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F /q"]);
    }

    #[test]
    fn a_folder_is_restricted_with_all_that_will_be_in_it() {
        let lists = system(ME, [("/f", EVERYBODY_S)]);
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Others);
        asked(&lists);
        lists.restrict(Path::new("/f/.ring-auth"), Kind::Folder);
        assert_eq!(lists.readers_in(Path::new("/f/.ring-auth")), Readers::Us);
        let asked = asked(&lists);
        assert_eq!(asked.len(), 1);
        assert!(asked[0].contains("*S-1-5-21-1-2-3-1001:(OI)(CI)F *S-1-5-18:(OI)(CI)F"), "{asked:?}");
    }

    #[test]
    fn what_cannot_be_restricted_is_said_once() {
        let lists = system(ME, []);
        lists.tools.can_restrict.set(false);
        let (journal, other) = (Path::new("/f/j.json"), Path::new("/g/j.json"));
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Unknown);
        for _ in 0..2 {
            lists.restrict(Path::new("/f/j.json.tmp"), Kind::File);
        }
        assert!(lists.take_exposed(journal));
        lists.restrict(Path::new("/f/j.json.tmp"), Kind::File);
        assert!(!lists.take_exposed(journal) && !lists.take_exposed(other));
        // A folder that stays open is not taken for one that is ours.
        lists.restrict(Path::new("/g"), Kind::Folder);
        assert_eq!(lists.readers_in(Path::new("/g")), Readers::Unknown);
    }

    #[test]
    fn without_a_name_for_this_user_nothing_is_taken_for_ours_or_taken_away() {
        let lists = system("nobody", [("/f", MINE)]);
        assert_eq!(lists.readers_in(Path::new("/f")), Readers::Unknown);
        lists.restrict(Path::new("/f/j"), Kind::File);
        assert!(lists.take_exposed(Path::new("/f/j")));
        assert!(!asked(&lists).iter().any(|command| command.starts_with("icacls")));
    }

    #[test]
    fn only_what_everybody_may_do_likewise_takes_a_place() {
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
    fn who_reads_what_is_made_in_a_folder() {
        let readers = |list: &str, user| List::in_answer(list).map(|list| list.readers_of_new(user));
        assert_eq!(readers(MINE, ME), Some(Readers::Us));
        assert_eq!(readers(EVERYBODY_S, ME), Some(Readers::Others));
        assert_eq!(readers("D:(A;OICI;FA;;;S-1-5-18)(A;OICIIO;GA;;;CO)(D;OICI;FA;;;WD)", ME), Some(Readers::Us));
        for others in ["WD", "AU", "BU", "CG", "S-1-5-21-1-2-3-1002", "S-1-15-2-1"] {
            let list = format!("D:(A;OICI;FA;;;SY)(A;OICI;FR;;;{others})");
            assert_eq!(readers(&list, ME), Some(Readers::Others), "{others}");
            // In the folder itself, and in nothing that is made there.
            let list = format!("D:(A;OICI;FA;;;SY)(A;;FR;;;{others})");
            assert_eq!(readers(&list, ME), Some(Readers::Us), "{others}");
        }
        // Nothing is inherited, or by a kind of entry that has conditions.
        assert_eq!(readers("D:(A;;FA;;;SY)", ME), Some(Readers::Others));
        assert_eq!(readers("D:(AU;OICI;FA;;;SY)", ME), Some(Readers::Others));
        // A service in somebody's home; a group of the whole domain, and somebody who may only look, are no such person.
        let home = |rights: &str, sid: &str| format!("D:P(A;OICI;FA;;;SY)(A;OICI;{rights};;;{sid})");
        assert_eq!(readers(&home("FA", ME), SYSTEM), Some(Readers::Us));
        assert_eq!(readers(&home("FR", ME), SYSTEM), Some(Readers::Others));
        assert_eq!(readers(&home("FA", "S-1-5-21-1-2-3-513"), SYSTEM), Some(Readers::Others));
    }

    #[test]
    fn an_answer_that_is_not_understood_to_its_end_is_none() {
        for whole in ["D:\\PAI (x)\\D: \"D:PAI(A;;FA;;;SY)\"", "C:\\f \"D:(A;;FA;;;SY)\" \r\n"] {
            assert_eq!(List::in_answer(whole).unwrap().entries.len(), 1, "{whole}");
        }
        for other in [
            "",
            "D:",
            "D:\\folder",
            "C:\\f \"D:NO_ACCESS_CONTROL\"",
            "D:(A;;FA;;;SY)(A;;FA;;;",
            "D:(A;;FA;;;SY)\r\n(A;;FA;;;WD)",
            "D:(A;;FA;;;SY)(XA;;FA;;;WD;(@User.a==(1)))",
            "D:(A;;FA;;SY)",
            "D:(OA;;FA;0;;SY)",
        ] {
            assert_eq!(List::in_answer(other), None, "{other}");
        }
    }

    #[test]
    fn the_user_is_told_by_a_number() {
        assert_eq!(
            user_in("\"pc\\a \u{fffd}, b\",\"S-1-5-21-9-8-7-1001\"\r\n").as_deref(),
            Some("S-1-5-21-9-8-7-1001")
        );
        for other in ["", "\"\"", "ERROR: no", "\"pc\\a\",\"S-1-5-x\"", "\"pc\\a\",\"S-1-\"", "S-1-5-18"] {
            assert_eq!(user_in(other), None, "{other}");
        }
    }
}
