//! Kills a process at every step of a rotation, and makes each of its storage calls fail. The next start must
//! authenticate each time.
//!
//! A run records its own steps, so that no test can miss a new one. A step is a moment of a storage call (before it, in
//! the middle of a write, after it), the request, its answer, or an event.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring_auth::BoxFuture;
use ring_auth::files::{Disk, Moment, Probe};
use ring_auth::manager::{Event, Listener, SystemClock, activity};
use ring_auth::oauth::{Endpoints, Grant, Login, LoginRequest, OauthClient, RingOauth, WireError};
use ring_auth::{ErrorCode, Secret};
use support::{Chance, Ring};

/// The least number of steps of a rotation; a run that finds fewer has lost its probes.
const FEWEST_STEPS: usize = 50;
const GRACE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
const EBUSY: i32 = 16;
const CONFIG: &str = "config.json";
/// Another user than the one who runs the suite.
const NOBODY: u32 = 65534;

/// Numbers the steps, and stops or fails at one of them.
#[derive(Default)]
struct Steps {
    seen: Mutex<Vec<String>>,
    kill_at: Option<usize>,
    /// Which storage call fails, or from which one on all fail.
    fail: Mutex<Option<Failing>>,
    calls: AtomicUsize,
    /// Whether the files behave as if each were mounted alone into a container.
    irreplaceable: bool,
    requests: AtomicUsize,
    /// The write that ends before all its bytes are written.
    tear: Option<Tear>,
    writes: AtomicUsize,
}

/// A write that ends before all its bytes are written. Only writes that are longer than a signature count.
#[derive(Debug, Clone, Copy)]
struct Tear {
    /// The file: the journal itself, which is written in place, or the space that was reserved for the answer.
    file: &'static str,
    /// The number of the write among those that count.
    write: usize,
    /// The offset in the file at which it ends.
    at: usize,
    /// Whether the process is killed at that offset. If not, the call fails with EIO.
    kills: bool,
}

const JOURNAL: &str = "journal.json";
const ROOM: &str = "journal.json.next";
/// Bytes of a sector of a disk. If a write of two sectors is interrupted, the disk may have either of them without the
/// other.
const SECTOR: usize = 512;
const EIO: i32 = 5;
/// Lengths of the tokens in bytes: short ones, those of Ring, and ones longer than a page of memory.
const SIZES: [usize; 3] = [300, 1500, 6000];

impl Tear {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let file = [JOURNAL, ROOM].into_iter().find(|file| Some(*file) == words.clone().next());
        words.next();
        let mut number = || words.next()?.parse().ok();
        Some(Self { file: file?, write: number()?, at: number()?, kills: number()? == 1 })
    }

    fn text(tear: Option<Self>) -> String {
        tear.map_or_else(String::new, |Self { file, write, at, kills }| {
            format!("{file} {write} {at} {}", u8::from(kills))
        })
    }
}

#[derive(Clone, Copy)]
struct Failing {
    call: usize,
    errno: i32,
    for_good: bool,
}

impl Steps {
    fn step(&self, name: String) {
        let mut seen = self.seen.lock().unwrap();
        if self.kill_at == Some(seen.len()) {
            println!("STEPS {}", seen.join("|"));
            die();
        }
        seen.push(name);
    }
}

fn die() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    // The signal may take a moment to arrive. Until then the process must do nothing.
    loop {
        std::thread::park();
    }
}

