//! What was asked for.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use super::output::Loudness;
use super::{StandardInput, suggest};
use crate::oauth::LoginFlow;
use crate::{Error, Result, Secret};

/// What `--help` shows.
pub(super) const HELP: &str = "\
ring-auth gets a Ring refresh token, keeps it alive, and never loses it.

Usage: ring-auth [login]   ask for e-mail, password and code; print the refresh token
       ring-auth login --web   the same on a page for a browser
       ring-auth token     print a valid access token, rotating only when needed
       ring-auth refresh   rotate now and store the new token
       ring-auth status    show what is stored, without the network and without secrets
       ring-auth watch     keep the token fresh, and tell a command when a person is needed
       ring-auth logout    forget the token

Where the token is kept, one of these:
  --homebridge [PATH]      Homebridge's config.json; without PATH it is looked for in the usual places
      --platform P         the block's platform, where it is not Ring
      --name N             the block's name, where several have that platform
  --dotenv PATH            a .env file; --env-file PATH is the same where the file is there
      --env-key KEY        the variable, where it is not RING_REFRESH_TOKEN
  --state-file PATH        a journal: a small file that only ring-auth writes
  --state-dir DIR          the journal's folder for the first two, instead of .ring-auth beside the file
  --refresh-token-stdin    take a token from standard input (token needs one of the others as well)

For login:
  --email E                or RING_EMAIL; asked for otherwise
  --password-stdin         the first line of standard input is the password, the second one the code;
                           or RING_PASSWORD; asked for otherwise
  --code C                 or RING_2FA_CODE; asked for otherwise
  --totp-secret-file PATH  the secret that an authenticator app was set up with; or RING_TOTP_SECRET
  --login-flow FLOW        auto, pkce or password
  --device-name NAME       how this device is called in Ring's Control Center
  --system-id ID           derive the device's hardware id from this instead of from the machine
  --new-device             be a new device, when the old one is blocked
  --user-agent UA          another app string, when this one is blocked

For login --web:
  --host H                 the address to listen on, 127.0.0.1 by default
  --port P                 the port, a free one by default
  --allow-host NAME        another name that the browser may use for this machine; may be given several times
  --tls-cert FILE          a certificate and
  --tls-key FILE           its key, both as PEM, for https

For refresh:
  --force                  even in a cool-down, and even with a token that was rejected

For status:
  --max-age AGE            exit code 5 if the last success is older than that: 90s, 15m, 26h or 3d

For watch:
  --exec CMD               run this when a person is needed, and when that is over
  --on-change              run it at every change of the state

For all:
  --json                   one JSON object on standard output, everything for people on standard error
  --quiet, --verbose       less or more on standard error
  --help, --version

RING_EMAIL, RING_PASSWORD, RING_2FA_CODE and RING_TOTP_SECRET have a second form with _FILE, which names a file with
the value; RING_REFRESH_TOKEN_FILE is one with a token to begin with. The credentials ring-email, ring-password and
ring-totp-secret of systemd are the last resort.
HTTPS_PROXY, NO_PROXY, NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, SSL_CERT_DIR and NODE_USE_SYSTEM_CA are honoured.
RING_AUTH_OAUTH_URL and RING_AUTH_API_URL name other servers, for tests and gateways.

Exit codes: 0 done; 2 wrong usage; 3 a login or a code is needed; 4 Ring refused; 5 Ring or the network is in
trouble; 6 the store cannot be read or written; 130 interrupted; 1 anything else.
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Login,
    Token,
    Refresh,
    Status,
    Watch,
    Logout,
    Help,
    Version,
}

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) action: Action,
    pub(super) options: Options,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Options {
    pub(super) email: Option<String>,
    pub(super) password_stdin: bool,
    pub(super) code: Option<Secret>,
    /// The file with what the authenticator app was set up with.
    pub(super) totp_secret_file: Option<PathBuf>,
    pub(super) store: Option<StoreOption>,
    /// The journal's folder, where it is not beside the file.
    pub(super) state_dir: Option<PathBuf>,
    pub(super) login_flow: LoginFlow,
    pub(super) user_agent: Option<String>,
    pub(super) system_id: Option<String>,
    pub(super) device_name: Option<String>,
    pub(super) new_device: bool,
    pub(super) force: bool,
    /// How old the last success may be before `status` counts it as an outage.
    pub(super) max_age: Option<Duration>,
    /// The command that `watch` runs.
    pub(super) exec: Option<String>,
    pub(super) on_change: bool,
    pub(super) refresh_token_stdin: bool,
    pub(super) web: Option<WebOptions>,
    pub(super) json: bool,
    pub(super) loudness: Loudness,
    /// Not an option: what the program that runs the command line knows of standard input.
    pub(super) input: StandardInput,
}

