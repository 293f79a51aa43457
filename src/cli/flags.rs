//! The commands and the options of the command line, as tables. The parser, the help, the completions of the shells and the
//! manual page are made from them.

use std::ffi::OsStr;

/// A command of the command line.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) name: &'static str,
    /// The shells, of which `completions` needs one; empty for the other commands.
    pub(super) shells: &'static [&'static str],
    /// Whether the command is about the program and not about a token.
    pub(super) is_about_itself: bool,
    pub(super) help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Login,
    Token,
    Refresh,
    Status,
    Watch,
    Doctor,
    Logout,
    Completions,
    Man,
    Help,
    Version,
}

impl Command {
    const fn new(action: Action, name: &'static str, help: &'static str) -> Self {
        Self { action, name, shells: &[], is_about_itself: false, help }
    }

    const fn about_itself(
        action: Action,
        name: &'static str,
        shells: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { action, name, shells, is_about_itself: true, help }
    }

    /// The command as the help shows it.
    pub(super) fn usage(&self) -> String {
        if self.shells.is_empty() { self.name.to_owned() } else { format!("{} SHELL", self.name) }
    }
}

pub(super) static COMMANDS: &[Command] = &[
    Command::new(Action::Login, "login", "ask for e-mail, password and code; print the refresh token, or store it"),
    Command::new(Action::Token, "token", "print a valid access token; rotate only if needed"),
    Command::new(Action::Refresh, "refresh", "rotate now and store the new token"),
    Command::new(Action::Status, "status", "show what is stored, without a request to Ring and without secrets"),
    Command::new(Action::Watch, "watch", "keep the token fresh, and run a command when a login is needed"),
    Command::new(
        Action::Doctor,
        "doctor",
        "find out why ring-auth does not work here; change nothing and send no secret",
    ),
    Command::new(Action::Logout, "logout", "forget the token"),
    Command::about_itself(
        Action::Completions,
        "completions",
        SHELLS,
        "print the completions for bash, zsh, fish or powershell",
    ),
    Command::about_itself(Action::Man, "man", &[], "print the manual page"),
    Command::about_itself(Action::Help, "help", &[], "show this help"),
];

/// The shells that have completions.
pub(super) const SHELLS: &[&str] = &["bash", "zsh", "fish", "powershell"];

/// Identifies an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagId {
    Homebridge,
    Platform,
    Name,
    Dotenv,
    EnvFile,
    EnvKey,
    StateFile,
    StoreModule,
    StateDir,
    RefreshTokenStdin,
    KeyFile,
    KeyCommand,
    NewKeyFile,
    Unseal,
    Email,
    PasswordStdin,
    Code,
    TotpSecretFile,
    LoginFlow,
    DeviceName,
    SystemId,
    NewDevice,
    UserAgent,
    Web,
    Host,
    Port,
    AllowHost,
    TlsCert,
    TlsKey,
    Force,
    MaxAge,
    Exec,
    OnChange,
    Json,
    Quiet,
    Verbose,
    Help,
    Version,
}

/// An option of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) id: FlagId,
    /// The long name, with its dashes.
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) value: Value,
    /// The commands that take the option. If the list is empty, all commands take it.
    pub(super) commands: &'static [Action],
    /// The options of which one must be given too.
    pub(super) goes_with: Option<GoesWith>,
    /// Whether the page of `login --web` asks for this value, so that the option excludes `--web`.
    pub(super) is_asked_by_page: bool,
    pub(super) help: &'static str,
}

/// The value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    /// A value that must be given: its placeholder in the help, and its kind.
    Needed(&'static str, Kind),
    /// A value that may be left out: its placeholder in the help, and its kind.
    Optional(&'static str, Kind),
}

/// The kind of a value, for the completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    File,
    Folder,
    Words(&'static [&'static str]),
}

/// The options of which one must be given beside another option.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoesWith {
    pub(super) one_of: &'static [FlagId],
    /// Their names in a message.
    pub(super) names: &'static str,
}

/// A part of the help.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) flags: &'static [Flag],
}

