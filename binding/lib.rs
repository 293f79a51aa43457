//! The addon: types that cross the boundary, and conversions. Decisions are made in the core and in `lib/`.

// The macros of napi-rs write unsafe code and undocumented items. This code does not.
#![allow(missing_docs, reason = "the macros make items of their own")]
#![allow(clippy::needless_pass_by_value, reason = "napi gives its arguments by value")]

mod api;
mod convert;
mod custom_store;
mod module;
mod types;

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::bindgen_prelude::{
    AsyncBlock, AsyncBlockBuilder, Function, Promise, ToNapiValue, create_custom_tokio_runtime,
    within_runtime_if_available,
};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::{module_init, napi};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use convert::{auth_result, empty_result, step_result};
use custom_store::{JsKey, JsStore};
use module::BindingModule;
use ring_auth::cli::StandardInput;
use ring_auth::files::Disk;
use ring_auth::http::{Environment, HttpConfig};
use ring_auth::journal::{Codec, Key, KeySource};
use ring_auth::location::{Location, Opened};
use ring_auth::manager::{
    Credentials, DEFAULT_DEVICE_NAME, Device, Event, Level, Listener, Manager, Parts, Settings, SharedParts,
    SystemClock, activity,
};
use ring_auth::mirror::{Purpose, Target, key_of_program};
use ring_auth::oauth::{Endpoints, LoginFlow, RingOauth};
use ring_auth::token::RefreshToken;
use ring_auth::totp::Totp;
use ring_auth::{BLOCKING_THREADS, Error, Result, Secret};
use types::{
    BindingAnswer, BindingAuth, BindingChange, BindingError, BindingEvent, BindingOptions, BindingResult, BindingStats,
    BindingStatus, BindingStore, BindingToken, BindingWebStart,
};

/// How long the end of a process waits for an answer that is being written to the disk.
const LAST_WRITES: Duration = Duration::from_secs(5);

#[module_init]
fn init() {
    // One worker is enough: slow work is on sockets, in a program's own code or, on the blocking threads, on a disk.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_name("ring-auth")
        .enable_all()
        .build();
    if let Ok(runtime) = runtime {
        create_custom_tokio_runtime(runtime);
    }
}

type JsListener = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The events that wait for JavaScript. JavaScript is called once for each, and may take several at one call.
struct Queue {
    events: Mutex<VecDeque<BindingEvent>>,
    listener: JsListener,
    /// Whether JavaScript wants events of each refresh.
    traced: AtomicBool,
}

impl Queue {
    fn events(&self) -> MutexGuard<'_, VecDeque<BindingEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: BindingEvent) {
        self.events().push_back(event);
        // An environment that ends takes no more events, and needs none.
        if self.listener.call((), ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.events().clear();
        }
    }
}

/// Passes the events of any number of managers to JavaScript.
#[napi]
pub struct BindingEvents {
    queue: Arc<Queue>,
}

#[napi]
impl BindingEvents {
    #[napi(constructor)]
    pub fn new(listener: Function<'_, (), ()>) -> napi::Result<Self> {
        let listener = listener.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        Ok(Self { queue: Arc::new(Queue { events: Mutex::default(), listener, traced: AtomicBool::new(false) }) })
    }

    /// Sets whether there are events of each refresh from now on.
    #[napi]
    pub fn trace(&self, wanted: bool) {
        self.queue.traced.store(wanted, Ordering::Relaxed);
    }

    #[napi]
    pub fn next(&self) -> Option<BindingEvent> {
        self.queue.events().pop_front()
    }
}

/// The listener of one manager.
struct Events {
    queue: Arc<Queue>,
    manager: f64,
}

impl Listener for Events {
    fn on_event(&self, event: Event) {
        self.queue.push(convert::event(self.manager, event));
    }

    fn traces(&self) -> bool {
        self.queue.traced.load(Ordering::Relaxed)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue.push(BindingEvent::End { manager: self.manager });
    }
}

/// The result of opening a manager.
#[napi(discriminant_case = "lowercase", object_from_js = false)]
pub enum BindingOpened {
    Failed { error: BindingError },
    Manager { manager: BindingManager },
}

/// The means to end one call that waits for a login, so that it no longer keeps the process alive.
#[napi]
pub struct BindingWaiting {
    ended: Arc<Notify>,
}

#[napi]
impl BindingWaiting {
    #[napi(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript makes it")]
    pub fn new() -> Self {
        Self { ended: Arc::default() }
    }

    #[napi]
    pub fn end(&self) {
        self.ended.notify_one();
    }
}

#[napi]
pub struct BindingManager {
    manager: Manager,
}

#[napi]
impl BindingManager {
    #[napi]
    pub fn cached_auth(&self) -> Option<BindingAuth> {
        self.manager.cached_auth().map(Into::into)
    }

