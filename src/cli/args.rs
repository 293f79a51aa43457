//! The parser of the arguments.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use super::flags::{self, Action, COMMANDS, Flag, FlagId};
use super::output::Verbosity;
use super::{Module, StandardInput, suggest};
use crate::oauth::LoginFlow;
use crate::{Error, Result, Secret};

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) action: Action,
    /// The word after the command: the shell of `completions`.
    pub(super) word: Option<String>,
    pub(super) options: Options,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Options {
    pub(super) email: Option<String>,
    pub(super) password_stdin: bool,
    pub(super) code: Option<Secret>,
    /// The file with the secret of the authenticator app.
    pub(super) totp_secret_file: Option<PathBuf>,
    pub(super) store: StoreOptions,
    /// The store that the module of `--store-module` exports. Not an option: JavaScript loads it.
    pub(super) module: Option<Module>,
    pub(super) keys: KeyOptions,
    pub(super) login_flow: LoginFlow,
    pub(super) user_agent: Option<String>,
    pub(super) system_id: Option<String>,
    pub(super) device_name: Option<String>,
    pub(super) new_device: bool,
    pub(super) force: bool,
    /// The age of the last success from which `status` reports an outage.
    pub(super) max_age: Option<Duration>,
    /// The command that `watch` runs.
    pub(super) exec: Option<String>,
    pub(super) on_change: bool,
    pub(super) refresh_token_stdin: bool,
    pub(super) web: Option<WebOptions>,
    pub(super) json: bool,
    pub(super) verbosity: Verbosity,
    /// The purpose of standard input. Not an option: the program that runs the command line sets it.
    pub(super) input: StandardInput,
}

/// The options of the page of `login --web`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct WebOptions {
    pub(super) host: Option<String>,
    pub(super) port: u16,
    pub(super) allowed_hosts: Vec<String>,
    /// The files with the certificate and its key.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
}

