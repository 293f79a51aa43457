//! The command line: `ring-auth [login|token|refresh|status|watch|doctor|logout|completions|man]`.
//!
//! The result goes to standard output and everything for people to standard error, so that a script can take the first and a person
//! still sees the second. The command line asks no question that cannot be answered.

mod args;
mod completions;
mod context;
mod doctor;
mod exec;
mod flags;
mod given_token;
mod help;
mod input;
mod keys;
mod login;
mod logout;
mod man;
mod output;
mod prompter;
mod refresh;
mod secrets;
mod status;
mod stdout;
mod store;
mod suggest;
mod terminal;
mod token;
mod watch;
mod web;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::journal::KeySource;
use crate::location::Location;
use crate::mirror::without_tokens;
use crate::{Error, ErrorCode};
use args::Parsed;
use flags::{Action, FlagId};
use output::Output;

pub use doctor::end_doctor;
pub use watch::end_watch;
pub use web::{WebLogin, WebStart};

/// The purpose of standard input if it is not a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StandardInput {
    /// The value of an option such as `--password-stdin`. No question is asked.
    #[default]
    Options,
    /// The answers to all questions: programs drive ring-client-api's command `ring-auth-cli` with pipes.
    Answers,
    /// A pipe at whose other end a person types: mintty, the window of Git Bash, gives such a pipe to Windows programs.
    Mintty,
}

impl StandardInput {
    /// The purpose for a command whose lines of standard input answer no question.
    fn for_options(self) -> Self {
        if self == Self::Answers { Self::Options } else { self }
    }
}

/// The store that the module of `--store-module` exports.
#[derive(Clone)]
pub struct Module {
    /// The place where the token is kept.
    pub location: Location,
    /// The key with which the journal is sealed.
    pub key: Option<KeySource>,
}

impl Module {
    /// The error for a module that cannot be used. The reason may quote what the module says.
    pub fn refused(reason: &str) -> Error {
        Error::invalid(without_tokens(reason, []))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Module(…)")
    }
}

/// The path behind `--store-module`. JavaScript loads that module before it calls [`run`]. `None` if no module is needed, also because
/// the arguments are refused.
pub fn store_module(args: Vec<OsString>) -> Option<String> {
    let Parsed { action, options, .. } = args::parse(args, has_token_file()).ok()?;
    let (flag, path) = options.store.chosen?;
    let needs_store = flags::COMMANDS.iter().any(|command| command.action == action && !command.is_about_itself);
    (flag.id == FlagId::StoreModule && needs_store).then(|| path.unwrap_or_default().to_string_lossy().into_owned())
}

/// Runs the command line with its arguments, without the program's name. Returns the exit code.
///
/// Reads `RING_EMAIL`, `RING_PASSWORD`, `RING_2FA_CODE`, `RING_TOTP_SECRET`, the files that these with `_FILE`,
/// `RING_REFRESH_TOKEN_FILE` and `RING_AUTH_KEY_FILE` name, the credentials of systemd, `RING_AUTH_OAUTH_URL` and
/// `RING_AUTH_API_URL`. To find Homebridge's configuration it reads `UIX_CONFIG_PATH`, `UIX_STORAGE_PATH`, and the homes of this user and of
/// the user that called sudo.
/// `surroundings`, for `doctor`, is what JavaScript knows of the runtime and the package, as JSON. `module` is the store of
/// [`store_module`], or the reason why it cannot be used.
pub async fn run(
    args: Vec<OsString>,
    input: StandardInput,
    surroundings: Option<String>,
    module: Option<crate::Result<Module>>,
    runtime: Handle,
) -> u8 {
    let json = args.iter().any(|arg| arg == "--json");
    match parse_with(args, module).await {
        Ok(mut parsed) => {
            parsed.options.input = input;
            run_parsed(parsed, surroundings, runtime).await
        }
        Err(error) => Output::new(json, output::Verbosity::Normal).fail(&error),
    }
}