    #[napi]
    pub fn cached_access_token(&self) -> Option<String> {
        self.manager.cached_access_token().map(|token| token.expose().to_owned())
    }

    #[napi]
    pub fn get_auth(&self, env: Env) -> napi::Result<AsyncBlock<BindingResult>> {
        let auth = self.manager.auth();
        promise(env, async move { auth_result(auth.await) })
    }

    #[napi]
    pub fn refresh(&self, env: Env, force: bool) -> napi::Result<AsyncBlock<BindingResult>> {
        let auth = self.manager.refresh(force);
        promise(env, async move { auth_result(auth.await) })
    }

    #[napi]
    pub fn login(
        &self,
        env: Env,
        email: String,
        password: String,
        totp_secret: Option<String>,
    ) -> napi::Result<AsyncBlock<BindingResult>> {
        let (email, password, totp_secret) = (Secret::new(email), Secret::new(password), totp_secret.map(Secret::new));
        let totp = totp_secret.map(|text| Totp::parse(text.expose(), "credentials.totpSecret")).transpose();
        let step = totp.map(|totp| self.manager.login(Credentials { email, password, totp, device: Device::Kept }));
        promise(env, async move {
            step_result(match step {
                Ok(step) => step.await,
                Err(error) => Err(error),
            })
        })
    }

    #[napi]
    pub fn login_with_code(
        &self,
        env: Env,
        email: String,
        password: String,
        code: String,
    ) -> napi::Result<AsyncBlock<BindingResult>> {
        let (email, password) = (Secret::new(email), Secret::new(password));
        let credentials = Credentials { email, password, totp: None, device: Device::Kept };
        let step = self.manager.login_with_code(credentials, Secret::new(code));
        promise(env, async move { step_result(step.await) })
    }

    #[napi]
    pub fn submit_two_factor_code(&self, env: Env, code: String) -> napi::Result<AsyncBlock<BindingResult>> {
        let step = self.manager.submit_two_factor_code(Secret::new(code));
        promise(env, async move { step_result(step.await) })
    }

    #[napi]
    pub fn resend_two_factor_code(&self, env: Env) -> napi::Result<AsyncBlock<BindingResult>> {
        let step = self.manager.resend_two_factor_code();
        promise(env, async move { step_result(step.await) })
    }

    #[napi]
    pub fn wait_for_login(&self, env: Env, waiting: &BindingWaiting) -> napi::Result<AsyncBlock<BindingResult>> {
        let (manager, ended) = (self.manager.clone(), Arc::clone(&waiting.ended));
        promise(env, async move {
            tokio::select! {
                result = manager.wait_for_login() => empty_result(result),
                () = ended.notified() => BindingResult::Done {},
            }
        })
    }

    #[napi]
    pub fn invalidate_access_token(&self, access_token: String) -> Option<BindingError> {
        self.manager.invalidate_access_token(&access_token).err().map(Into::into)
    }

    #[napi]
    pub fn set_refresh_token(&self, env: Env, token: String) -> napi::Result<AsyncBlock<BindingResult>> {
        let edit = self.manager.set_refresh_token(&token);
        promise(env, async move { empty_result(edit.await) })
    }

    #[napi]
    pub fn set_push_credentials(&self, env: Env, json: Option<String>) -> napi::Result<AsyncBlock<BindingResult>> {
        let parsed = json.map(|json| serde_json::from_str(&json)).transpose();
        let edit = parsed.map(|credentials| self.manager.set_push_credentials(credentials));
        promise(env, async move {
            let result = match edit {
                Ok(edit) => edit.await,
                Err(_) => Err(Error::invalid(
                    "The push credentials (pnc) cannot be kept: they are nested too deeply, or have half a character in them.",
                )),
            };
            empty_result(result)
        })
    }

    #[napi(getter)]
    pub fn refresh_token(&self) -> Option<String> {
        self.manager.refresh_token().map(|token| token.expose().to_owned())
    }

    #[napi(getter)]
    pub fn hardware_id(&self) -> Option<String> {
        self.manager.hardware_id()
    }

    #[napi(getter)]
    pub fn is_spooled(&self) -> bool {
        self.manager.is_spooled()
    }

    #[napi(getter)]
    pub fn status(&self) -> BindingStatus {
        self.manager.status().into()
    }

    #[napi(getter)]
    pub fn stats(&self) -> BindingStats {
        self.manager.stats().into()
    }

    #[napi]
    pub fn close(&self, env: Env) -> napi::Result<AsyncBlock<()>> {
        promise(env, self.manager.close())
    }
}