impl Flag {
    const fn new(id: FlagId, long: &'static str, value: Value, help: &'static str) -> Self {
        Self { id, long, short: None, value, commands: &[], goes_with: None, is_asked_by_page: false, help }
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn only(mut self, commands: &'static [Action]) -> Self {
        self.commands = commands;
        self
    }

    const fn with(mut self, one_of: &'static [FlagId], names: &'static str) -> Self {
        self.goes_with = Some(GoesWith { one_of, names });
        self
    }

    const fn asked_by_page(mut self) -> Self {
        self.is_asked_by_page = true;
        self
    }

    /// Whether a command takes the option, and an option that it needs.
    pub(super) fn is_taken_by(&self, action: Action) -> bool {
        let takes = |flag: &Flag| flag.commands.is_empty() || flag.commands.contains(&action);
        let with = self.goes_with.as_ref().map_or(&[] as &[FlagId], |with| with.one_of);
        takes(self) && (with.is_empty() || all().any(|flag| with.contains(&flag.id) && takes(flag)))
    }

    /// The option as the help shows it: with its short form and the placeholder of its value.
    pub(super) fn usage(&self) -> String {
        let short = self.short.map(|short| format!(", -{short}")).unwrap_or_default();
        match self.value {
            Value::None => format!("{}{short}", self.long),
            Value::Needed(name, _) => format!("{}{short} {name}", self.long),
            Value::Optional(name, _) => format!("{}{short} [{name}]", self.long),
        }
    }
}

const FILE: Value = Value::Needed("PATH", Kind::File);
const LOGIN: &[Action] = &[Action::Login];
const HOMEBRIDGE: &[FlagId] = &[FlagId::Homebridge];
const DOTENV: &[FlagId] = &[FlagId::Dotenv, FlagId::EnvFile];
const PAGE: (&[FlagId], &str) = (&[FlagId::Web], "login --web");
const STORES: (&[FlagId], &str) = (
    &[FlagId::Homebridge, FlagId::Dotenv, FlagId::EnvFile, FlagId::StateFile],
    "--homebridge, --dotenv, --env-file or --state-file",
);

const fn text(name: &'static str) -> Value {
    Value::Needed(name, Kind::Text)
}

pub(super) static SECTIONS: &[Section] = &[
    Section {
        title: "Where the token is kept, one of these:",
        flags: &[
            Flag::new(
                FlagId::Homebridge,
                "--homebridge",
                Value::Optional("PATH", Kind::File),
                "Homebridge's config.json; without PATH it is searched for in the usual places",
            ),
            Flag::new(FlagId::Platform, "--platform", text("P"), "with --homebridge: the block's platform, if it is not Ring")
                .with(HOMEBRIDGE, "--homebridge"),
            Flag::new(
                FlagId::Name,
                "--name",
                text("N"),
                "with --homebridge: the block's name, if several blocks have that platform",
            )
            .with(HOMEBRIDGE, "--homebridge"),
            Flag::new(FlagId::Dotenv, "--dotenv", FILE, "a .env file"),
            Flag::new(FlagId::EnvFile, "--env-file", FILE, "a .env file that exists"),
            Flag::new(
                FlagId::EnvKey,
                "--env-key",
                text("KEY"),
                "with --dotenv: the variable, if it is not RING_REFRESH_TOKEN",
            )
            .with(DOTENV, "--dotenv or --env-file"),
            Flag::new(
                FlagId::StateDir,
                "--state-dir",
                Value::Needed("DIR", Kind::Folder),
                "the journal's folder for config.json and .env, instead of .ring-auth beside the file",
            )
            .with(&[FlagId::Homebridge, FlagId::Dotenv, FlagId::EnvFile], "--homebridge, --dotenv or --env-file"),
            Flag::new(FlagId::StateFile, "--state-file", FILE, "a journal: a small file that only ring-auth writes"),
            Flag::new(
                FlagId::StoreModule,
                "--store-module",
                FILE,
                "a JavaScript module that exports the store, such as a database that several hosts share",
            ),
            Flag::new(
                FlagId::RefreshTokenStdin,
                "--refresh-token-stdin",
                Value::None,
                "take a token from standard input (token and watch need one of the others as well)",
            )
            .only(&[Action::Token, Action::Refresh, Action::Status, Action::Watch]),
        ],
    },
    Section {
        title: "For a sealed journal:",
        flags: &[
            Flag::new(
                FlagId::KeyFile,
                "--key-file",
                FILE,
                "seal the journal with the key in this file: 32 bytes, also as base64 or hex; or RING_AUTH_KEY_FILE",
            )
            .with(STORES.0, STORES.1),
            Flag::new(FlagId::KeyCommand, "--key-command", text("CMD"), "seal the journal with the key that this command prints")
                .with(STORES.0, STORES.1),
            Flag::new(FlagId::NewKeyFile, "--new-key-file", FILE, "refresh: seal the journal with this key from now on")
                .only(&[Action::Refresh])
                .with(STORES.0, STORES.1),
            Flag::new(FlagId::Unseal, "--unseal", Value::None, "refresh: write the journal as plain text from now on")
                .only(&[Action::Refresh])
                .with(STORES.0, STORES.1),
        ],
    },
    Section {
        title: "For login:",
        flags: &[
            Flag::new(FlagId::Email, "--email", text("E"), "or RING_EMAIL; otherwise ring-auth asks")
                .only(LOGIN)
                .asked_by_page(),
            Flag::new(
                FlagId::PasswordStdin,
                "--password-stdin",
                Value::None,
                "the first line of standard input is the password, the second one the code; or RING_PASSWORD; otherwise ring-auth asks",
            )
            .only(LOGIN)
            .asked_by_page(),
            Flag::new(FlagId::Code, "--code", text("C"), "or RING_2FA_CODE; otherwise ring-auth asks").only(LOGIN).asked_by_page(),
            Flag::new(
                FlagId::TotpSecretFile,
                "--totp-secret-file",
                FILE,
                "the file with the secret of the authenticator app; or RING_TOTP_SECRET",
            )
            .only(LOGIN)
            .asked_by_page(),
            Flag::new(
                FlagId::LoginFlow,
                "--login-flow",
                Value::Needed("FLOW", Kind::Words(&["auto", "pkce", "password"])),
                "auto, pkce or password",
            )
            .only(LOGIN),
            Flag::new(FlagId::DeviceName, "--device-name", text("NAME"), "the name of this device in Ring's Control Center")
                .only(LOGIN),
            Flag::new(
                FlagId::SystemId,
                "--system-id",
                text("ID"),
                "derive the hardware id from this instead of from the machine",
            ),
            Flag::new(FlagId::NewDevice, "--new-device", Value::None, "log in as a new device, if Ring blocks the old one")
                .only(LOGIN)
                .asked_by_page(),
            Flag::new(FlagId::UserAgent, "--user-agent", text("UA"), "another User-Agent, if Ring blocks the default one"),
        ],
    },
    Section {
        title: "For login --web:",
        flags: &[
            Flag::new(FlagId::Web, "--web", Value::None, "serve a login page for a browser instead of asking here").only(LOGIN),
            Flag::new(FlagId::Host, "--host", text("H"), "the address to listen on; default: 127.0.0.1").with(PAGE.0, PAGE.1),
            Flag::new(FlagId::Port, "--port", text("P"), "the port; default: a free one").with(PAGE.0, PAGE.1),
            Flag::new(
                FlagId::AllowHost,
                "--allow-host",
                text("NAME"),
                "another name that the browser may use for this machine; can be given several times",
            )
            .with(PAGE.0, PAGE.1),
            Flag::new(
                FlagId::TlsCert,
                "--tls-cert",
                Value::Needed("FILE", Kind::File),
                "a certificate in PEM, for https; needs --tls-key as well",
            )
            .with(PAGE.0, PAGE.1),
            Flag::new(FlagId::TlsKey, "--tls-key", Value::Needed("FILE", Kind::File), "the certificate's key in PEM")
                .with(PAGE.0, PAGE.1),
        ],
    },
    Section {
        title: "For refresh and logout:",
        flags: &[
            Flag::new(
                FlagId::Force,
                "--force",
                Value::None,
                "refresh: also in a cool-down, and with a token that was rejected; logout: also if the key is lost",
            )
            .only(&[Action::Refresh, Action::Logout]),
        ],
    },
    Section {
        title: "For status:",
        flags: &[
            Flag::new(
                FlagId::MaxAge,
                "--max-age",
                text("AGE"),
                "exit code 5 if the last success is older than AGE: 90s, 15m, 26h or 3d",
            )
            .only(&[Action::Status]),
        ],
    },
    Section {
        title: "For watch:",
        flags: &[
            Flag::new(FlagId::Exec, "--exec", text("CMD"), "run this command when a login is needed, and when it is no longer needed")
                .only(&[Action::Watch]),
            Flag::new(FlagId::OnChange, "--on-change", Value::None, "with --exec: run the command at each change of the state")
                .only(&[Action::Watch])
                .with(&[FlagId::Exec], "--exec"),
        ],
    },
    Section {
        title: "For all:",
        flags: &[
            Flag::new(
                FlagId::Json,
                "--json",
                Value::None,
                "one JSON object on standard output, everything for people on standard error",
            ),
            Flag::new(FlagId::Quiet, "--quiet", Value::None, "only failures on standard error").short('q'),
            Flag::new(FlagId::Verbose, "--verbose", Value::None, "more on standard error").short('v'),
            Flag::new(FlagId::Help, "--help", Value::None, "show this help").short('h'),
            Flag::new(FlagId::Version, "--version", Value::None, "show the version").short('V'),
        ],
    },
];

/// The environment variables that the help explains.
pub(super) const ENVIRONMENT: &str = "\
RING_EMAIL, RING_PASSWORD, RING_2FA_CODE and RING_TOTP_SECRET have a second form with _FILE, which names a file with
the value; RING_REFRESH_TOKEN_FILE names a file with a token to begin with. If none of them is set, the credentials
ring-email, ring-password, ring-totp-secret and ring-auth-key of systemd are used.
HTTPS_PROXY, NO_PROXY, NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, SSL_CERT_DIR and NODE_USE_SYSTEM_CA are used.
RING_AUTH_OAUTH_URL and RING_AUTH_API_URL name other servers, for tests and gateways.
";

/// The exit codes and their meanings.
pub(super) static EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (2, "wrong usage"),
    (3, "a login or a code is needed"),
    (4, "Ring refused"),
    (5, "Ring or the network is in trouble"),
    (6, "the store cannot be read or written"),
    (130, "interrupted"),
    (1, "anything else"),
];