impl Probe for Steps {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.step(format!("{moment:?} {call} {name}"));
        if moment == Moment::Middle
            && let Some(tear) = self.tear.filter(|tear| name == tear.file)
            && self.writes.load(Ordering::SeqCst) == tear.write + 1
        {
            if tear.kills {
                die();
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if moment != Moment::Before {
            return Ok(());
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(fail) = *self.fail.lock().unwrap()
            && (fail.call == number || (fail.for_good && fail.call <= number))
        {
            return Err(io::Error::from_raw_os_error(fail.errno));
        }
        // If there is a mirror, only its own file is mounted, and its journal lies beside it. A damaged journal cannot
        // be moved aside either.
        let mounted = name == JOURNAL || name.starts_with("journal.json.damaged-") || name == CONFIG;
        if self.irreplaceable && mounted && (call == "rename" || call == "exchange") {
            return Err(io::Error::from_raw_os_error(EBUSY));
        }
        Ok(())
    }

    fn tear(&self, path: &Path, offset: u64, length: usize) -> Option<usize> {
        let tear = self.tear.filter(|tear| path.ends_with(tear.file) && length > SECTOR / 4)?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        Some(tear.at.saturating_sub(usize::try_from(offset).unwrap()).min(length))
    }
}

struct Wire {
    oauth: Arc<RingOauth>,
    steps: Arc<Steps>,
}

impl OauthClient for Wire {
    fn refresh<'a>(&'a self, token: &'a Secret, id: &'a str) -> BoxFuture<'a, Result<Grant, WireError>> {
        Box::pin(async move {
            self.steps.step("request".to_owned());
            self.steps.requests.fetch_add(1, Ordering::SeqCst);
            let answer = self.oauth.refresh(token, id).await;
            self.steps.step("answer".to_owned());
            answer
        })
    }

    fn login(self: Arc<Self>, request: LoginRequest) -> Login {
        Arc::clone(&self.oauth).login(request)
    }

    fn endpoints(&self) -> &Endpoints {
        self.oauth.endpoints()
    }

    fn user_agent(&self) -> &str {
        self.oauth.user_agent()
    }
}

struct Heard(Arc<Steps>);

impl Listener for Heard {
    fn on_event(&self, event: Event) {
        if !matches!(event, Event::Log(..)) {
            self.0.step("event".to_owned());
        }
    }
}

/// Opens a manager of a path, which is a journal or a `config.json`.
async fn manager(url: &str, path: &Path, token: &str, steps: &Arc<Steps>) -> ring_auth::manager::Manager {
    let disk = Disk::with_probe(Arc::clone(steps) as Arc<dyn Probe>);
    let wire = Arc::new(Wire { oauth: support::wire(url), steps: Arc::clone(steps) });
    let heard = Arc::new(Heard(Arc::clone(steps)));
    if !is_config(path) {
        return support::manager(path, Some(token.to_owned()), disk, wire, heard);
    }
    let manager = support::manager_of_config(path, disk, wire, heard);
    // Waits for the first look at the mirror, so that each run takes the same steps.
    activity::until_idle().await;
    manager
}

fn is_config(path: &Path) -> bool {
    path.ends_with(CONFIG)
}

