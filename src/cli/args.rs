//! What was asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use super::output::Loudness;
use crate::oauth::LoginFlow;
use crate::{Error, Result, Secret};

/// What `--help` shows.
pub(super) const HELP: &str = "\
ring-auth gets a Ring refresh token, keeps it alive, and never loses it.

Usage: ring-auth [login]   ask for e-mail, password and code; print the refresh token
       ring-auth token     print a valid access token, rotating only when needed
       ring-auth refresh   rotate now and store the new token
       ring-auth status    show what is stored, without the network and without secrets
       ring-auth logout    forget the token

Where the token is kept:
  --state-file PATH        a journal: a small file that only ring-auth writes
  --refresh-token-stdin    take a token from standard input instead (token needs --state-file as well)

For login:
  --email E                or RING_EMAIL; asked for otherwise
  --password-stdin         the first line of standard input is the password, the second one the code;
                           or RING_PASSWORD; asked for otherwise
  --code C                 or RING_2FA_CODE; asked for otherwise
  --login-flow FLOW        auto, pkce or password
  --device-name NAME       how this device is called in Ring's Control Center
  --system-id ID           derive the device's hardware id from this instead of from the machine
  --new-device             be a new device, when the old one is blocked
  --user-agent UA          another app string, when this one is blocked

For refresh:
  --force                  even in a cool-down, and even with a token that was rejected

For all:
  --json                   one JSON object on standard output, everything for people on standard error
  --quiet, --verbose       less or more on standard error
  --help, --version

HTTPS_PROXY, NO_PROXY, NODE_EXTRA_CA_CERTS and SSL_CERT_FILE are honoured.
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
    pub(super) state_file: Option<PathBuf>,
    pub(super) login_flow: LoginFlow,
    pub(super) user_agent: Option<String>,
    pub(super) system_id: Option<String>,
    pub(super) device_name: Option<String>,
    pub(super) new_device: bool,
    pub(super) force: bool,
    pub(super) refresh_token_stdin: bool,
    pub(super) json: bool,
    pub(super) loudness: Loudness,
}

/// Understands the arguments.
///
/// # Errors
///
/// `INVALID_ARGUMENT`, which names the argument but never shows what may be a secret.
pub(super) fn parse(args: Vec<OsString>) -> Result<Parsed> {
    let mut options = Options::default();
    let mut action = None;
    let mut shown = None;
    let mut parser = lexopt::Parser::from_args(args);
    let mut login_only: Option<&'static str> = None;
    let mut force = false;
    while let Some(arg) = parser.next().map_err(|error| usage(&error))? {
        let only_login = match &arg {
            Long("email") => Some("--email"),
            Long("password-stdin") => Some("--password-stdin"),
            Long("code") => Some("--code"),
            Long("new-device") => Some("--new-device"),
            Long("login-flow") => Some("--login-flow"),
            Long("device-name") => Some("--device-name"),
            _ => None,
        };
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
            Long("state-file") => {
                let path = parser.value().map_err(|_| needs_value("--state-file"))?;
                if path.is_empty() {
                    return Err(needs_value("--state-file"));
                }
                options.state_file = Some(path.into());
            }
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
            Long("force") => force = true,
            Long("refresh-token-stdin") => options.refresh_token_stdin = true,
            Long("json") => options.json = true,
            Long("quiet") | Short('q') => options.loudness = Loudness::Quiet,
            Long("verbose") | Short('v') => options.loudness = Loudness::Verbose,
            Value(word) if action.is_none() => {
                action = Some(match word.to_str() {
                    Some("login") => Action::Login,
                    Some("token") => Action::Token,
                    Some("refresh") => Action::Refresh,
                    Some("status") => Action::Status,
                    Some("logout") => Action::Logout,
                    Some("help") => Action::Help,
                    Some(word) => return Err(no_command(word)),
                    None => return Err(no_command("")),
                });
            }
            Value(_) => return Err(Error::invalid("There is a word too many. See ring-auth --help.")),
            other => return Err(usage(&other.unexpected())),
        }
    }
    options.force = force;
    let action = action.unwrap_or(Action::Login);
    if let Some(shown) = shown {
        return Ok(Parsed { action: shown, options });
    }
    if let Some(option) = login_only.filter(|_| action != Action::Login) {
        return Err(Error::invalid(format!("{option} is for login only.")));
    }
    if force && action != Action::Refresh {
        return Err(Error::invalid("--force is for refresh only."));
    }
    if options.refresh_token_stdin && matches!(action, Action::Login | Action::Logout) {
        return Err(Error::invalid("--refresh-token-stdin is for token, refresh and status."));
    }
    let has_store = options.state_file.is_some();
    let needs_store = match action {
        Action::Token | Action::Logout => !has_store,
        Action::Refresh | Action::Status => !has_store && !options.refresh_token_stdin,
        Action::Login | Action::Help | Action::Version => false,
    };
    if needs_store {
        return Err(Error::invalid("Say where the token is kept: --state-file PATH."));
    }
    Ok(Parsed { action, options })
}

fn no_command(word: &str) -> Error {
    // Anything else may be a token, a code or a password that was put in the wrong place.
    let looks_like_one = word.len() <= 12 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let shown = if looks_like_one && !word.is_empty() { format!(" {word}") } else { String::new() };
    Error::invalid(format!(
        "There is no such command{shown}: it is one of login, token, refresh, status and logout. See ring-auth --help."
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

fn needs_value(name: &str) -> Error {
    Error::invalid(format!("{name} needs a value."))
}

fn usage(error: &lexopt::Error) -> Error {
    use lexopt::Error as E;
    match error {
        // The name of an option is no secret; a value stuck to one may be.
        E::UnexpectedOption(name) => Error::invalid(format!("There is no option {name}. See ring-auth --help.")),
        E::UnexpectedValue { option, .. } => Error::invalid(format!("{option} takes no value.")),
        E::MissingValue { option: Some(option) } => needs_value(option),
        _ => Error::invalid("The arguments cannot be understood. See ring-auth --help."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn refused(line: &str) -> String {
        parsed(line).unwrap_err().message().to_owned()
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
    }

    #[test]
    fn a_store_is_asked_for_where_one_is_needed() {
        for line in ["token", "refresh", "status", "logout", "token --refresh-token-stdin"] {
            assert!(refused(line).contains("--state-file"), "{line}");
        }
        for line in ["refresh --refresh-token-stdin", "status --refresh-token-stdin", "login"] {
            assert!(parsed(line).is_ok(), "{line}");
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
}