/// Parses the arguments, and asks for the key of a module's store: no thread of the runtime may wait for a function of JavaScript.
async fn parse_with(args: Vec<OsString>, module: Option<crate::Result<Module>>) -> crate::Result<Parsed> {
    let mut parsed = args::parse(args, has_token_file())?;
    parsed.options.module = module.transpose()?;
    if let Some(key) = parsed.options.module.as_ref().and_then(|module| module.key.clone()) {
        let asked = context::blocking(move || key.key().map(drop)).await;
        if !parsed.options.keys.forgets_sealed {
            asked?;
        }
    }
    Ok(parsed)
}

/// Whether a variable names a file with a token to begin with.
fn has_token_file() -> bool {
    secrets::Environment::of_this_process().names_file(given_token::TOKEN)
}

/// Prepares `login --web`, whose page JavaScript serves: finds the store, checks that a login can be stored there, and returns the
/// options. Runs any other command as [`run`] does.
pub async fn begin_web_login(args: Vec<OsString>, module: Option<crate::Result<Module>>, runtime: Handle) -> WebStart {
    let json = args.iter().any(|arg| arg == "--json");
    let parsed = match parse_with(args, module).await {
        Ok(parsed) => parsed,
        Err(error) => return WebStart::Ended(Output::new(json, output::Verbosity::Normal).fail(&error)),
    };
    let Some(page) = parsed.options.web.clone().filter(|_| parsed.action == Action::Login) else {
        return WebStart::Ended(run_parsed(parsed, None, runtime).await);
    };
    let output = Arc::new(Output::new(parsed.options.json, parsed.options.verbosity));
    match web::prepare(&parsed.options, page, &output).await {
        Ok(login) => WebStart::Login(Box::new(login)),
        Err(error) => WebStart::Ended(output.fail(&error)),
    }
}

async fn run_parsed(parsed: Parsed, surroundings: Option<String>, runtime: Handle) -> u8 {
    let Parsed { action, word, options } = parsed;
    let output = Output::new(options.json, options.verbosity);
    let output = Arc::new(output.with_order_of_ring_client_api(options.input == StandardInput::Answers));
    let done = match action {
        Action::Help => {
            output.result(help::text().trim_end());
            Ok(0)
        }
        Action::Completions => {
            output.result(completions::script(&word.unwrap_or_default()).trim_end());
            Ok(0)
        }
        Action::Man => {
            output.result(man::page().trim_end());
            Ok(0)
        }
        Action::Version => {
            output.result(env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Action::Login if options.web.is_some() => {
            Err(Error::invalid("The page of --web is served by the package's own command, npx ring-auth.").into())
        }
        Action::Login => login::login(options, Arc::clone(&output), runtime).await,
        Action::Token => token::token(options, Arc::clone(&output), runtime).await,
        Action::Refresh => refresh::refresh(options, Arc::clone(&output), runtime).await,
        Action::Status => status::status(&options, &output).await,
        Action::Watch => watch::watch(options, Arc::clone(&output), runtime).await,
        Action::Doctor => doctor::doctor(&options, surroundings.as_deref(), &output).await,
        Action::Logout => logout::logout(&options, &output, &runtime).await,
    };
    match done {
        Ok(code) => output.finish(code),
        Err(Stop::Failed(error)) => output.fail(&error),
        Err(Stop::Interrupted) => {
            if output.is_json() {
                output.fail(&Error::new(ErrorCode::Aborted, "Interrupted with Ctrl-C."));
            }
            INTERRUPTED
        }
    }
}

/// Restores the terminal after a dialogue, if there is one. A program calls it before a signal ends it: otherwise the shell would not
/// show typed keys.
pub fn restore_terminal() {
    terminal::restore();
}

/// The exit code that a shell gives to a program that was ended with Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The result of a command: its exit code.
type Done = Result<u8, Stop>;

/// The reason why a command ends early.
#[derive(Debug)]
enum Stop {
    Failed(Error),
    Interrupted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