/// Where the page of `login --web` is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct WebOptions {
    pub(super) host: Option<String>,
    pub(super) port: u16,
    pub(super) allowed_hosts: Vec<String>,
    /// Certificate and key.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
}

/// What belongs to the page, until all options were seen.
#[derive(Default)]
struct PageOptions {
    is_wanted: bool,
    page: WebOptions,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    /// The first option that goes with the page only.
    needs_page: Option<&'static str>,
    /// The first option that answers what the page asks for.
    needs_dialogue: Option<&'static str>,
}

impl PageOptions {
    /// Notes which of the two ways to log in an option goes with.
    fn note(&mut self, option: &str) {
        let of_page = match option {
            "host" => Some("--host"),
            "port" => Some("--port"),
            "allow-host" => Some("--allow-host"),
            "tls-cert" => Some("--tls-cert"),
            "tls-key" => Some("--tls-key"),
            _ => None,
        };
        let of_dialogue = match option {
            "email" => Some("--email"),
            "password-stdin" => Some("--password-stdin"),
            "code" => Some("--code"),
            "totp-secret-file" => Some("--totp-secret-file"),
            "new-device" => Some("--new-device"),
            _ => None,
        };
        self.needs_page = self.needs_page.or(of_page);
        self.needs_dialogue = self.needs_dialogue.or(of_dialogue);
    }

    /// Reads the value of one of the page's options.
    fn take(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<()> {
        match option {
            "web" => self.is_wanted = true,
            "host" => self.page.host = Some(text(parser, "--host")?),
            "port" => {
                let refused = |_| Error::invalid("--port is a number from 0 to 65535; 0 is any free port.");
                self.page.port = text(parser, "--port")?.parse().map_err(refused)?;
            }
            "allow-host" => self.page.allowed_hosts.push(text(parser, "--allow-host")?),
            "tls-cert" => self.certificate = Some(path(parser, "--tls-cert")?),
            _ => self.key = Some(path(parser, "--tls-key")?),
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<WebOptions>> {
        let Self { is_wanted, mut page, certificate, key, needs_page, needs_dialogue } = self;
        if !is_wanted {
            return match needs_page {
                Some(option) => Err(Error::invalid(format!("{option} goes with login --web only."))),
                None => Ok(None),
            };
        }
        if let Some(option) = needs_dialogue {
            return Err(Error::invalid(format!("{option} does not go with --web: the page asks for what is needed.")));
        }
        page.tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid("--tls-cert needs --tls-key as well.")),
            (None, Some(_)) => return Err(Error::invalid("--tls-key needs --tls-cert as well.")),
        };
        Ok(Some(page))
    }
}

/// Where the token is kept, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreOption {
    Journal(PathBuf),
    Homebridge {
        /// The usual places are looked at where there is none.
        path: Option<PathBuf>,
        platform: Option<String>,
        name: Option<String>,
    },
    Dotenv {
        /// Which of its two names the option was called by.
        option: &'static str,
        path: PathBuf,
        key: Option<String>,
    },
}

impl StoreOption {
    pub(super) fn option(&self) -> &'static str {
        match self {
            Self::Journal(_) => "--state-file",
            Self::Homebridge { .. } => "--homebridge",
            Self::Dotenv { option, .. } => option,
        }
    }
}

/// What belongs to one of the stores, until all of them were seen.
#[derive(Default)]
struct StoreOptions {
    store: Option<StoreOption>,
    platform: Option<String>,
    name: Option<String>,
    key: Option<String>,
    state_dir: Option<PathBuf>,
}

impl StoreOptions {
    fn take(&mut self, store: StoreOption) -> Result<()> {
        match &self.store {
            None => {
                self.store = Some(store);
                Ok(())
            }
            Some(other) if other.option() == store.option() => {
                Err(Error::invalid(format!("{} is given twice. The token is kept in one place.", store.option())))
            }
            Some(other) => Err(Error::invalid(format!(
                "{} and {} exclude each other: the token is kept in one place.",
                other.option(),
                store.option()
            ))),
        }
    }

