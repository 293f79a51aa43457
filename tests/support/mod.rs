//! Shared parts of the test suites: a simulated Ring that accepts each token once, and managers that use it.

#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]
#![allow(dead_code, reason = "each suite uses its own part of it")]
#![allow(missing_docs, reason = "named for their readers, who are the suites beside it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring_auth::Secret;
use ring_auth::files::Disk;
use ring_auth::http::{Environment, HttpClient, HttpConfig};
use ring_auth::journal::{Codec, JournalStore, KEY_BYTES, Key};
use ring_auth::location::{Location, Opened};
use ring_auth::manager::{Clock, Listener, Manager, Parts, Settings, SystemClock};
use ring_auth::mirror::{Purpose, Target};
use ring_auth::oauth::{Endpoints, LoginFlow, OauthClient, RingOauth};
use tokio::runtime::Handle;

/// Simulated token endpoint on loopback. It accepts each token once, and a spent one during the grace period. A request
/// with a spent token after that revokes the token family.
pub struct Ring {
    pub url: String,
    state: Arc<Mutex<Account>>,
}

#[derive(Debug, Default)]
pub struct Account {
    pub grace: Duration,
    /// All refresh requests, answered or not.
    pub requests: u32,
    pub refreshes: u32,
    pub stale: u32,
    pub revoked: bool,
    /// The delay of an answer after the token was rotated.
    pub latency: Duration,
    /// Number of the request from which on Ring keeps answers back, as long as this is set.
    pub holds_from: Option<u32>,
    /// The lifetime of the access token in the answer, in seconds.
    pub expires_in: f64,
    pub most_at_once: u32,
    /// Number of rotations, which excludes requests that Ring rejected.
    pub rotations: u32,
    /// The least length in bytes of its tokens.
    pub token_bytes: usize,
    /// Generator of faults, which makes the same faults in every run.
    pub chance: Option<Chance>,
    /// Whether the grace period is only for the token that was sent last.
    pub only_last: bool,
    presented: Option<u32>,
    at_once: u32,
    newest: u32,
    spent: HashMap<u32, Instant>,
}

impl Ring {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let account = Account {
            grace: Duration::ZERO,
            requests: 0,
            refreshes: 0,
            stale: 0,
            revoked: false,
            latency: Duration::ZERO,
            holds_from: None,
            expires_in: 3600.0,
            most_at_once: 0,
            rotations: 0,
            token_bytes: 0,
            chance: None,
            only_last: false,
            presented: None,
            at_once: 0,
            newest: 1,
            spent: HashMap::new(),
        };
        let state = Arc::new(Mutex::new(account));
        let shared = Arc::clone(&state);
        // The thread ends with the process, and so does the simulated account.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    // A client that disconnects during a request was killed by its test.
                    let _ = answer(stream, &shared);
                });
            }
        });
        Self { url, state }
    }

    /// The Ring of the parent process, whose address a child gets from its parent.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), state: Arc::default() }
    }

    /// The first token of a new family.
    pub fn first_token(&self) -> String {
        let mut account = self.account();
        account.revoked = false;
        account.newest += 1;
        account.spent.clear();
        name(account.newest, account.token_bytes)
    }

    pub fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token of at least that many bytes, of which each part differs from every other token.
fn name(number: u32, bytes: usize) -> String {
    let name = format!("eyJhbGciOiJIUzI1NiJ9.token-{number}.signature");
    let missing = bytes.saturating_sub(name.len());
    name + &format!("{number:08}").repeat(missing.div_ceil(8))
}

fn answer(stream: TcpStream, shared: &Mutex<Account>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let token = url::form_urlencoded::parse(&body)
        .find_map(|(key, value)| (key == "refresh_token").then(|| value.into_owned()))
        .unwrap_or_default();
    let account = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let ((status, mut text), fault, latency, number) = {
        let mut account = account();
        account.at_once += 1;
        account.requests += 1;
        account.most_at_once = account.most_at_once.max(account.at_once);
        let fault = account.chance.as_mut().and_then(Chance::fault);
        let answer = match fault {
            Some(Fault::CutBefore) => (OK, String::new()),
            Some(Fault::Unavailable) => ("503 Service Unavailable", "<html>down</html>".to_owned()),
            Some(Fault::Portal) => (OK, "<html>sign in to this network</html>".to_owned()),
            Some(Fault::CutAfter | Fault::BadGateway | Fault::Truncated) | None => account.refresh(&token),
        };
        (answer, fault, account.latency, account.requests)
    };
    thread::sleep(latency);
    while account().holds_from.is_some_and(|from| from <= number) {
        thread::sleep(Duration::from_millis(1));
    }
    account().at_once -= 1;
    let status = match fault {
        Some(Fault::CutBefore | Fault::CutAfter) => return Ok(()),
        Some(Fault::BadGateway) => {
            "<html>bad gateway</html>".clone_into(&mut text);
            "502 Bad Gateway"
        }
        _ => status,
    };
    let shown = if fault == Some(Fault::Truncated) { text.len() / 2 } else { text.len() };
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        text.len(),
        &text[..shown]
    )
}