/// All options, in the order of the help.
pub(super) fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags)
}

/// The names of all options, without their dashes.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().filter_map(|flag| flag.long.strip_prefix("--"))
}

/// The option of a name without its dashes.
pub(super) fn by_long(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.long.strip_prefix("--") == Some(name))
}

/// The option of a letter.
pub(super) fn by_short(short: char) -> Option<&'static Flag> {
    all().find(|flag| flag.short == Some(short))
}

/// The command of a name.
pub(super) fn command(word: &OsStr) -> Option<Action> {
    let word = word.to_str()?;
    COMMANDS.iter().find(|command| command.name == word).map(|command| command.action)
}

/// The name of a command.
pub(super) fn name_of(action: Action) -> &'static str {
    COMMANDS.iter().find(|command| command.action == action).map_or("", |command| command.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_for_one_option() {
        let longs: Vec<_> = all().map(|flag| flag.long).collect();
        let shorts: Vec<_> = all().filter_map(|flag| flag.short).collect();
        for (at, flag) in all().enumerate() {
            assert_eq!(longs.iter().position(|long| *long == flag.long), Some(at), "{} twice", flag.long);
            assert!(flag.long.len() > 3 && flag.long.starts_with("--"), "{}", flag.long);
            assert_eq!(by_long(&flag.long[2..]).map(|flag| flag.id), Some(flag.id));
            assert_eq!(all().filter(|other| other.id == flag.id).count(), 1, "{:?}", flag.id);
        }
        assert!(shorts.iter().enumerate().all(|(at, short)| !shorts[..at].contains(short)), "{shorts:?}");
    }

    #[test]
    fn a_command_takes_an_option_by_the_one_that_it_goes_with() {
        let flag = |id: FlagId| all().find(|flag| flag.id == id).unwrap();
        assert!(flag(FlagId::Port).is_taken_by(Action::Login) && !flag(FlagId::Port).is_taken_by(Action::Status));
        assert!(flag(FlagId::EnvKey).is_taken_by(Action::Status));
        assert!(
            flag(FlagId::OnChange).is_taken_by(Action::Watch) && !flag(FlagId::OnChange).is_taken_by(Action::Login)
        );
        assert!(flag(FlagId::Json).is_taken_by(Action::Logout));
    }
}