/// A typical configuration, in which the token is a small part.
fn config(token: &str) -> String {
    format!(
        "{{\n  \"bridge\": {{\"name\": \"Homebridge\"}},\n  \"platforms\": [\n    {{\"platform\": \"Ring\", \"refreshToken\": \"{token}\"}}\n  ]\n}}\n"
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The process that is stopped: the test binary, started again. Its environment says what it does.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let mut words = job.split('\n');
    let mut word = || words.next().unwrap().to_owned();
    let (url, journal, token, kill_at, irreplaceable) = (word(), PathBuf::from(word()), word(), word(), word());
    let steps = Arc::new(Steps {
        kill_at: kill_at.parse().ok(),
        irreplaceable: irreplaceable == "true",
        tear: Tear::parse(&word()),
        ..Steps::default()
    });
    runtime().block_on(async {
        let manager = manager(&url, &journal, &token, &steps).await;
        manager.refresh(false).await.unwrap();
        manager.close().await;
    });
    println!("STEPS {}", steps.seen.lock().unwrap().join("|"));
}

struct Ended {
    killed: bool,
    steps: Vec<String>,
}

impl Ended {
    /// Checks that the process was killed at the step, or had fewer steps and ended normally. The run that counted the
    /// steps may have had more, because it looked once more on a busy machine.
    fn assert_hit(&self, number: usize, step: &str) {
        let had_fewer = (1..=number).contains(&self.steps.len());
        assert!(self.killed || had_fewer, "step {number} ({step}) was passed over");
    }

    /// How long Ring has to accept the token again: `GRACE` if the process ended between the request and the first
    /// write of the answer, otherwise not at all. This uses the steps of this run, because a busy machine may take them
    /// in another order than the run before.
    fn grace(&self) -> Duration {
        let lost = self
            .steps
            .iter()
            .rposition(|step| step == "request")
            .is_some_and(|request| !self.steps.iter().skip(request).any(|step| step.starts_with("After write")));
        if lost { GRACE } else { Duration::ZERO }
    }
}

fn run_child(ring: &Ring, journal: &Path, token: &str, kill_at: Option<usize>, irreplaceable: bool) -> Ended {
    run_child_torn(ring, journal, token, kill_at, irreplaceable, None)
}

fn run_child_torn(
    ring: &Ring,
    journal: &Path,
    token: &str,
    kill_at: Option<usize>,
    irreplaceable: bool,
    tear: Option<Tear>,
) -> Ended {
    let kill_at = kill_at.map_or_else(String::new, |step| step.to_string());
    let tear = Tear::text(tear);
    let job = format!("{}\n{}\n{token}\n{kill_at}\n{irreplaceable}\n{tear}", ring.url, journal.display());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("RING_AUTH_CHILD", job)
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(SIGKILL);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    // After other crashes the process may have to wait, as in a crash loop.
    let waits = ["It is tried again after a pause", "was stopped before its answer came"];
    let is_over = killed || output.status.success() || waits.iter().any(|waits| complaint.contains(waits));
    assert!(is_over, "{text}\n{complaint}");
    let steps = text.lines().find_map(|line| line.split_once("STEPS ")).map(|(_, steps)| steps.to_owned());
    let steps = steps.map(|steps| steps.split('|').map(str::to_owned).collect()).unwrap_or_default();
    Ended { killed, steps }
}

/// The next start by the owner of the files: the test binary, started again as that user.
#[test]
fn owner() {
    let Ok(job) = std::env::var("RING_AUTH_OWNER") else { return };
    let mut words = job.split('\n');
    let mut word = || words.next().unwrap().to_owned();
    let (url, journal, token) = (word(), PathBuf::from(word()), word());
    println!("STARTED {:?}", start_again(&url, &journal, &token));
}

fn next_start_of_owner(ring: &Ring, journal: &Path, token: &str) -> Result<(), String> {
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture", "--test-threads=1"])
        .env("RING_AUTH_OWNER", format!("{}\n{}\n{token}", ring.url, journal.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let started = text.lines().find_map(|line| line.split_once("STARTED ")).map(|(_, result)| result);
    if started != Some("Ok(())") {
        return Err(format!("the owner's start: {}", started.unwrap_or(&text)));
    }
    nothing_stale(ring)
}

/// Starts again on a disk that works. The start must authenticate, and rotate once more.
fn next_start(ring: &Ring, journal: &Path, token: &str) -> Result<(), String> {
    start_again(&ring.url, journal, token)?;
    nothing_stale(ring)
}

fn nothing_stale(ring: &Ring) -> Result<(), String> {
    let account = ring.account();
    if account.stale > 0 { Err(format!("{} stale presentations", account.stale)) } else { Ok(()) }
}

fn start_again(url: &str, journal: &Path, token: &str) -> Result<(), String> {
    let steps = Arc::new(Steps::default());
    runtime().block_on(async {
        let manager = manager(url, journal, token, &steps).await;
        manager.auth().await.map_err(|error| format!("auth: {error}"))?;
        manager.refresh(false).await.map_err(|error| format!("refresh: {error}"))?;
        manager.close().await;
        if is_config(journal) {
            let shown = std::fs::read_to_string(journal).unwrap();
            let newest = manager.refresh_token().unwrap();
            if shown != config(newest.expose()) {
                return Err(format!("the configuration is not right: {shown}"));
            }
            #[expect(clippy::disallowed_methods, reason = "a test has only what is public")]
            let real = journal.canonicalize().unwrap();
            let left = support::names(real.parent().unwrap());
            if left != [".ring-auth", CONFIG] {
                return Err(format!("there is something left: {left:?}"));
            }
        }
        Ok(())
    })
}

/// Checks that after a crash of root every file belongs to the owner of the folder. Only a folder or an empty file with
/// a provisional name may belong to root.
fn check_owners(folder: &Path) -> Result<(), String> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        let is_provisional = path.to_string_lossy().contains(".new-");
        if is_provisional && (metadata.len() == 0 || metadata.is_dir()) {
            continue;
        }
        if metadata.uid() != NOBODY {
            return Err(format!("{} belongs to user {}", path.display(), metadata.uid()));
        }
        if metadata.is_dir() {
            check_owners(&path)?;
        }
    }
    Ok(())
}

fn give_to_nobody(path: &Path) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Checks that after a crash no other user can read any file, and that a configuration is whole if it can be replaced.
fn check_files(here: &Place, irreplaceable: bool) -> Result<(), String> {
    if is_config(&here.journal) && !irreplaceable {
        let shown = std::fs::read_to_string(&here.journal).unwrap();
        let whole = shown.split('"').rev().nth(1).is_some_and(|token| shown == config(token));
        if !whole {
            return Err(format!("the configuration is torn: {shown}"));
        }
    }
    check_modes(here.folder.path())
}

fn check_modes(folder: &Path) -> Result<(), String> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        if entry.path().is_dir() {
            check_modes(&entry.path())?;
        }
        if mode & 0o077 != 0 {
            return Err(format!("{} has mode {mode:o}", entry.path().display()));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// Whether a journal with a rotation exists already.
    warm: bool,
    irreplaceable: bool,
    /// Whether the journal has a mirror.
    mirror: bool,
    seal: Seal,
}

/// Whether the journal is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    Plain,
    Sealed,
    /// The journal is plain, and the process has a key now.
    Begun,
}