const OK: &str = "200 OK";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Ring closes the connection before it looks at the request.
    CutBefore,
    /// Ring rotates the token, and closes the connection without an answer.
    CutAfter,
    Unavailable,
    /// Ring rotates the token, and a proxy in front of it answers 502.
    BadGateway,
    /// Ring rotates the token, and sends half of the answer.
    Truncated,
    /// Another server answers 200.
    Portal,
}

/// A small generator: xorshift, started the same way each time.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % count as u64).unwrap()
    }

    fn fault(&mut self) -> Option<Fault> {
        match self.below(100) {
            0..4 => Some(Fault::CutBefore),
            4..8 => Some(Fault::CutAfter),
            8..12 => Some(Fault::Unavailable),
            12..14 => Some(Fault::BadGateway),
            14..16 => Some(Fault::Truncated),
            16 => Some(Fault::Portal),
            _ => None,
        }
    }
}

impl Account {
    fn refresh(&mut self, token: &str) -> (&'static str, String) {
        self.refreshes += 1;
        let number = token.strip_prefix("eyJhbGciOiJIUzI1NiJ9.token-").and_then(|rest| rest.split('.').next());
        // A token that consists of parts of two tokens is not valid.
        let is_whole = |number: &u32| name(*number, self.token_bytes) == token;
        let number: Option<u32> = number.and_then(|number| number.parse().ok()).filter(is_whole);
        let may_return = !self.only_last || number == self.presented;
        let in_grace = |at: &Instant| may_return && at.elapsed() < self.grace;
        let accepted = match number {
            _ if self.revoked => false,
            Some(number) if number == self.newest => true,
            Some(number) if self.spent.get(&number).is_some_and(in_grace) => true,
            _ => {
                self.stale += 1;
                self.revoked = true;
                false
            }
        };
        if !accepted {
            return ("401 Unauthorized", r#"{"error":"invalid_grant","error_description":"no"}"#.to_owned());
        }
        self.spent.entry(self.newest).or_insert_with(Instant::now);
        if let Some(number) = number {
            self.spent.entry(number).or_insert_with(Instant::now);
        }
        self.presented = number;
        self.newest += 1;
        self.rotations += 1;
        // Like a real server, this one forgets tokens whose grace period is over. A forgotten token is stale too.
        if self.spent.len() > 1000 {
            let grace = self.grace;
            self.spent.retain(|_, at| at.elapsed() < grace);
        }
        let json = format!(
            r#"{{"access_token":"access-{0}","expires_in":{1},"refresh_token":"{2}","scope":"client","token_type":"Bearer"}}"#,
            self.newest,
            self.expires_in,
            name(self.newest, self.token_bytes)
        );
        (OK, json)
    }
}

/// The OAuth client for a server.
pub fn wire(url: &str) -> Arc<RingOauth> {
    let endpoints = Endpoints::parse(Some(url), None).unwrap();
    let http = HttpConfig { environment: Environment::default(), ..HttpConfig::default() };
    Arc::new(RingOauth::new(Arc::new(HttpClient::new(http)), endpoints, None).unwrap())
}

/// Prefix of the names of folders whose journals are sealed, by which each process of a suite recognises them.
pub const SEALED: &str = "sealed-";

/// Creates a folder for sealed or for plain journals.
pub fn folder(sealed: bool) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(if sealed { SEALED } else { "plain-" }).tempdir().unwrap()
}