#[napi]
#[allow(clippy::too_many_arguments, reason = "an object of functions would need a shape with a lifetime")]
pub fn open(
    env: Env,
    options: BindingOptions,
    events: &BindingEvents,
    number: f64,
    load: Option<Function<'_, (), Promise<BindingAnswer>>>,
    save: Option<Function<'_, BindingChange, Promise<BindingAnswer>>>,
    key: Option<Function<'_, (), Promise<BindingAnswer>>>,
    warnings: Option<Function<'_, (), Promise<BindingAnswer>>>,
) -> napi::Result<BindingOpened> {
    let events = Events { queue: Arc::clone(&events.queue), manager: number };
    let runtime = within_runtime_if_available(Handle::current);
    let functions = match load.zip(save) {
        Some((load, save)) => Some(JsStore::new(&load, &save, warnings.as_ref())?),
        None => None,
    };
    let key = key.map(|key| JsKey::new(&key)).transpose()?;
    Ok(match open_manager(options, events, functions, key, runtime) {
        Ok(manager) => {
            wait_at_the_end_of(env)?;
            BindingOpened::Manager { manager: BindingManager { manager } }
        }
        Err(error) => BindingOpened::Failed { error: error.into() },
    })
}

#[napi]
pub fn parse_refresh_token(token: String) -> BindingToken {
    match RefreshToken::parse(&token) {
        Ok(token) => BindingToken::Token {
            raw: token.raw(),
            hardware_id: token.hardware_id().map(str::to_owned),
            has_push_credentials: token.has_push_credentials(),
        },
        Err(error) => BindingToken::Failed { error: error.into() },
    }
}

#[napi]
pub fn is_busy() -> bool {
    activity::is_busy()
}

#[napi]
pub fn until_idle(env: Env) -> napi::Result<AsyncBlock<()>> {
    promise(env, activity::until_idle())
}

/// The path behind `--store-module`, if that module has to be loaded.
#[napi]
pub fn store_module(args: Vec<String>) -> Option<String> {
    ring_auth::cli::store_module(args.into_iter().map(OsString::from).collect())
}

/// Runs the command line. `input` is the result of `lib/standard-input.js`, `surroundings` that of `lib/doctor.js`, `module` that of
/// `lib/store-module.js`.
#[napi]
pub fn run_cli(
    env: Env,
    args: Vec<String>,
    input: Option<String>,
    surroundings: Option<String>,
    module: Option<&BindingModule>,
) -> napi::Result<AsyncBlock<u32>> {
    let args = args.into_iter().map(OsString::from).collect();
    let input = match input.as_deref() {
        Some("answers") => StandardInput::Answers,
        Some("mintty") => StandardInput::Mintty,
        _ => StandardInput::Options,
    };
    let module = module.map(BindingModule::to_module);
    promise(
        env,
        async move { u32::from(ring_auth::cli::run(args, input, surroundings, module, Handle::current()).await) },
    )
}

/// Sets the certificates of the system that Node has read (PEM), or the reason why there are none, for all later managers.
#[napi]
pub fn set_system_certificates(pem: Option<String>, problem: Option<String>) {
    Environment::set_system_ca(pem.ok_or_else(|| problem.unwrap_or_default()));
}

/// Prepares `login --web`. Resolves with the options of the page, or with the exit code if there is nothing to serve.
#[napi]
pub fn begin_web_login(
    env: Env,
    args: Vec<String>,
    module: Option<&BindingModule>,
) -> napi::Result<AsyncBlock<BindingWebStart>> {
    let args = args.into_iter().map(OsString::from).collect();
    let module = module.map(BindingModule::to_module);
    promise(env, async move { ring_auth::cli::begin_web_login(args, module, Handle::current()).await.into() })
}

/// Ends `watch` as soon as a rotation under way is stored. Returns whether there is a watch to end.
#[napi]
pub fn end_watch() -> bool {
    ring_auth::cli::end_watch()
}

/// Removes the files that `doctor` has made, before a signal ends the process.
#[napi]
pub fn end_doctor() {
    ring_auth::cli::end_doctor();
}

/// Restores the terminal after a dialogue of the command line, before a signal ends the process.
#[napi]
pub fn restore_terminal() {
    ring_auth::cli::restore_terminal();
}

/// A promise for the result of a future. The runtime begins futures in any order, so a call of the manager is made before this one, and the
/// future only awaits its result.
///
/// All futures with the same result are boxed into one type: napi and tokio would be compiled once more for each other type.
fn promise<T: ToNapiValue + Send + 'static>(
    env: Env,
    work: impl Future<Output = T> + Send + 'static,
) -> napi::Result<AsyncBlock<T>> {
    let work: Pin<Box<dyn Future<Output = napi::Result<T>> + Send>> = Box::pin(async move { Ok(work.await) });
    AsyncBlockBuilder::new(work).build(&env)
}

thread_local! {
    /// The environment of this thread that already has the hook.
    static WAITED_FOR: Cell<*mut napi::sys::napi_env__> = const { Cell::new(ptr::null_mut()) };
}