    fn finish(self, options: &mut Options) -> Result<()> {
        let Self { mut store, platform, name, key, state_dir } = self;
        let (mut block, mut variable) = ([platform, name], key);
        match &mut store {
            Some(StoreOption::Homebridge { platform, name, .. }) => [*platform, *name] = std::mem::take(&mut block),
            Some(StoreOption::Dotenv { key, .. }) => *key = variable.take(),
            _ => {}
        }
        let [platform, name] = &block;
        let stray = [
            (platform.is_some(), "--platform", "--homebridge"),
            (name.is_some(), "--name", "--homebridge"),
            (variable.is_some(), "--env-key", "--dotenv or --env-file"),
            (
                state_dir.is_some() && matches!(store, None | Some(StoreOption::Journal(_))),
                "--state-dir",
                "--homebridge, --dotenv or --env-file",
            ),
        ];
        if let Some((_, option, with)) = stray.into_iter().find(|(is_stray, ..)| *is_stray) {
            return Err(Error::invalid(format!("{option} goes with {with} only.")));
        }
        options.store = store;
        options.state_dir = state_dir;
        Ok(())
    }
}

/// Understands the arguments. `has_token_file`: a variable names a file with a token to begin with.
///
/// # Errors
///
/// `INVALID_ARGUMENT`, which names the argument but never shows what may be a secret.
pub(super) fn parse(args: Vec<OsString>, has_token_file: bool) -> Result<Parsed> {
    let mut options = Options::default();
    let mut action = None;
    let mut shown = None;
    let mut parser = lexopt::Parser::from_args(args);
    let mut login_only: Option<&'static str> = None;
    let mut stores = StoreOptions::default();
    let mut page = PageOptions::default();
    while let Some(arg) = parser.next().map_err(|error| usage(&error))? {
        let only_login = match &arg {
            Long("email") => Some("--email"),
            Long("password-stdin") => Some("--password-stdin"),
            Long("code") => Some("--code"),
            Long("totp-secret-file") => Some("--totp-secret-file"),
            Long("new-device") => Some("--new-device"),
            Long("login-flow") => Some("--login-flow"),
            Long("device-name") => Some("--device-name"),
            Long("web") => Some("--web"),
            _ => None,
        };
        if let Long(option) = &arg {
            page.note(option);
        }
        login_only = login_only.or(only_login);
        match arg {
            Long("help") | Short('h') => shown = Some(Action::Help),
            Long("version") | Short('V') => shown = shown.or(Some(Action::Version)),
            Long("email") => options.email = Some(text(&mut parser, "--email")?),
            Long("password-stdin") => options.password_stdin = true,
            Long("password") => {
                return Err(Error::invalid(
                    "A password is never an argument: every user of this machine could read it. Use the prompt, --password-stdin or RING_PASSWORD.",
                ));
            }
            Long("code") => options.code = Some(code(&text(&mut parser, "--code")?, "--code")?),
            Long("totp-secret-file") => options.totp_secret_file = Some(path(&mut parser, "--totp-secret-file")?),
            Long("state-file") => {
                let path = path(&mut parser, "--state-file")?;
                stores.take(StoreOption::Journal(path))?;
            }
            Long("homebridge") => {
                let path = homebridge_path(&mut parser)?;
                stores.take(StoreOption::Homebridge { path, platform: None, name: None })?;
            }
            Long(name @ ("env-file" | "dotenv")) => {
                let option = if name == "dotenv" { "--dotenv" } else { "--env-file" };
                let path = path(&mut parser, option)?;
                stores.take(StoreOption::Dotenv { option, path, key: None })?;
            }
            Long("platform") => stores.platform = Some(text(&mut parser, "--platform")?),
            Long("name") => stores.name = Some(text(&mut parser, "--name")?),
            Long("env-key") => stores.key = Some(text(&mut parser, "--env-key")?),
            Long("state-dir") => stores.state_dir = Some(path(&mut parser, "--state-dir")?),
            Long("login-flow") => {
                options.login_flow = match text(&mut parser, "--login-flow")?.as_str() {
                    "auto" => LoginFlow::Auto,
                    "pkce" => LoginFlow::Pkce,
                    "password" => LoginFlow::Password,
                    _ => return Err(Error::invalid("--login-flow is one of auto, pkce and password.")),
                };
            }
            Long("user-agent") => options.user_agent = Some(text(&mut parser, "--user-agent")?),
            Long("system-id") => options.system_id = Some(text(&mut parser, "--system-id")?),
            Long("device-name") => options.device_name = Some(text(&mut parser, "--device-name")?),
            Long("new-device") => options.new_device = true,
            Long(option @ ("web" | "host" | "port" | "allow-host" | "tls-cert" | "tls-key")) => {
                let option = option.to_owned();
                page.take(&option, &mut parser)?;
            }
            Long("force") => options.force = true,
            Long("max-age") => options.max_age = Some(age(&text(&mut parser, "--max-age")?)?),
            Long("exec") => options.exec = Some(text(&mut parser, "--exec")?),
            Long("on-change") => options.on_change = true,
            Long("refresh-token-stdin") => options.refresh_token_stdin = true,
            Long("json") => options.json = true,
            Long("quiet") | Short('q') => options.loudness = Loudness::Quiet,
            Long("verbose") | Short('v') => options.loudness = Loudness::Verbose,
            Value(word) if action.is_none() => {
                action = Some(command(&word).ok_or_else(|| no_command(word.to_str().unwrap_or_default()))?);
            }
            Value(_) => return Err(Error::invalid("There is a word too many. See ring-auth --help.")),
            other => return Err(usage(&other.unexpected())),
        }
    }
    let action = action.unwrap_or(Action::Login);
    if let Some(shown) = shown {
        return Ok(Parsed { action: shown, options });
    }
    check_command(action, &options, login_only)?;
    stores.finish(&mut options)?;
    options.web = page.finish()?;
    check_store(action, &options, has_token_file)?;
    Ok(Parsed { action, options })
}