/// The codec with which the journal of that path is read and written.
pub fn codec(issuer: String, path: &Path) -> Codec {
    let is_sealed = path.iter().any(|part| part.to_string_lossy().starts_with(SEALED));
    let codec = Codec::from(issuer);
    if is_sealed { codec.with_key(Key::new([7; KEY_BYTES]).into()) } else { codec }
}

/// The files below a folder that show an access token, or a refresh token of this Ring, wrapped or not. Versions of a
/// configuration, which show the token even if the journal is sealed, are left out.
pub fn showing(folder: &Path) -> Vec<String> {
    let marks = ["eyJhbGciOiJIUzI1NiJ9.token-", "access-"].map(str::as_bytes);
    let mut forms: Vec<Vec<u8>> = marks.iter().map(|mark| mark.to_vec()).collect();
    // A text has three forms in base64, depending on its offset.
    for before in 0..3 {
        let text = STANDARD.encode([&b"   "[..before], marks[0]].concat());
        forms.push(text.as_bytes()[if before == 0 { 0 } else { 4 }..text.len() / 4 * 4 - 4].to_vec());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(showing(&entry.path()));
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let has = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form);
        if !bytes.starts_with(b"{\n  \"bridge\"") && forms.iter().any(has) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

/// A manager with a journal, as the addon makes one.
pub fn manager(
    journal: &Path,
    token: Option<String>,
    disk: Disk,
    oauth: Arc<dyn OauthClient>,
    listener: Arc<dyn Listener>,
) -> Manager {
    manager_with_clock(journal, token, disk, oauth, listener, Arc::new(SystemClock::new()))
}

/// A manager with a journal, with a clock of its own.
pub fn manager_with_clock(
    journal: &Path,
    token: Option<String>,
    disk: Disk,
    oauth: Arc<dyn OauthClient>,
    listener: Arc<dyn Listener>,
    clock: Arc<dyn Clock>,
) -> Manager {
    let codec = codec(oauth.endpoints().issuer(), journal);
    manager_with_codec(journal, token, disk, oauth, listener, clock, codec)
}

/// A manager with a journal that is read and written with the given codec, whatever its path is.
#[allow(clippy::too_many_arguments, reason = "each is a part of a manager")]
pub fn manager_with_codec(
    journal: &Path,
    token: Option<String>,
    disk: Disk,
    oauth: Arc<dyn OauthClient>,
    listener: Arc<dyn Listener>,
    clock: Arc<dyn Clock>,
    codec: Codec,
) -> Manager {
    let store = JournalStore::open(journal, codec, disk).unwrap();
    with_parts(
        Parts {
            store: Arc::new(store),
            mirror: None,
            oauth,
            clock,
            listener,
            shared: None,
            runtime: Handle::current(),
        },
        token,
    )
}

/// A manager with a `config.json` as its mirror and the journal of that file, as the addon makes one.
pub fn manager_of_config(
    config: &Path,
    disk: Disk,
    oauth: Arc<dyn OauthClient>,
    listener: Arc<dyn Listener>,
) -> Manager {
    let target = Target::Homebridge { path: config.to_owned(), platform: None, name: None };
    let location = Location::Mirror { target, state_path: None };
    let codec = codec(oauth.endpoints().issuer(), config);
    let Opened { store, mirror, .. } = location.open(&codec, disk, Purpose::Follow).unwrap();
    let parts = Parts {
        store,
        mirror,
        oauth,
        clock: Arc::new(SystemClock::new()),
        listener,
        shared: None,
        runtime: Handle::current(),
    };
    with_parts(parts, None)
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Copies a folder with its content.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

/// Copies the files of a folder while a process uses it. A file that was deleted after the folder was read is not in
/// the copy.
pub fn copy_folder_in_use(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match std::fs::copy(entry.path(), to.join(entry.file_name())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
}

/// Sets the target of a link, which may exist already.
pub fn retarget(link: &Path, to: &str) {
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(to, link).unwrap();
}

/// The names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A manager with the parts that a suite has chosen.
pub fn with_parts(parts: Parts, token: Option<String>) -> Manager {
    let settings = Settings {
        refresh_token: token.map(Secret::new),
        refuses_at_calls: false,
        system_id: Some("test".to_owned()),
        device_name: "test".to_owned(),
        login_flow: LoginFlow::Auto,
        request_timeout: Duration::from_secs(20),
        auto_refresh: false,
    };
    Manager::open(parts, settings).unwrap()
}
