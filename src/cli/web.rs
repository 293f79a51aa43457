//! `login --web`: the information with which JavaScript serves the page.

use std::path::PathBuf;

use super::args::{Options, WebOptions};
use super::context::Context;
use super::output::{Output, Verbosity};
use crate::location::Location;
use crate::mirror::Purpose;
use crate::oauth::LoginFlow;
use crate::{Result, Secret};

/// The start of a command line with `--web`.
pub enum WebStart {
    /// The command has ended. Its exit code.
    Ended(u8),
    /// A page is to be served.
    Login(Box<WebLogin>),
}

/// The options of `login --web`, and the store.
pub struct WebLogin {
    /// The place where the token is kept. If it is memory, the token is printed.
    pub location: Location,
    /// The key with which the journal is sealed, as text.
    pub key: Option<Secret>,
    /// The place in which people look for the token; `None` if the token is printed.
    pub path: Option<String>,
    /// Sentences on what the login changes beyond the token.
    pub changes: Vec<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: &'static str,
    /// The user agent, if it is not the default one.
    pub user_agent: Option<String>,
    /// The text from which the hardware id is derived.
    pub system_id: Option<String>,
    /// The name in Ring's Control Center.
    pub device_name: Option<String>,
    /// Ring's authentication server.
    pub oauth_url: String,
    /// Ring's API server.
    pub api_url: String,
    /// The address to listen on.
    pub host: Option<String>,
    /// The port; 0 for any free one.
    pub port: u16,
    /// Further names of this machine.
    pub allowed_hosts: Vec<String>,
    /// The files with the certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether the result is one JSON object.
    pub json: bool,
    /// Whether only failures are shown.
    pub quiet: bool,
    /// Whether more is shown.
    pub verbose: bool,
}

/// Finds the store, and checks that a login can be stored before the user types a password.
pub(super) async fn prepare(options: &Options, page: WebOptions, output: &Output) -> Result<WebLogin> {
    let context = Context::open(options, Purpose::Introduce)?;
    let planned = context.dry_run(output).await?;
    context.try_output()?;
    let (oauth_url, api_url) = context.origins();
    let WebOptions { host, port, allowed_hosts, tls } = page;
    Ok(WebLogin {
        location: context.chosen.location().clone(),
        key: context.key_text()?,
        path: context.chosen.keeps().then(|| context.chosen.place()),
        changes: context.chosen.changes(&planned),
        login_flow: match options.login_flow {
            LoginFlow::Auto => "auto",
            LoginFlow::Pkce => "pkce",
            LoginFlow::Password => "password",
        },
        user_agent: options.user_agent.clone(),
        system_id: options.system_id.clone(),
        device_name: options.device_name.clone(),
        oauth_url,
        api_url,
        host,
        port,
        allowed_hosts,
        tls,
        json: options.json,
        quiet: options.verbosity == Verbosity::Quiet,
        verbose: options.verbosity == Verbosity::Verbose,
    })
}