/// Refuses an option that belongs to another command.
fn check_command(action: Action, options: &Options, login_only: Option<&str>) -> Result<()> {
    if let Some(option) = login_only.filter(|_| action != Action::Login) {
        return Err(Error::invalid(format!("{option} is for login only.")));
    }
    if options.force && action != Action::Refresh {
        return Err(Error::invalid("--force is for refresh only."));
    }
    if options.max_age.is_some() && action != Action::Status {
        return Err(Error::invalid("--max-age is for status only."));
    }
    let watch_only = options.exec.as_ref().map(|_| "--exec").or(options.on_change.then_some("--on-change"));
    if let Some(option) = watch_only.filter(|_| action != Action::Watch) {
        return Err(Error::invalid(format!("{option} is for watch only.")));
    }
    if options.on_change && options.exec.is_none() {
        return Err(Error::invalid("--on-change goes with --exec only."));
    }
    if options.refresh_token_stdin && matches!(action, Action::Login | Action::Logout) {
        return Err(Error::invalid("--refresh-token-stdin is for token, refresh, status and watch."));
    }
    Ok(())
}

/// Refuses a command that needs a store and has none.
fn check_store(action: Action, options: &Options, has_token_file: bool) -> Result<()> {
    let has_store = options.store.is_some();
    let needs_store = match action {
        Action::Token | Action::Watch | Action::Logout => !has_store,
        Action::Refresh | Action::Status => !has_store && !options.refresh_token_stdin && !has_token_file,
        Action::Login | Action::Help | Action::Version => false,
    };
    if needs_store {
        return Err(Error::invalid(
            "Say where the token is kept: --homebridge [PATH], --dotenv PATH or --state-file PATH.",
        ));
    }
    if options.max_age.is_some() && (!has_store || options.refresh_token_stdin) {
        return Err(Error::invalid(
            "--max-age needs a place where a token is kept: a token alone does not say when it last worked.",
        ));
    }
    Ok(())
}

fn command(word: &OsStr) -> Option<Action> {
    Some(match word.to_str()? {
        "login" => Action::Login,
        "token" => Action::Token,
        "refresh" => Action::Refresh,
        "status" => Action::Status,
        "watch" => Action::Watch,
        "logout" => Action::Logout,
        "help" => Action::Help,
        _ => return None,
    })
}

/// The commands that the help shows.
fn commands() -> impl Iterator<Item = &'static str> {
    let words = HELP
        .split("ring-auth ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '[').next());
    words.map(|word| word.trim_start_matches('[')).filter(|word| command(OsStr::new(word)).is_some())
}

/// The long options that the help shows, without their dashes.
fn options() -> impl Iterator<Item = &'static str> {
    let words =
        HELP.split("--").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next());
    words.filter(|word| !word.is_empty())
}