impl Scenario {
    const fn new(name: &'static str, seal: Seal) -> Self {
        Self { name, warm: true, irreplaceable: false, mirror: false, seal }
    }

    const fn cold(self) -> Self {
        Self { warm: false, ..self }
    }

    const fn irreplaceable(self) -> Self {
        Self { irreplaceable: true, ..self }
    }

    const fn with_mirror(self) -> Self {
        Self { mirror: true, ..self }
    }
}

const SCENARIOS: [Scenario; 11] = [
    Scenario::new("first start", Seal::Plain).cold(),
    Scenario::new("later rotation", Seal::Plain),
    Scenario::new("journal that cannot be replaced", Seal::Plain).irreplaceable(),
    Scenario::new("first start with a mirror", Seal::Plain).with_mirror().cold(),
    Scenario::new("later rotation with a mirror", Seal::Plain).with_mirror(),
    Scenario::new("mirror that cannot be replaced", Seal::Plain).with_mirror().irreplaceable(),
    Scenario::new("first start, sealed", Seal::Sealed).cold(),
    Scenario::new("later rotation, sealed", Seal::Sealed),
    Scenario::new("sealed journal that cannot be replaced", Seal::Sealed).irreplaceable(),
    Scenario::new("sealed journal of a mirror", Seal::Sealed).with_mirror(),
    Scenario::new("plain journal that gets a key", Seal::Begun),
];

struct Place {
    folder: tempfile::TempDir,
    journal: PathBuf,
    token: String,
}

fn place(ring: &Ring, warm: bool, mirror: bool, seal: Seal) -> Place {
    let folder = support::folder(seal != Seal::Plain);
    let journal = folder.path().join(if mirror { CONFIG } else { "journal.json" });
    let token = ring.first_token();
    if mirror {
        support::write_private(&journal, &config(&token));
    }
    {
        let mut account = ring.account();
        account.grace = Duration::ZERO;
        account.stale = 0;
    }
    if warm && seal == Seal::Begun {
        rotate_plain(ring, &journal, &token);
    } else if warm {
        next_start(ring, &journal, &token).unwrap();
    }
    Place { folder, journal, token }
}

