//! The shapes that cross the boundary. Their names begin with `Binding`; programs see those of `index.d.ts`.
//!
//! In those that go to JavaScript each field is there, `null` if there is nothing to say: a field that is missing would be
//! read from `Object.prototype`, where any other package can put something. Those that come from JavaScript have no prototype.

use napi_derive::napi;

/// An error as data: the face makes a `RingAuthError` of it.
#[napi(object, use_nullable = true)]
pub struct BindingError {
    /// One of the codes.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// Whether the same call can succeed later by itself.
    pub transient: bool,
    /// The HTTP status of the answer behind it.
    pub http_status: Option<u32>,
    /// How long to wait.
    pub retry_after_ms: Option<f64>,
    /// What the system said.
    pub cause: Option<String>,
}

/// A valid access token and all that belongs to it.
#[napi(object)]
pub struct BindingAuth {
    /// For the `Authorization` header.
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
    /// Where it was sent, masked.
    pub destination: Option<String>,
    /// How long to wait before asking for another.
    pub resend_in_seconds: Option<f64>,
    /// What to ask the person.
    pub prompt: String,
}

/// What a login has come to.
#[napi(object, use_nullable = true)]
pub struct BindingStep {
    /// Whether there is a token now.
    pub authenticated: bool,
    /// The code that is needed, if there is none.
    pub two_factor: Option<BindingTwoFactor>,
}

/// How a token does.
#[napi(object, use_nullable = true)]
pub struct BindingStatus {
    /// In a word.
    pub state: String,
    /// What is wrong.
    pub code: Option<String>,
    /// In a sentence.
    pub message: Option<String>,
    /// When it is tried again, in milliseconds since 1970.
    pub retry_at: Option<f64>,
    /// Whether it is in a journal too.
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
    /// How many requests it made.
    pub requests: u32,
    /// Whether another process or manager had rotated.
    pub adopted: bool,
    /// How long it took.
    pub duration_ms: f64,
    /// If it failed.
    pub error: Option<BindingError>,
}

/// What a manager has done so far.
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
    /// When Ring last accepted something of the account.
    pub last_success_at: Option<f64>,
}

/// How many requests failed with a code.
#[napi(object)]
pub struct BindingFailures {
    /// The code.
    pub code: String,
    /// How many.
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
}

/// What a program's own `save` is given.
#[napi(object, use_nullable = true)]
pub struct BindingChange {
    /// The newest token.
    pub new: String,
    /// The one that the program had.
    pub old: Option<String>,
}

/// The answer of a program's own code.
#[napi(discriminant_case = "lowercase", object_to_js = false)]
pub enum BindingAnswer {
    /// The token from `load`, or the key.
    Done { token: Option<String> },
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
    /// `null` if the token is printed.
    pub store: Option<BindingStore>,
    /// The key of the journal, as text.
    pub seal_key: Option<String>,
    /// The file in which people look for the token.
    pub path: Option<String>,
    /// What the login changes beyond the token.
    pub changes: Vec<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: String,
    /// The user agent, if it is not the default one.
    pub user_agent: Option<String>,
    /// For the hardware id.
    pub system_id: Option<String>,
    /// The name in Control Center.
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
    /// One JSON object at the end.
    pub json: bool,
    /// Only failures are said.
    pub quiet: bool,
    /// More is said.
    pub verbose: bool,
}

/// The options of a manager, their types checked by the face.
#[napi(object)]
pub struct BindingOptions {
    /// Wrapped or raw.
    pub refresh_token: Option<String>,
    /// Whether a text in its place that is no token is refused by the first call, and not by the constructor.
    pub refuses_at_calls: Option<bool>,
    /// Absent for the memory store.
    pub store: Option<BindingStore>,
    /// The key with which the journal is sealed, as text.
    pub seal_key: Option<String>,
    /// For the hardware id.
    pub system_id: Option<String>,
    /// The name in Control Center.
    pub control_center_display_name: Option<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: Option<String>,
    /// Instead of the default one.
    pub user_agent: Option<String>,
    /// Instead of Ring's.
    pub oauth_url: Option<String>,
    /// Instead of Ring's.
    pub api_url: Option<String>,
    /// For one request.
    pub request_timeout_ms: Option<f64>,
    /// Ahead of expiry, unasked.
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