/// Adds a hook to the environment, so that even `process.exit()` waits until an answer is written. All managers share one hook.
fn wait_at_the_end_of(env: Env) -> napi::Result<()> {
    if WAITED_FOR.replace(env.raw()) != env.raw() {
        env.add_env_cleanup_hook((), |()| {
            WAITED_FOR.set(ptr::null_mut());
            activity::wait_for_writes(LAST_WRITES);
        })?;
    }
    Ok(())
}

/// The location that the option `store` names, and the key of the journal that may stand in place of the variable of a `.env` file.
fn to_location(
    store: BindingStore,
    beside: Option<BindingStore>,
    functions: Option<JsStore>,
) -> Result<(Location, Option<Key>)> {
    let mirror =
        |target, state_path: Option<String>| Location::Mirror { target, state_path: state_path.map(Into::into) };
    let location = match store {
        BindingStore::File { path } => Location::Journal(path.into()),
        BindingStore::Homebridge { path, platform, name, state_path, .. } => {
            mirror(Target::Homebridge { path: path.into(), platform, name }, state_path)
        }
        BindingStore::Dotenv { path, key, state_path } => {
            let (target, key) = Target::dotenv(path.into(), key);
            return Ok((mirror(target, state_path), key));
        }
        BindingStore::Custom { state_path } => {
            let functions = functions.ok_or_else(|| Error::invalid("The store has no load and no save."))?;
            Location::Custom { functions: Arc::new(functions), state_path: state_path.map(Into::into) }
        }
        BindingStore::Shared { name, state_path, account } => {
            let functions = functions.ok_or_else(|| Error::invalid("The store has no load and no commit."))?;
            let engine = Arc::new(functions.called(name));
            let mirror = match beside {
                Some(beside) => to_location(beside, None, None)?.0.target().cloned(),
                None => None,
            };
            Location::Shared { engine, state_path: state_path.map(Into::into), account, mirror }
        }
    };
    Ok((location, None))
}

fn open_manager(
    options: BindingOptions,
    listener: Events,
    functions: Option<JsStore>,
    key_function: Option<JsKey>,
    runtime: Handle,
) -> Result<Manager> {
    let endpoints = Endpoints::parse(options.oauth_url.as_deref(), options.api_url.as_deref())?;
    let adds_block = [&options.store, &options.mirror]
        .iter()
        .any(|store| matches!(store, Some(BindingStore::Homebridge { add_block: true, .. })));
    let given_key = options.seal_key.map(|text| Key::expect(&text, "options.store.key")).transpose()?;
    let (location, key) = match options.store {
        Some(store) => to_location(store, options.mirror, functions)?,
        None => (Location::Memory, None),
    };
    let key = given_key
        .or(key)
        .map(KeySource::from)
        .or_else(|| key_function.map(|key| key_of_program(key.into_asked(), runtime.clone())));
    let purpose = if adds_block { Purpose::Introduce } else { Purpose::Follow };
    let codec = Codec::from(endpoints.issuer());
    let codec = match key {
        Some(key) => codec.with_key(key),
        None => codec,
    };
    let Opened { store, mirror, shared } = location.open(&codec, Disk::default(), purpose)?;
    let mut http = HttpConfig::default();
    if let Some(timeout) = options.request_timeout_ms {
        http.timeout = Duration::try_from_secs_f64(timeout / 1000.0)
            .map_err(|_| Error::invalid("requestTimeoutMs has to be a positive number of milliseconds."))?;
    }
    let request_timeout = http.timeout;
    if let Some(problem) = http.environment.system_ca_problem() {
        listener.on_event(Event::Log(Level::Warn, problem.to_owned()));
    }
    let oauth = RingOauth::shared(http, endpoints, options.user_agent.as_deref())?;
    let login_flow = match options.login_flow.as_deref() {
        None | Some("auto") => LoginFlow::Auto,
        Some("pkce") => LoginFlow::Pkce,
        Some("password") => LoginFlow::Password,
        Some(_) => return Err(Error::invalid("loginFlow has to be 'auto', 'pkce' or 'password'.")),
    };
    let parts = Parts {
        store,
        mirror,
        oauth,
        clock: SystemClock::shared(),
        listener: Arc::new(listener),
        shared: shared.map(|engine| SharedParts::new(engine, codec)),
        runtime,
    };
    let settings = Settings {
        refresh_token: options.refresh_token.map(Secret::new),
        refuses_at_calls: options.refuses_at_calls.unwrap_or(false),
        system_id: options.system_id,
        device_name: options.control_center_display_name.unwrap_or_else(|| DEFAULT_DEVICE_NAME.to_owned()),
        login_flow,
        request_timeout,
        auto_refresh: options.auto_refresh.unwrap_or(false),
    };
    Manager::open(parts, settings)
}