/// The next word, unless it is an option or a command: `--homebridge login` names no file. A file that is called like a
/// command is `./login`.
fn homebridge_path(parser: &mut lexopt::Parser) -> Result<Option<PathBuf>> {
    let is_path = |word: &OsStr| !word.as_encoded_bytes().starts_with(b"-") && command(word).is_none();
    let value = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.try_raw_args().and_then(|mut rest| rest.next_if(is_path)),
    };
    match value {
        // A variable of a script that was never set is no reason to look elsewhere.
        Some(empty) if empty.is_empty() => {
            Err(Error::invalid("The path behind --homebridge is empty. Give one, or take the empty word away."))
        }
        value => Ok(value.map(PathBuf::from)),
    }
}

fn path(parser: &mut lexopt::Parser, name: &str) -> Result<PathBuf> {
    let path = parser.value().map_err(|_| needs_value(name))?;
    if path.is_empty() { Err(needs_value(name)) } else { Ok(path.into()) }
}

fn no_command(word: &str) -> Error {
    // Anything else may be a token, a code or a password that was put in the wrong place.
    let looks_like_one = word.len() <= 12 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let shown = if looks_like_one && !word.is_empty() { format!(" {word}") } else { String::new() };
    if let Some(near) = suggest::nearest(word, commands()) {
        return Error::invalid(format!("There is no such command{shown}: did you mean {near}? See ring-auth --help."));
    }
    Error::invalid(format!(
        "There is no such command{shown}: it is one of login, token, refresh, status, watch and logout. See ring-auth --help."
    ))
}

fn text(parser: &mut lexopt::Parser, name: &str) -> Result<String> {
    let value = parser.value().map_err(|_| needs_value(name))?;
    let value = value.string().map_err(|_| Error::invalid(format!("{name} is not valid UTF-8.")))?;
    if value.is_empty() { Err(needs_value(name)) } else { Ok(value) }
}

/// A code given beforehand. One that cannot be one is refused before Ring sends anybody another.
pub(super) fn code(text: &str, name: &str) -> Result<Secret> {
    let fits = |c: char| c.is_ascii_graphic() || c.is_whitespace() || matches!(c, '\u{2010}'..='\u{2015}');
    if text.len() > 64 || !text.chars().all(fits) || !text.chars().any(|c| c.is_ascii_alphanumeric()) {
        return Err(Error::invalid(format!("{name} cannot be one of Ring's codes. Nothing was sent.")));
    }
    Ok(Secret::new(text))
}

/// A length of time with its unit: `26h`.
fn age(text: &str) -> Result<Duration> {
    let refused =
        || Error::invalid("--max-age is a whole number above 0 with one of the units s, m, h and d, as in 26h.");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(refused()),
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(refused)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refused)
}

fn needs_value(name: &str) -> Error {
    Error::invalid(format!("{name} needs a value."))
}

