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
    /// The device id.
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

/// Something that happened.
#[napi(object, use_nullable = true)]
pub struct BindingEvent {
    /// The number that its manager was opened with.
    pub manager: f64,
    /// `token`, `status`, `log`, `begun` and `ended` of a refresh, or `end`: it was the last one of this manager.
    pub kind: String,
    /// With `token`.
    pub old_refresh_token: Option<String>,
    /// With `token`.
    pub new_refresh_token: Option<String>,
    /// With `status`.
    pub status: Option<BindingStatus>,
    /// With `log`.
    pub level: Option<String>,
    /// With `log`.
    pub message: Option<String>,
    /// With `begun` and `ended`.
    pub refresh: Option<BindingRefresh>,
}

/// A refresh, for who traces it. Only its reason is known when it begins.
#[napi(object, use_nullable = true)]
#[derive(Default)]
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

/// Where the token is kept.
#[napi(object)]
pub struct BindingStore {
    /// `file`, `homebridge`, `dotenv` or `custom`.
    pub kind: String,
    /// The journal, or the file that shows the token.
    pub path: Option<String>,
    /// With `homebridge`.
    pub platform: Option<String>,
    /// With `homebridge`.
    pub name: Option<String>,
    /// With `dotenv`: the name of the variable, or a key.
    pub key: Option<String>,
    /// The key with which the journal is sealed, as text.
    pub seal_key: Option<String>,
    /// The folder of the journal, where it is not beside the file.
    pub state_path: Option<String>,
    /// With `homebridge`: make the block if there is none, and take away what a token replaces.
    pub add_block: Option<bool>,
}

/// What a program's own `save` is given.
#[napi(object, use_nullable = true)]
pub struct BindingChange {
    /// The newest token.
    pub new: String,
    /// The one that the program had.
    pub old: Option<String>,
}

/// What a program's own code answered.
#[napi(object)]
pub struct BindingAnswer {
    /// From `load`.
    pub token: Option<String>,
    /// If it failed.
    pub failed: Option<String>,
}

/// What `login --web` comes to: an exit code, or what the page is to be served with.
#[napi(object)]
#[derive(Default)]
pub struct BindingWebLogin {
    /// If there is nothing to serve.
    pub exit_code: Option<u32>,
    /// Absent if the token is printed.
    pub store: Option<BindingStore>,
    /// The file in which people look for the token.
    pub path: Option<String>,
    /// What the login changes beyond the token.
    pub changes: Vec<String>,
    /// `auto`, `pkce` or `password`.
    pub login_flow: Option<String>,
    /// Instead of the default one.
    pub user_agent: Option<String>,
    /// For the hardware id.
    pub system_id: Option<String>,
    /// The name in Control Center.
    pub device_name: Option<String>,
    /// Ring's authentication server.
    pub oauth_url: Option<String>,
    /// Ring's API server.
    pub api_url: Option<String>,
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

/// What a call came to: an error, or what it was for.
#[napi(object, use_nullable = true)]
#[derive(Default)]
pub struct BindingOutcome {
    /// If it failed.
    pub error: Option<BindingError>,
    /// From the calls that give one.
    pub auth: Option<BindingAuth>,
    /// From the calls of a login.
    pub step: Option<BindingStep>,
}

/// What a token says of itself.
#[napi(object, use_nullable = true)]
#[derive(Default)]
pub struct BindingToken {
    /// If it cannot be one.
    pub error: Option<BindingError>,
    /// Ring's own token.
    pub raw: Option<String>,
    /// The device id wrapped with it.
    pub hardware_id: Option<String>,
    /// Whether push credentials are wrapped with it.
    pub has_push_credentials: Option<bool>,
}
