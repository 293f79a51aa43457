//! The types that cross the boundary. Their names begin with `Binding`; the types of programs are in `index.d.ts`.
//!
//! Objects that go to JavaScript have all fields, perhaps `null`: an absent field would be read from `Object.prototype`, where any
//! package can put a value. Objects that come from JavaScript have no prototype.

use napi_derive::napi;

/// An error as data. `lib/errors.js` makes a `RingAuthError` of it.
#[napi(object, use_nullable = true)]
pub struct BindingError {
    /// The code.
    pub code: String,
    /// The message.
    pub message: String,
    /// Whether the same call can succeed later without any action.
    pub transient: bool,
    /// The HTTP status of the answer.
    pub http_status: Option<u32>,
    /// The time to wait.
    pub retry_after_ms: Option<f64>,
    /// The message of the system.
    pub cause: Option<String>,
}

/// A valid access token and the values that belong to it.
#[napi(object)]
pub struct BindingAuth {
    /// The token for the `Authorization` header.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// `client`.
    pub scope: String,
    /// Milliseconds since 1970.
    pub expires_at: f64,
    /// The newest refresh token, wrapped.
    pub refresh_token: String,
    /// The hardware id.
    pub hardware_id: String,
}

/// A code that Ring waits for.
#[napi(object, use_nullable = true)]
pub struct BindingTwoFactor {
    /// `sms`, `email`, `totp` or `unknown`.
    pub method: String,
    /// The address to which it was sent, masked by Ring.
    pub destination: Option<String>,
    /// The time to wait before another code can be requested.
    pub resend_in_seconds: Option<f64>,
    /// The question to the user.
    pub prompt: String,
}

/// A step of a login.
#[napi(object, use_nullable = true)]
pub struct BindingStep {
    /// Whether there is a token now.
    pub authenticated: bool,
    /// The code that is needed, if there is none.
    pub two_factor: Option<BindingTwoFactor>,
}

/// The state of the token.
#[napi(object, use_nullable = true)]
pub struct BindingStatus {
    /// The state as one word.
    pub state: String,
    /// The code of the problem.
    pub code: Option<String>,
    /// The message of the problem.
    pub message: Option<String>,
    /// The time of the next try, in milliseconds since 1970.
    pub retry_at: Option<f64>,
    /// Whether the newest token is stored durably.
    pub persisted: bool,
}

/// An event of one manager. `manager` is the number that the manager was opened with.
#[napi(discriminant_case = "lowercase", object_from_js = false, use_nullable = true)]
pub enum BindingEvent {
    /// The refresh token has changed.
    Token { manager: f64, old_refresh_token: Option<String>, new_refresh_token: String },
    /// The status has changed.
    Status { manager: f64, status: BindingStatus },
    /// A line of the log.
    Log { manager: f64, level: String, message: String },
    /// A refresh has begun.
    Begun { manager: f64, reason: String },
    /// A refresh has ended.
    Ended { manager: f64, refresh: BindingRefresh },
    /// The manager has no further events.
    End { manager: f64 },
}

/// A refresh that has ended, for the tracing channel.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct BindingRefresh {
    /// `needed`, `unasked`, `asked`, `forced` or `recover`.
    pub reason: String,
    /// The number of requests.
    pub requests: u32,
    /// Whether it used the rotation of another process or manager.
    pub adopted: bool,
    /// The duration.
    pub duration_ms: f64,
    /// The error, if it failed.
    pub error: Option<BindingError>,
}

/// The counters of a manager.
#[napi(object, use_nullable = true)]
pub struct BindingStats {
    /// Refreshes to which Ring gave new tokens.
    pub rotations: f64,
    /// Refreshes that needed no request.
    pub adopted: f64,
    /// Refreshes that another process had begun.
    pub takeovers: f64,
    /// Requests that failed.
    pub failures: Vec<BindingFailures>,
    /// The time when Ring last accepted a token or a login of the account.
    pub last_success_at: Option<f64>,
}

/// The number of requests that failed with a code.
#[napi(object)]
pub struct BindingFailures {
    /// The code.
    pub code: String,
    /// The number.
    pub count: f64,
}

/// The place where the token is kept. Without one it is memory.
///
/// `statePath` is the journal's folder: its default is a folder beside the file, and a `custom` store without it has no journal.
/// `addBlock` says whether a login makes the block if there is none, and removes what the token replaces. `key` is the name of the
/// variable, or the key of the journal.
#[napi(discriminant_case = "lowercase")]
pub enum BindingStore {
    /// A journal.
    File { path: String },
    /// A block of Homebridge's configuration.
    Homebridge {
        path: String,
        platform: Option<String>,
        name: Option<String>,
        state_path: Option<String>,
        add_block: bool,
    },
    /// A `.env` file.
    Dotenv { path: String, key: Option<String>, state_path: Option<String> },
    /// The program's own `load` and `save`.
    Custom { state_path: Option<String> },
    /// A store that hosts share: the program's own `load` and `commit`.
    Shared { name: Option<String>, state_path: Option<String>, account: String },
}