fn usage(error: &lexopt::Error) -> Error {
    use lexopt::Error as E;
    match error {
        // The name of an option is no secret; a value stuck to one may be.
        E::UnexpectedOption(name) => {
            let near = suggest::nearest(name.trim_start_matches('-'), options()).filter(|_| name.starts_with("--"));
            let hint = near.map(|near| format!(" Did you mean --{near}?")).unwrap_or_default();
            Error::invalid(format!("There is no option {name}.{hint} See ring-auth --help."))
        }
        E::UnexpectedValue { option, .. } => Error::invalid(format!("{option} takes no value.")),
        E::MissingValue { option: Some(option) } => needs_value(option),
        _ => Error::invalid("The arguments cannot be understood. See ring-auth --help."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed> {
        parse(line.split_whitespace().map(OsString::from).collect(), false)
    }

    fn refused(line: &str) -> String {
        parsed(line).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_misspelt_command_or_option_is_told_what_was_probably_meant() {
        assert_eq!(refused("statsu"), "There is no such command statsu: did you mean status? See ring-auth --help.");
        assert_eq!(
            refused("refresh --homebrige c"),
            "There is no option --homebrige. Did you mean --homebridge? See ring-auth --help."
        );
        assert!(refused("--statefile x").contains("Did you mean --state-file?"));
        assert!(refused("--enviroment x").ends_with("There is no option --enviroment. See ring-auth --help."));
        assert_eq!(refused("-x"), "There is no option -x. See ring-auth --help.");
        // Nothing of what may be a secret is repeated.
        assert!(refused("l0gin").contains("did you mean login?") && !refused("l0gin").contains("l0gin"));
        // What is suggested is there.
        let all: Vec<_> = commands().collect();
        for word in ["login", "token", "refresh", "status", "logout"] {
            assert!(all.contains(&word), "{all:?}");
        }
        let all: Vec<_> = options().collect();
        assert!(all.contains(&"homebridge") && all.contains(&"version") && all.len() > 25, "{all:?}");
        for option in all {
            let error = parsed(&format!("--{option}")).err();
            assert!(!error.is_some_and(|error| error.message().contains("There is no option")), "{option}");
        }
    }

    #[test]
    fn login_is_the_default() {
        assert_eq!(parsed("").unwrap().action, Action::Login);
        assert_eq!(parsed("--json --email a@b").unwrap().options.email.as_deref(), Some("a@b"));
        assert_eq!(parsed("token --state-file j --help").unwrap().action, Action::Help);
    }

    #[test]
    fn options_belong_to_their_commands() {
        assert!(refused("token --state-file j --email a").contains("--email"));
        assert!(refused("login --force").contains("--force"));
        assert!(refused("login --refresh-token-stdin").contains("--refresh-token-stdin"));
        assert!(parsed("refresh --state-file j --force").unwrap().options.force);
        let Parsed { action, options } = parsed("watch --state-file j --exec notify --on-change").unwrap();
        assert_eq!((action, options.exec.as_deref(), options.on_change), (Action::Watch, Some("notify"), true));
        assert!(refused("token --state-file j --exec notify").contains("--exec is for watch only"));
        assert!(refused("status --state-file j --on-change").contains("--on-change is for watch only"));
        assert!(refused("watch --state-file j --on-change").contains("--on-change goes with --exec only"));
        assert!(refused("watch").contains("--state-file"));
    }

    #[test]
    fn an_age_is_a_whole_number_with_a_unit() {
        for (given, seconds) in [("90s", 90), ("15m", 900), ("26h", 93_600), ("3d", 259_200), ("007s", 7)] {
            let options = parsed(&format!("status --state-file j --max-age {given}")).unwrap().options;
            assert_eq!(options.max_age, Some(Duration::from_secs(seconds)), "{given}");
        }
        for given in [
            "26",
            "h",
            "0h",
            "-1h",
            "+1h",
            "1.5h",
            "1H",
            "26 h",
            "1w",
            "1ms",
            "26hours",
            "\u{661}h",
            "999999999999999999d",
        ] {
            let args = ["status", "--state-file", "j", "--max-age", given].map(OsString::from);
            let message = parse(args.into(), false).unwrap_err().message().to_owned();
            assert!(message.contains("one of the units s, m, h and d, as in 26h"), "{given}: {message}");
        }
        assert!(refused("token --state-file j --max-age 1h").contains("status only"));
        for line in ["status --refresh-token-stdin --max-age 1h", "status --max-age 1h"] {
            let refused = parse(line.split(' ').map(OsString::from).collect(), true).unwrap_err();
            assert!(refused.message().contains("a token alone does not say when it last worked"), "{line}: {refused}");
        }
    }

    #[test]
    fn options_of_the_page_go_with_it_alone() {
        let line = "login --web --host ::1 --port 8000 --allow-host a --allow-host b --tls-cert c --tls-key k";
        let page = parsed(line).unwrap().options.web.unwrap();
        let expected = WebOptions {
            host: Some("::1".into()),
            port: 8000,
            allowed_hosts: vec!["a".into(), "b".into()],
            tls: Some(("c".into(), "k".into())),
        };
        assert_eq!(page, expected);
        assert_eq!(parsed("--web").unwrap().options.web, Some(WebOptions::default()));
        assert_eq!(parsed("login").unwrap().options.web, None);
        for (line, names) in [
            ("token --state-file j --web", ["--web", "login only"]),
            ("login --host 0.0.0.0", ["--host", "login --web only"]),
            ("status --state-file j --port 1", ["--port", "login --web only"]),
            ("login --web --port 65536", ["--port", "65535"]),
            ("login --web --port -1", ["--port", ""]),
            ("login --web --tls-cert c", ["--tls-cert", "--tls-key"]),
            ("login --web --tls-key k", ["--tls-key", "--tls-cert"]),
            ("login --web --email a@b", ["--email", "--web"]),
            ("login --web --password-stdin", ["--password-stdin", "--web"]),
            ("login --web --code 1", ["--code", "--web"]),
            ("login --web --totp-secret-file f", ["--totp-secret-file", "--web"]),
            ("token --state-file j --totp-secret-file f", ["--totp-secret-file", "login only"]),
            ("login --web --new-device", ["--new-device", "--web"]),
        ] {
            let message = refused(line);
            assert!(names.iter().all(|name| message.contains(name)), "{line}: {message}");
        }
    }

    #[test]
    fn a_store_is_asked_for_where_one_is_needed() {
        for line in ["token", "refresh", "status", "logout", "token --refresh-token-stdin"] {
            assert!(refused(line).contains("--state-file"), "{line}");
        }
        for line in ["refresh --refresh-token-stdin", "status --refresh-token-stdin", "login"] {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for (line, is_enough) in [("refresh", true), ("status", true), ("token", false), ("logout", false)] {
            assert_eq!(parse(vec![line.into()], true).is_ok(), is_enough, "{line} with a token in a file");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_never_shown() {
        for line in [
            "Canary",
            "canary7",
            "login canary",
            "canary-canary",
            "--password canary",
            "--nope=canary",
            "--json=canary",
            "--login-flow canary",
        ] {
            let message = refused(line).to_lowercase();
            assert!(!message.contains("canary"), "{line}: {message}");
        }
        assert!(refused("--nope=canary").contains("--nope"));
        assert!(refused("logni").contains("logni"));
        assert!(refused("--state-file").contains("--state-file"));
    }

    fn homebridge(line: &str) -> (Action, Option<PathBuf>) {
        let Parsed { action, options } = parsed(line).unwrap();
        match options.store {
            Some(StoreOption::Homebridge { path, .. }) => (action, path),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn homebridge_takes_a_path_or_none() {
        for (line, action, path) in [
            ("--homebridge", Action::Login, None),
            ("login --homebridge", Action::Login, None),
            ("--homebridge login", Action::Login, None),
            ("--homebridge token --json", Action::Token, None),
            ("--homebridge --platform Ring status", Action::Status, None),
            ("--homebridge c.json", Action::Login, Some("c.json")),
            ("--homebridge c.json status", Action::Status, Some("c.json")),
            ("status --homebridge c.json --name N", Action::Status, Some("c.json")),
            ("status --homebridge=-c", Action::Status, Some("-c")),
            ("--homebridge=login", Action::Login, Some("login")),
            ("--homebridge ./login refresh", Action::Refresh, Some("./login")),
        ] {
            assert_eq!(homebridge(line), (action, path.map(PathBuf::from)), "{line}");
        }
        // Never a file by accident.
        assert!(refused("login --homebridge token").contains("word too many"));
        for empty in [vec!["--homebridge="], vec!["--homebridge", ""]] {
            let error = parse(empty.into_iter().map(OsString::from).collect(), false).unwrap_err();
            assert!(error.message().contains("--homebridge is empty"), "{error}");
        }
    }

    #[test]
    fn one_store_at_a_time_with_its_own_options() {
        for (line, names) in [
            ("login --homebridge a --state-file b", ["--homebridge", "--state-file"]),
            ("login --dotenv a --homebridge", ["--dotenv", "--homebridge"]),
            ("login --env-file a --dotenv b", ["--env-file", "--dotenv"]),
            ("login --state-file a --state-file b", ["--state-file", "twice"]),
            ("login --platform P", ["--platform", "--homebridge"]),
            ("login --dotenv a --name N", ["--name", "--homebridge"]),
            ("login --homebridge --env-key K", ["--env-key", "--dotenv"]),
            ("login --state-dir d", ["--state-dir", "--homebridge"]),
            ("login --state-file a --state-dir d", ["--state-dir", "--dotenv"]),
        ] {
            let message = refused(line);
            assert!(names.iter().all(|name| message.contains(name)), "{line}: {message}");
        }
        let options = parsed("--dotenv a --env-key K --state-dir d").unwrap().options;
        let dotenv = StoreOption::Dotenv { option: "--dotenv", path: "a".into(), key: Some("K".into()) };
        assert_eq!((options.store, options.state_dir), (Some(dotenv), Some("d".into())));
        let block = StoreOption::Homebridge { path: None, platform: Some("P".into()), name: Some("N".into()) };
        assert_eq!(parsed("--name N --homebridge --platform P").unwrap().options.store, Some(block));
    }
}
