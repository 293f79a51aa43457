//! Requests to Ring's API: shapes and conversions for `ring_auth::api`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use napi::bindgen_prelude::{AsyncBlock, Buffer, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;
use tokio::sync::watch;
use url::Url;

use super::types::BindingError;
use super::{BindingManager, promise};
use ring_auth::api::{Api, Call, Failure, Listener};
use ring_auth::http::{Answer, HttpClient, HttpConfig, Method};
use ring_auth::{Error, ErrorCode, Result};

/// A header.
#[napi(object)]
pub struct BindingHeader {
    /// The name, in lower case if it comes from a server.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A request. `lib/` has checked its types.
#[napi(object, object_to_js = false)]
pub struct BindingCall {
    /// The URL.
    pub url: String,
    /// The method, in upper case.
    pub method: String,
    /// The headers of the caller.
    pub headers: Vec<BindingHeader>,
    /// The body.
    pub body: Option<Buffer>,
    /// The time limit for one exchange.
    pub timeout_ms: Option<f64>,
    /// Whether the request is sent only once.
    pub allow_no_response: bool,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// An answer of Ring.
#[napi(object, object_from_js = false)]
pub struct BindingApiAnswer {
    /// The HTTP status.
    pub status: u32,
    /// All headers.
    pub headers: Vec<BindingHeader>,
    /// The whole body.
    pub body: Buffer,
}

/// The result of a request: an error, an answer, or an error with the answer that it came from.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct BindingReply {
    /// The error, if the request failed.
    pub error: Option<BindingError>,
    /// The answer, if there was one.
    pub answer: Option<BindingApiAnswer>,
    /// Whether the error is the manager's: there was no access token for the request.
    pub no_token: bool,
}

impl From<Answer> for BindingApiAnswer {
    fn from(answer: Answer) -> Self {
        let header = |(name, value): (&str, &str)| BindingHeader { name: name.to_owned(), value: value.to_owned() };
        Self {
            status: u32::from(answer.status),
            headers: answer.headers.iter().map(header).collect(),
            body: answer.body.into(),
        }
    }
}

impl From<Result<Answer, Failure>> for BindingReply {
    fn from(outcome: Result<Answer, Failure>) -> Self {
        match outcome {
            Ok(answer) => Self { error: None, answer: Some(answer.into()), no_token: false },
            Err(Failure { error, answer, no_token }) => {
                Self { error: Some(error.into()), answer: answer.map(Into::into), no_token }
            }
        }
    }
}

type SessionListener = ThreadsafeFunction<BindingApiAnswer, (), BindingApiAnswer, Status, false, true>;

struct Sessions(SessionListener);

impl Listener for Sessions {
    fn on_session(&self, answer: &Answer) {
        // An environment that ends takes no more sessions, and needs none.
        let _ = self.0.call(answer.clone().into(), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

#[napi]
pub struct BindingApi {
    api: Api,
}

#[napi]
impl BindingManager {
    #[napi]
    pub fn open_api(
        &self,
        device_name: String,
        listener: Function<'_, BindingApiAnswer, ()>,
    ) -> napi::Result<BindingApi> {
        let listener = listener.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        let timeout = self.manager.request_timeout();
        let http = Arc::new(HttpClient::new(HttpConfig { timeout, keep_alive: true, ..HttpConfig::default() }));
        Ok(BindingApi { api: Api::new(self.manager.clone(), http, device_name, Arc::new(Sessions(listener))) })
    }
}

#[napi]
impl BindingApi {
    #[napi]
    pub fn begin(&self, call: BindingCall) -> BindingRequest {
        BindingRequest {
            api: self.api.clone(),
            call: Mutex::new(Some(parse(call))),
            aborted: watch::Sender::new(false),
        }
    }

    #[napi]
    pub fn session(&self, env: Env) -> napi::Result<AsyncBlock<BindingReply>> {
        let api = self.api.clone();
        promise(env, async move { api.session().await.into() })
    }

    #[napi]
    pub fn clear(&self) {
        self.api.clear();
    }

    #[napi]
    pub fn close(&self) {
        self.api.close();
    }
}

/// A request that can be aborted.
#[napi]
pub struct BindingRequest {
    api: Api,
    call: Mutex<Option<Result<Call>>>,
    aborted: watch::Sender<bool>,
}

#[napi]
impl BindingRequest {
    #[napi]
    pub fn reply(&self, env: Env) -> napi::Result<AsyncBlock<BindingReply>> {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (api, aborted) = (self.api.clone(), self.aborted.clone());
        promise(env, async move {
            let call = match call {
                Some(Ok(call)) => call,
                Some(Err(error)) => return Err(Failure::from(error)).into(),
                None => return Err(Failure::from(given_up())).into(),
            };
            let mut told = aborted.subscribe();
            tokio::select! {
                biased;
                _ = told.wait_for(|aborted| *aborted) => Err(Failure::from(given_up())).into(),
                outcome = api.request(call) => outcome.into(),
            }
        })
    }

    #[napi]
    pub fn abort(&self) {
        self.aborted.send_replace(true);
    }
}

fn parse(call: BindingCall) -> Result<Call> {
    let method = match call.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "HEAD" => Method::Head,
        _ => return Err(Error::invalid("method has to be GET, POST, PUT, PATCH, DELETE or HEAD.")),
    };
    Ok(Call {
        url: Url::parse(&call.url)
            .map_err(|_| Error::invalid("url has to be a whole URL, with https:// and a host."))?,
        method,
        headers: call.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: call.body.map(Into::into),
        timeout: milliseconds(call.timeout_ms),
        allow_no_response: call.allow_no_response,
        follow_redirects: call.follow_redirects,
    })
}

fn milliseconds(given: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(given? / 1000.0).ok()
}

fn given_up() -> Error {
    Error::new(ErrorCode::Aborted, "The request was given up.")
}