/// The options of the page, until all options are read.
#[derive(Default)]
struct PageOptions {
    is_wanted: bool,
    page: WebOptions,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl PageOptions {
    fn finish(self) -> Result<Option<WebOptions>> {
        let Self { is_wanted, mut page, certificate, key } = self;
        if !is_wanted {
            return Ok(None);
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

/// The options for the key of the journal.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyOptions {
    /// The file with the key.
    pub(super) file: Option<PathBuf>,
    /// The command that prints the key.
    pub(super) command: Option<String>,
    /// The file with the key that replaces it.
    pub(super) new_file: Option<PathBuf>,
    pub(super) unseal: bool,
    /// Whether `logout` forgets a journal whose key is lost.
    pub(super) forgets_sealed: bool,
}

/// Takes the value of an option that may be given once.
fn once<T>(place: &mut Option<T>, value: T, name: &str) -> Result<()> {
    if place.is_some() {
        return Err(Error::invalid(format!("{name} is given twice. A journal has one key.")));
    }
    *place = Some(value);
    Ok(())
}

/// The options that say where the token is kept, as the user typed them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoreOptions {
    /// The option that chooses the store, and its value. `--homebridge` may have no value.
    pub(super) chosen: Option<(&'static Flag, Option<PathBuf>)>,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
    /// The variable of a `.env` file. In the environment such a variable is a secret too.
    pub(super) env_key: Option<String>,
    /// The folder of the journal. The default is a folder beside the file.
    pub(super) state_dir: Option<PathBuf>,
}

impl StoreOptions {
    pub(super) fn is_given(&self) -> bool {
        self.chosen.is_some()
    }

    fn choose(&mut self, flag: &'static Flag, path: Option<PathBuf>) -> Result<()> {
        let long = flag.long;
        match self.chosen.replace((flag, path)) {
            None => Ok(()),
            Some((other, _)) if other.long == long => {
                Err(Error::invalid(format!("{long} is given twice. The token is kept in one place.")))
            }
            Some((other, _)) => Err(Error::invalid(format!(
                "{} and {long} exclude each other: the token is kept in one place.",
                other.long
            ))),
        }
    }
}

/// The arguments that have been read so far.
#[derive(Default)]
struct Reader {
    options: Options,
    page: PageOptions,
    action: Option<Action>,
    /// The word after `completions`.
    word: Option<String>,
    shown: Option<Action>,
    given: Vec<&'static Flag>,
}

/// Parses the arguments. `has_token_file` says whether a variable names a file with a token to begin with.
///
/// # Errors
///
/// `INVALID_ARGUMENT`. The message names the argument, but never shows a value that may be a secret.
pub(super) fn parse(args: Vec<OsString>, has_token_file: bool) -> Result<Parsed> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut reader = Reader::default();
    while let Some(arg) = parser.next().map_err(|error| usage(&error))? {
        let flag = match arg {
            Value(word) => {
                reader.word(&word)?;
                continue;
            }
            Long("password") => {
                return Err(Error::invalid(
                    "A password is never an argument: every user of this machine could read it. Use the prompt, --password-stdin or RING_PASSWORD.",
                ));
            }
            Long(name) => flags::by_long(name),
            Short(letter) => flags::by_short(letter),
        };
        let Some(flag) = flag else { return Err(usage(&arg.unexpected())) };
        reader.given.push(flag);
        reader.flag(flag, &mut parser)?;
    }
    reader.finish(has_token_file)
}

impl Reader {
    fn word(&mut self, word: &OsStr) -> Result<()> {
        let text = word.to_str().unwrap_or_default();
        match self.action {
            None => self.action = Some(flags::command(word).ok_or_else(|| no_command(text))?),
            Some(Action::Completions) if self.word.is_none() && flags::SHELLS.contains(&text) => {
                self.word = Some(text.to_owned());
            }
            Some(Action::Completions) if self.word.is_none() => return Err(needs_shell()),
            Some(_) => return Err(Error::invalid("There is a word too many. See ring-auth --help.")),
        }
        Ok(())
    }

    fn flag(&mut self, flag: &'static Flag, parser: &mut lexopt::Parser) -> Result<()> {
        let Self { options, page, .. } = self;
        let long = flag.long;
        match flag.id {
            FlagId::Help => self.shown = Some(Action::Help),
            FlagId::Version => self.shown = self.shown.or(Some(Action::Version)),
            FlagId::KeyFile => once(&mut options.keys.file, path(parser, long)?, long)?,
            FlagId::KeyCommand => once(&mut options.keys.command, text(parser, long)?, long)?,
            FlagId::NewKeyFile => once(&mut options.keys.new_file, path(parser, long)?, long)?,
            FlagId::Unseal => options.keys.unseal = true,
            FlagId::Email => options.email = Some(text(parser, long)?),
            FlagId::PasswordStdin => options.password_stdin = true,
            FlagId::Code => options.code = Some(code(&text(parser, long)?, long)?),
            FlagId::TotpSecretFile => options.totp_secret_file = Some(path(parser, long)?),
            FlagId::Dotenv | FlagId::EnvFile | FlagId::StateFile | FlagId::StoreModule => {
                options.store.choose(flag, Some(path(parser, long)?))?;
            }
            FlagId::Homebridge => options.store.choose(flag, homebridge_path(parser)?)?,
            FlagId::Platform => options.store.platform = Some(text(parser, long)?),
            FlagId::Name => options.store.name = Some(text(parser, long)?),
            FlagId::EnvKey => options.store.env_key = Some(text(parser, long)?),
            FlagId::StateDir => options.store.state_dir = Some(path(parser, long)?),
            FlagId::LoginFlow => {
                options.login_flow = match text(parser, long)?.as_str() {
                    "auto" => LoginFlow::Auto,
                    "pkce" => LoginFlow::Pkce,
                    "password" => LoginFlow::Password,
                    _ => return Err(Error::invalid("--login-flow is one of auto, pkce and password.")),
                };
            }
            FlagId::UserAgent => options.user_agent = Some(text(parser, long)?),
            FlagId::SystemId => options.system_id = Some(text(parser, long)?),
            FlagId::DeviceName => options.device_name = Some(text(parser, long)?),
            FlagId::NewDevice => options.new_device = true,
            FlagId::Web => page.is_wanted = true,
            FlagId::Host => page.page.host = Some(text(parser, long)?),
            FlagId::Port => {
                let refused = |_| Error::invalid("--port is a number from 0 to 65535; 0 is any free port.");
                page.page.port = text(parser, long)?.parse().map_err(refused)?;
            }
            FlagId::AllowHost => page.page.allowed_hosts.push(text(parser, long)?),
            FlagId::TlsCert => page.certificate = Some(path(parser, long)?),
            FlagId::TlsKey => page.key = Some(path(parser, long)?),
            FlagId::Force => options.force = true,
            FlagId::MaxAge => options.max_age = Some(age(&text(parser, long)?)?),
            FlagId::Exec => options.exec = Some(text(parser, long)?),
            FlagId::OnChange => options.on_change = true,
            FlagId::RefreshTokenStdin => options.refresh_token_stdin = true,
            FlagId::Json => options.json = true,
            FlagId::Quiet => options.verbosity = Verbosity::Quiet,
            FlagId::Verbose => options.verbosity = Verbosity::Verbose,
        }
        Ok(())
    }

    fn finish(mut self, has_token_file: bool) -> Result<Parsed> {
        let action = self.action.unwrap_or(Action::Login);
        if let Some(action) = self.shown {
            return Ok(Parsed { action, word: None, options: self.options });
        }
        check_flags(action, &self.given)?;
        if action == Action::Completions && self.word.is_none() {
            return Err(needs_shell());
        }
        self.options.web = self.page.finish()?;
        let keys = &mut self.options.keys;
        keys.forgets_sealed = action == Action::Logout && self.options.force;
        if keys.unseal && keys.new_file.is_some() {
            return Err(Error::invalid(
                "--unseal and --new-key-file exclude each other: a journal is plain text, or has a key.",
            ));
        }
        check_store(action, &self.options, has_token_file)?;
        Ok(Parsed { action, word: self.word, options: self.options })
    }
}

/// Refuses an option that belongs to another command, or that has no meaning with the other options.
fn check_flags(action: Action, given: &[&'static Flag]) -> Result<()> {
    let is_given = |id: &FlagId| given.iter().any(|flag| flag.id == *id);
    for flag in given {
        let long = flag.long;
        if !flag.commands.is_empty() && !flag.commands.contains(&action) {
            let names: Vec<_> = flag.commands.iter().map(|action| flags::name_of(*action)).collect();
            return Err(Error::invalid(match &names[..] {
                [name] => format!("{long} is for {name} only."),
                names => format!("{long} is for {}.", listed(names)),
            }));
        }
        if let Some(with) = flag.goes_with.as_ref().filter(|with| !with.one_of.iter().any(is_given)) {
            return Err(Error::invalid(format!("{long} goes with {} only.", with.names)));
        }
        if flag.is_asked_by_page && is_given(&FlagId::Web) {
            return Err(Error::invalid(format!("{long} does not go with --web: the page asks for what is needed.")));
        }
    }
    Ok(())
}

/// Joins words with commas and `and`.
fn listed(words: &[&str]) -> String {
    match words {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        words => words.concat(),
    }
}

fn needs_shell() -> Error {
    Error::invalid(format!("completions needs the name of a shell: {}.", flags::SHELLS.join(", ")))
}

/// Refuses a command that needs a store and has none.
fn check_store(action: Action, options: &Options, has_token_file: bool) -> Result<()> {
    let has_store = options.store.is_given();
    let needs_store = match action {
        Action::Token | Action::Watch | Action::Logout => !has_store,
        Action::Refresh | Action::Status => !has_store && !options.refresh_token_stdin && !has_token_file,
        _ => false,
    };
    if needs_store {
        return Err(Error::invalid(
            "Say where the token is kept: --homebridge [PATH], --dotenv PATH, --state-file PATH or --store-module PATH.",
        ));
    }
    if options.max_age.is_some() && (!has_store || options.refresh_token_stdin) {
        return Err(Error::invalid(
            "--max-age needs a place where a token is kept: a token alone does not say when it last worked.",
        ));
    }
    Ok(())
}

/// The next word, unless it is an option or a command: `--homebridge login` names no file. To name a file with the name of a
/// command, a user writes `./login`.
fn homebridge_path(parser: &mut lexopt::Parser) -> Result<Option<PathBuf>> {
    let is_path = |word: &OsStr| !word.as_encoded_bytes().starts_with(b"-") && flags::command(word).is_none();
    let value = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.try_raw_args().and_then(|mut rest| rest.next_if(is_path)),
    };
    match value {
        // The variable of a script may be empty by mistake: then no other place is searched.
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
    // Anything else may be a token, a code or a password in the wrong place, so it is not shown.
    let looks_like_one = word.len() <= 12 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let shown = if looks_like_one && !word.is_empty() { format!(" {word}") } else { String::new() };
    if let Some(near) = suggest::nearest(word, COMMANDS.iter().map(|command| command.name)) {
        return Error::invalid(format!("There is no such command{shown}: did you mean {near}? See ring-auth --help."));
    }
    let names: Vec<_> =
        COMMANDS.iter().filter(|command| !command.is_about_itself).map(|command| command.name).collect();
    Error::invalid(format!("There is no such command{shown}: it is one of {}. See ring-auth --help.", listed(&names)))
}

fn text(parser: &mut lexopt::Parser, name: &str) -> Result<String> {
    let value = parser.value().map_err(|_| needs_value(name))?;
    let value = value.string().map_err(|_| Error::invalid(format!("{name} is not valid UTF-8.")))?;
    if value.is_empty() { Err(needs_value(name)) } else { Ok(value) }
}

/// A code from an option or a variable. A text that cannot be a code is refused before Ring sends another code.
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
        // The name of an option is not a secret, but a value that is attached to it may be.
        E::UnexpectedOption(name) => {
            let near =
                suggest::nearest(name.trim_start_matches('-'), flags::names()).filter(|_| name.starts_with("--"));
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
        // A message repeats nothing that may be a secret.
        assert!(refused("l0gin").contains("did you mean login?") && !refused("l0gin").contains("l0gin"));
        // Each suggested option exists.
        let all: Vec<_> = flags::names().collect();
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
        let Parsed { action, options, .. } = parsed("watch --state-file j --exec notify --on-change").unwrap();
        assert_eq!((action, options.exec.as_deref(), options.on_change), (Action::Watch, Some("notify"), true));
        assert!(refused("token --state-file j --exec notify").contains("--exec is for watch only"));
        // Without a store `doctor` makes its other checks.
        assert_eq!(parsed("doctor --json").unwrap().action, Action::Doctor);
        assert!(refused("doctor --refresh-token-stdin").contains("--refresh-token-stdin is for token"));
        assert!(refused("status --state-file j --on-change").contains("--on-change is for watch only"));
        assert!(refused("watch --state-file j --on-change").contains("--on-change goes with --exec only"));
        assert!(refused("watch").contains("--state-file"));
    }

    #[test]
    fn keys_belong_to_a_journal_and_a_change_of_keys_to_a_refresh() {
        let keys = |line: &str| parsed(line).unwrap().options.keys;
        let given = keys("refresh --state-file j --key-file k --new-key-file n");
        assert_eq!((given.file, given.new_file), (Some("k".into()), Some("n".into())));
        assert_eq!(keys("token --dotenv e --key-command pass").command.as_deref(), Some("pass"));
        assert!(keys("logout --state-file j --force").forgets_sealed);
        assert!(!keys("refresh --state-file j --force").forgets_sealed);
        assert!(refused("token --state-file j --unseal").contains("--unseal is for refresh only"));
        assert!(refused("status --state-file j --new-key-file n").contains("--new-key-file is for refresh only"));
        assert!(refused("refresh --state-file j --unseal --new-key-file n").contains("exclude each other"));
        assert!(refused("token --state-file j --key-file k --key-file l").contains("--key-file is given twice"));
        assert!(refused("login --key-file k").contains("--key-file goes with"));
        assert!(refused("refresh --refresh-token-stdin --new-key-file k").contains("--new-key-file goes with"));
        assert!(refused("status --state-file j --force").contains("--force is for refresh and logout"));
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
        let Parsed { action, options, .. } = parsed(line).unwrap();
        match options.store.chosen {
            Some((Flag { id: FlagId::Homebridge, .. }, path)) => (action, path),
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
        // A command is never taken for a file.
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
            ("login --store-module a --state-file b", ["--store-module", "--state-file"]),
            ("status --homebridge --store-module a", ["--homebridge", "--store-module"]),
            ("token --store-module a --store-module b", ["--store-module", "twice"]),
            ("token --store-module a --state-dir d", ["--state-dir", "--dotenv"]),
            ("token --store-module a --key-file k", ["--key-file goes with", "--state-file"]),
            ("login --store-module", ["--store-module", "needs a value"]),
            ("login --platform P", ["--platform", "--homebridge"]),
            ("login --dotenv a --name N", ["--name", "--homebridge"]),
            ("login --homebridge --env-key K", ["--env-key", "--dotenv"]),
            ("login --state-dir d", ["--state-dir", "--homebridge"]),
            ("login --state-file a --state-dir d", ["--state-dir", "--dotenv"]),
        ] {
            let message = refused(line);
            assert!(names.iter().all(|name| message.contains(name)), "{line}: {message}");
        }
        let chosen = |long: &str, path: Option<&str>| Some((flags::by_long(long).unwrap(), path.map(PathBuf::from)));
        let dotenv = StoreOptions {
            chosen: chosen("dotenv", Some("a")),
            env_key: Some("K".into()),
            state_dir: Some("d".into()),
            ..StoreOptions::default()
        };
        assert_eq!(parsed("--dotenv a --env-key K --state-dir d").unwrap().options.store, dotenv);
        let block = StoreOptions {
            chosen: chosen("homebridge", None),
            platform: Some("P".into()),
            name: Some("N".into()),
            ..StoreOptions::default()
        };
        assert_eq!(parsed("--name N --homebridge --platform P").unwrap().options.store, block);
    }
}