/// Rotates once in a manager that has no key.
fn rotate_plain(ring: &Ring, journal: &Path, token: &str) {
    let steps = Arc::new(Steps::default());
    runtime().block_on(async {
        let (wire, heard) = (support::wire(&ring.url), Arc::new(Heard(steps)));
        let codec = wire.endpoints().issuer().into();
        let clock = Arc::new(SystemClock::new());
        let (token, disk) = (Some(token.to_owned()), Disk::default());
        let manager = support::manager_with_codec(journal, token, disk, wire, heard, clock, codec);
        manager.refresh(false).await.unwrap();
        manager.close().await;
    });
}

#[test]
fn killed_at_every_step_the_next_start_authenticates() {
    let (points, failures) = beside_each_other(&SCENARIOS, |ring, scenario| {
        let Scenario { name, warm, irreplaceable, mirror, seal } = scenario;
        let mut failures = Vec::new();
        let here = place(ring, warm, mirror, seal);
        let steps = run_child(ring, &here.journal, &here.token, None, irreplaceable).steps;
        assert!(steps.len() >= FEWEST_STEPS, "{name}: only {} steps", steps.len());
        for (number, step) in steps.iter().enumerate() {
            ring.account().token_bytes = SIZES[number % SIZES.len()];
            let here = place(ring, warm, mirror, seal);
            let ended = run_child(ring, &here.journal, &here.token, Some(number), irreplaceable);
            ended.assert_hit(number, &format!("{step} of {name}"));
            ring.account().grace = ended.grace();
            let result = check_files(&here, irreplaceable)
                .and_then(|()| if seal == Seal::Sealed { check_secrets(&here) } else { Ok(()) })
                .and_then(|()| next_start(ring, &here.journal, &here.token))
                .and_then(|()| if seal == Seal::Plain { Ok(()) } else { check_secrets(&here) });
            if let Err(error) = result {
                failures.push(format!("{name}: killed at step {number} ({step}): {error}"));
            }
        }
        (steps.len(), failures)
    });
    println!("crash points: {points}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Checks that no file in the folder of a sealed journal shows a token.
fn check_secrets(here: &Place) -> Result<(), String> {
    let showing = support::showing(here.folder.path());
    if showing.is_empty() { Ok(()) } else { Err(format!("a token can be read in {showing:?}")) }
}

/// Moves all files into a folder `former`, and replaces the journal by a link to it.
fn behind_a_link(here: &Place) {
    let former = here.folder.path().join("former");
    let name = here.journal.file_name().unwrap().to_str().unwrap().to_owned();
    let names = support::names(here.folder.path());
    std::fs::create_dir(&former).unwrap();
    std::fs::set_permissions(&former, std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in names {
        std::fs::rename(here.folder.path().join(&name), former.join(&name)).unwrap();
    }
    support::retarget(&here.journal, &format!("former/{name}"));
}

/// Runs cases in parallel, each with its own Ring, because the tests mostly wait for a disk. Returns the number of
/// points and the failures.
fn beside_each_other<T: Copy + Send + Sync>(
    cases: &[T],
    run: impl Fn(&Ring, T) -> (usize, Vec<String>) + Sync,
) -> (usize, Vec<String>) {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| run(&Ring::start(), *case))).collect();
        let done = running.into_iter().map(|case| case.join().unwrap());
        done.fold((0, Vec::new()), |(points, failures), case| (points + case.0, [failures, case.1].concat()))
    })
}