/// The arguments of a program's own `save`.
#[napi(object, use_nullable = true)]
pub struct BindingChange {
    /// The newest token.
    pub new: String,
    /// The token that the program had before.
    pub old: Option<String>,
}

/// The answer of a program's own code.
#[napi(discriminant_case = "lowercase", object_to_js = false)]
pub enum BindingAnswer {
    /// The token from `load`, the record of a shared store and its version, the new version, the warnings, or the key.
    Done { token: Option<String>, version: Option<String> },
    /// The message of the error.
    Failed { message: String },
}

/// The beginning of `login --web`.
#[napi(discriminant_case = "lowercase", object_from_js = false)]
#[allow(clippy::large_enum_variant, reason = "a process makes one of it")]
pub enum BindingWebStart {
    /// There is nothing to serve.
    Ended { exit_code: u32 },
    /// A page is to be served.
    Login { login: BindingWebLogin },
}

/// What the page of `login --web` is served with.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct BindingWebLogin {
    /// `null` if the token is printed, or a module exports the store.
    pub store: Option<BindingStore>,
    /// The key of the journal, as text.
    pub seal_key: Option<String>,
    /// The place in which people look for the token; `null` if the token is printed.
    pub path: Option<String>,
    /// Sentences about the changes beyond the token.
    pub changes: Vec<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: String,
    /// The user agent, if it is not the default one.
    pub user_agent: Option<String>,
    /// The text from which the hardware id is derived.
    pub system_id: Option<String>,
    /// The name of the device in Ring's Control Center.
    pub device_name: Option<String>,
    /// Ring's authentication server.
    pub oauth_url: String,
    /// Ring's API server.
    pub api_url: String,
    /// The address to listen on.
    pub host: Option<String>,
    /// The port; 0 for any free one.
    pub port: u32,
    /// Further names of this machine.
    pub allowed_hosts: Vec<String>,
    /// The certificate's file.
    pub tls_cert: Option<String>,
    /// The file of its key.
    pub tls_key: Option<String>,
    /// Whether the result is one JSON object.
    pub json: bool,
    /// Whether only failures are shown.
    pub quiet: bool,
    /// Whether more is shown.
    pub verbose: bool,
}

/// The options of a manager. `lib/options.js` has checked their types.
#[napi(object)]
pub struct BindingOptions {
    /// A refresh token, wrapped or raw.
    pub refresh_token: Option<String>,
    /// Whether the first call, and not the constructor, refuses a text that is not a token.
    pub refuses_at_calls: Option<bool>,
    /// Absent for the memory store.
    pub store: Option<BindingStore>,
    /// The file that shows the token of a shared store.
    pub mirror: Option<BindingStore>,
    /// The key with which the journal is sealed, as text.
    pub seal_key: Option<String>,
    /// The text from which the hardware id is derived.
    pub system_id: Option<String>,
    /// The name of the device in Ring's Control Center.
    pub control_center_display_name: Option<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: Option<String>,
    /// The user agent, if it is not the default one.
    pub user_agent: Option<String>,
    /// The origin of the authentication server, if it is not Ring's.
    pub oauth_url: Option<String>,
    /// The origin of the API server, if it is not Ring's.
    pub api_url: Option<String>,
    /// The time limit for one request.
    pub request_timeout_ms: Option<f64>,
    /// Whether the manager refreshes by itself ahead of expiry.
    pub auto_refresh: Option<bool>,
}

/// The result of a call of a manager.
#[napi(discriminant_case = "lowercase", object_from_js = false)]
pub enum BindingResult {
    /// The call failed.
    Failed { error: BindingError },
    /// A call that gives an access token succeeded.
    Auth { auth: BindingAuth },
    /// A call of a login succeeded.
    Step { step: BindingStep },
    /// Another call succeeded.
    Done {},
}

/// The parts of a token: Ring's own token (`raw`), and what is wrapped with it.
#[napi(discriminant_case = "lowercase", object_from_js = false, use_nullable = true)]
pub enum BindingToken {
    /// The text cannot be a token.
    Failed { error: BindingError },
    /// The parts.
    Token { raw: String, hardware_id: Option<String>, has_push_credentials: bool },
}