#[test]
fn killed_at_every_step_the_next_start_authenticates_behind_a_link_that_was_retargeted() {
    let (points, failures) = beside_each_other(&[false, true], |ring, mirror| {
        let mut failures = Vec::new();
        let linked = || {
            let here = place(ring, true, mirror, Seal::Plain);
            behind_a_link(&here);
            here
        };
        let here = linked();
        let steps = run_child(ring, &here.journal, &here.token, None, false).steps;
        assert!(steps.len() >= FEWEST_STEPS, "mirror {mirror}: only {} steps", steps.len());
        for (number, step) in steps.iter().enumerate() {
            let here = linked();
            let ended = run_child(ring, &here.journal, &here.token, Some(number), false);
            ended.assert_hit(number, &format!("{step}, mirror {mirror}"));
            ring.account().grace = ended.grace();
            support::copy_folder(&here.folder.path().join("former"), &here.folder.path().join("copy"));
            let name = here.journal.file_name().unwrap().to_str().unwrap().to_owned();
            support::retarget(&here.journal, &format!("copy/{name}"));
            if let Err(error) = next_start(ring, &here.journal, &here.token) {
                failures.push(format!("mirror {mirror}: killed at step {number} ({step}): {error}"));
            }
        }
        (steps.len(), failures)
    });
    println!("crash points behind a link: {points}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn root_killed_at_every_step_leaves_files_with_which_their_owner_continues() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: the files of another user need root");
        return;
    }
    // A user runs `sudo ring-auth …` on the files of a service. The journal must exist: a journal belongs to the user
    // that creates it.
    let is_there = |scenario: &Scenario| scenario.seal == Seal::Plain && (scenario.warm || scenario.mirror);
    let of_another_user: Vec<_> = SCENARIOS.into_iter().filter(is_there).collect();
    assert_eq!(of_another_user.len(), 5);
    let (points, failures) = beside_each_other(&of_another_user, |ring, scenario| {
        let Scenario { name, warm, irreplaceable, mirror, seal } = scenario;
        let mut failures = Vec::new();
        // The owner has no lock, reserved space or copy there, so root is the first to create them.
        let place_of_owner = || {
            let here = place(ring, warm, mirror, seal);
            for ending in [".lock", ".next", ".tmp"] {
                let _ = std::fs::remove_file(here.folder.path().join(format!("journal.json{ending}")));
            }
            give_to_nobody(here.folder.path());
            here
        };
        let here = place_of_owner();
        let steps = run_child(ring, &here.journal, &here.token, None, irreplaceable).steps;
        assert!(steps.len() >= FEWEST_STEPS, "{name}: only {} steps", steps.len());
        for (number, step) in steps.iter().enumerate() {
            ring.account().token_bytes = SIZES[number % SIZES.len()];
            let here = place_of_owner();
            let ended = run_child(ring, &here.journal, &here.token, Some(number), irreplaceable);
            ended.assert_hit(number, &format!("{step} of {name}"));
            ring.account().grace = ended.grace();
            let result = check_files(&here, irreplaceable)
                .and_then(|()| check_owners(here.folder.path()))
                .and_then(|()| next_start_of_owner(ring, &here.journal, &here.token));
            if let Err(error) = result {
                failures.push(format!("{name}: killed at step {number} ({step}): {error}"));
            }
        }
        (steps.len(), failures)
    });
    println!("crash points of root: {points}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether the text of a journal contains the whole record of the current token, or its whole line if the journal is
/// sealed.
fn has_whole_token(text: &str) -> bool {
    let sealed = text.lines().filter(|line| line.starts_with("    \"") && line.trim_end_matches(',').ends_with('"'));
    let is_record = |line: &str| line.starts_with("  \"current\": {") && line.ends_with("},");
    text.lines().any(is_record) || sealed.count() > LINES_BEFORE_TOKEN
}

/// Number of lines of a journal before the line of its current token.
const LINES_BEFORE_TOKEN: usize = 13;

/// Makes one write end early, with or without a kill, and then starts again.
fn tear_once(ring: &Ring, tear: Tear, seal: Seal) -> Result<(), String> {
    let irreplaceable = tear.file == JOURNAL;
    let here = place(ring, true, false, seal);
    let journal = &here.journal;
    if tear.kills {
        // Ring accepts the spent token again if this machine may not have the new one.
        ring.account().grace = GRACE;
        let ended = run_child_torn(ring, journal, &here.token, None, irreplaceable, Some(tear));
        if !ended.killed {
            return Err("it was not reached".to_owned());
        }
        let text = std::fs::read(journal.with_file_name(tear.file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if irreplaceable || has_whole_token(&text) {
            ring.account().grace = Duration::ZERO;
        }
    } else {
        let steps = Arc::new(Steps { irreplaceable, tear: Some(tear), ..Steps::default() });
        runtime().block_on(async {
            let manager = manager(&ring.url, journal, &here.token, &steps).await;
            let result = manager.refresh(false).await;
            manager.close().await;
            match result {
                Err(error) if error.code() != ErrorCode::Store || steps.requests.load(Ordering::SeqCst) > 0 => {
                    Err(format!("{error}"))
                }
                Ok(_) if !manager.status().persisted => Err("not persisted by the end".to_owned()),
                _ if steps.writes.load(Ordering::SeqCst) <= tear.write => Err("it was not reached".to_owned()),
                _ => Ok(()),
            }
        })?;
    }
    check_files(&here, irreplaceable)?;
    if seal == Seal::Sealed {
        check_secrets(&here)?;
    }
    next_start(ring, journal, &here.token)
}

#[test]
fn torn_at_every_sector_in_place_the_next_start_authenticates() {
    let every_sector = std::env::var_os("RING_AUTH_SOAK").is_some();
    let cases = SIZES.map(|bytes| [(bytes, Seal::Plain), (bytes, Seal::Sealed)]).concat();
    let (tears, failures) = beside_each_other(&cases, |ring, (bytes, seal)| {
        let mut failures = Vec::new();
        let mut tears = 0;
        ring.account().token_bytes = bytes;
        let here = place(ring, true, false, seal);
        let length = usize::try_from(std::fs::metadata(&here.journal).unwrap().len()).unwrap() + SECTOR;
        // Without `RING_AUTH_SOAK` the test tears about ten sectors of each file, and always the first four.
        let step = if every_sector { 1 } else { (length / SECTOR / 10).max(1) };
        let sectors = (0..length / SECTOR).filter(|sector| *sector < 4 || sector % step == 0);
        for at in sectors.map(|sector| sector * SECTOR) {
            // These writes are the mark in place, the answer in place, and the answer in its reserved space.
            for (file, write) in [(JOURNAL, 0), (JOURNAL, 1), (ROOM, 0)] {
                for kills in [true, false] {
                    tears += 1;
                    let tear = Tear { file, write, at, kills };
                    if let Err(error) = tear_once(ring, tear, seal) {
                        failures.push(format!("{seal:?}, tokens of {bytes} bytes: {tear:?}: {error}"));
                    }
                }
            }
        }
        (tears, failures)
    });
    println!("tears: {tears}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(tears > 200, "only {tears}");
}

/// Kills several starts in a row, each at a random step. Each start finds the files that the previous crash left
/// behind.
#[test]
fn stopped_again_and_again_the_next_start_authenticates() {
    let is_long = std::env::var_os("RING_AUTH_SOAK").is_some();
    let ring = Ring::start();
    // Ring accepts a spent token again if it was the last one sent, because the answer may be lost, but no older one.
    ring.account().only_last = true;
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut failures = Vec::new();
    let mut crashes = 0;
    for round in 0..if is_long { 2000 } else { 40 } {
        ring.account().token_bytes = SIZES[round % SIZES.len()];
        let irreplaceable = round % 2 == 0;
        let seal = if round % 4 < 2 { Seal::Plain } else { Seal::Sealed };
        let here = place(&ring, true, false, seal);
        ring.account().grace = GRACE;
        let mut history = Vec::new();
        for _ in 0..2 + chance.below(3) {
            let (kill_at, tear) = if chance.below(2) == 0 {
                (Some(chance.below(90)), None)
            } else {
                let file = if irreplaceable && chance.below(3) > 0 { JOURNAL } else { ROOM };
                let at = chance.below(12 + SIZES[round % SIZES.len()] / 100) * SECTOR;
                (None, Some(Tear { file, write: chance.below(2), at, kills: true }))
            };
            let ended = run_child_torn(&ring, &here.journal, &here.token, kill_at, irreplaceable, tear);
            crashes += usize::from(ended.killed);
            history.push(format!("{kill_at:?} {tear:?} {}", ended.killed));
        }
        let steps = Arc::new(Steps { irreplaceable, ..Steps::default() });
        let result = runtime().block_on(async {
            let manager = manager(&ring.url, &here.journal, &here.token, &steps).await;
            // After several crashes a refresh waits, unless the caller forces it.
            manager.refresh(true).await.map_err(|error| format!("refresh: {error}"))?;
            manager.auth().await.map_err(|error| format!("auth: {error}"))?;
            manager.close().await;
            let account = ring.account();
            if account.stale > 0 { Err(format!("{} stale presentations", account.stale)) } else { Ok(()) }
        });
        let checked = result.and_then(|()| check_files(&here, irreplaceable));
        let checked = checked.and_then(|()| if seal == Seal::Sealed { check_secrets(&here) } else { Ok(()) });
        if let Err(error) = checked {
            failures.push(format!("round {round}: {error}; {history:?}"));
        }
    }
    println!("crashes on crashes: {crashes}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(crashes > 40, "only {crashes}");
}

/// ENOSPC, EACCES, EIO, EROFS, EPERM, EBUSY, EXDEV.
const ERRNOS: [i32; 7] = [28, 13, 5, 30, 1, EBUSY, 18];

#[test]
fn whatever_storage_call_fails_nothing_is_lost() {
    let outcomes = Mutex::new(BTreeSet::new());
    let (cases, failures) = beside_each_other(&SCENARIOS, |ring, scenario| {
        let Scenario { name, warm, irreplaceable, mirror, seal } = scenario;
        let mut failures = Vec::new();
        let mut cases = 0;
        let here = place(ring, warm, mirror, seal);
        let counted = Arc::new(Steps { irreplaceable, ..Steps::default() });
        runtime().block_on(async {
            let manager = manager(&ring.url, &here.journal, &here.token, &counted).await;
            manager.refresh(false).await.unwrap();
            manager.close().await;
        });
        let calls = counted.calls.load(Ordering::SeqCst);
        assert!(calls >= FEWEST_STEPS / 3, "{name}: only {calls} storage calls");
        // Two error numbers are enough for a mirror, because its own tests cover each of them, and for a sealed
        // journal, because it makes the same calls as a plain one.
        let errnos = if mirror || seal != Seal::Plain { &ERRNOS[..2] } else { &ERRNOS[..] };
        for call in 0..calls {
            for errno in errnos.iter().copied() {
                for for_good in [false, true] {
                    cases += 1;
                    ring.account().token_bytes = SIZES[cases % SIZES.len()];
                    let here = place(ring, warm, mirror, seal);
                    let failing = Failing { call, errno, for_good };
                    let result = fail_once(ring, &here, failing, irreplaceable);
                    let checked = if seal == Seal::Plain { Ok(()) } else { check_secrets(&here) };
                    match result.and_then(|outcome| checked.map(|()| outcome)) {
                        Ok(outcome) => {
                            outcomes.lock().unwrap().insert(outcome);
                        }
                        Err(error) => failures.push(format!(
                            "{name}: storage call {call} failing with {errno}{}: {error}",
                            if for_good { " for good" } else { "" }
                        )),
                    }
                }
            }
        }
        (cases, failures)
    });
    println!("storage faults: {cases}, failures: {}", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let outcomes = outcomes.into_inner().unwrap();
    assert!(outcomes.contains("refused") && outcomes.contains("served"), "{outcomes:?}");
}

fn fail_once(ring: &Ring, here: &Place, failing: Failing, irreplaceable: bool) -> Result<&'static str, String> {
    let steps = Arc::new(Steps { irreplaceable, fail: Mutex::new(Some(failing)), ..Steps::default() });
    let outcome = runtime().block_on(async {
        let manager = manager(&ring.url, &here.journal, &here.token, &steps).await;
        let result = manager.refresh(false).await;
        let requests = steps.requests.load(Ordering::SeqCst);
        let outcome = match &result {
            Ok(_) => "served",
            Err(error) if matches!(error.code(), ErrorCode::Store | ErrorCode::StoreLocked) && requests == 0 => {
                "refused"
            }
            Err(error) => return Err(format!("{error} after {requests} requests")),
        };
        // The disk works again, and `close` makes the pending write at the latest.
        *steps.fail.lock().unwrap() = None;
        manager.close().await;
        if outcome == "served" && !manager.status().persisted {
            return Err("not persisted by the end".to_owned());
        }
        Ok(outcome)
    })?;
    check_files(here, irreplaceable)?;
    next_start(ring, &here.journal, &here.token)?;
    Ok(outcome)
}
