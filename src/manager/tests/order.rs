//! Calls have their effect in the order in which they are made, in whatever order their futures are polled and their tasks begin. The
//! runtime of these tests has one worker: of two tasks that a task begins, such a worker runs the second one first.

use super::*;
use crate::http::FailureKind;

const A: &str = "token-a-of-this-test";
const B: &str = "token-b-of-this-test";
const C: &str = "token-c-of-this-test";

/// HTTP client that reaches no server. It notes the e-mail address of each login.
#[derive(Default)]
struct Unreachable(Mutex<Vec<String>>);

impl Http for Unreachable {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        let body = request.body.unwrap();
        let mut fields = url::form_urlencoded::parse(body.bytes());
        let (_, email) = fields.find(|(name, _)| name == "username").unwrap();
        self.0.lock().unwrap().push(email.into_owned());
        let failure = HttpFailure { kind: FailureKind::NotSent, ambiguous: false, cause: None };
        Box::pin(std::future::ready(Err(failure)))
    }
}

fn login(manager: &Manager, email: &str) -> BoxFuture<'static, Result<Step>> {
    let (email, password) = (email.into(), "p".into());
    manager.login(Credentials { email, password, totp: None, device: Device::Kept })
}

/// A manager whose logins reach no server.
fn before(server: &Arc<Unreachable>) -> (Bench, Manager) {
    let mut bench = Bench::new();
    let endpoints = Endpoints::parse(None, None).unwrap();
    let oauth = Arc::new(RingOauth::new(Arc::clone(server) as Arc<_>, endpoints, None).unwrap());
    Arc::get_mut(&mut bench.wire).unwrap().oauth = oauth;
    let (parts, settings) = bench.parts(None, false);
    let manager = Manager::open(parts, Settings { login_flow: LoginFlow::Password, ..settings }).unwrap();
    (bench, manager)
}

/// Waits until so many requests of refreshes were sent.
async fn has_sent(bench: &Bench, requests: usize) {
    let sent = async {
        while bench.wire.sent().len() < requests {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SECOND * 60, sent).await.unwrap();
}

/// Runs a test in a task of a runtime with one worker.
fn in_a_task(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test).await }).unwrap();
}

#[test]
fn the_token_that_was_set_last_counts() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(None);
        let (first, second) = (manager.set_refresh_token(A), manager.set_refresh_token(B));
        second.await.unwrap();
        first.await.unwrap();
        assert_eq!(raw(manager.refresh_token()), B);
    });
}

#[test]
fn the_push_credentials_that_were_set_last_count_and_a_logout_ends_both() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(None);
        let token = manager.set_refresh_token(A);
        let first = manager.set_push_credentials(Some(serde_json::json!({ "number": 1 })));
        let second = manager.set_push_credentials(Some(serde_json::json!({ "number": 2 })));
        second.await.unwrap();
        first.await.unwrap();
        token.await.unwrap();
        let newest = RefreshToken::parse(manager.refresh_token().unwrap().expose()).unwrap();
        assert_eq!(newest, newest.with_push_credentials(Some(serde_json::json!({ "number": 2 }))));
        let (token, logout) = (manager.set_refresh_token(B), manager.forget());
        logout.await.unwrap();
        token.await.unwrap();
        assert_eq!(raw(manager.refresh_token()), "");
    });
}

#[test]
fn a_refresh_uses_the_token_that_was_set_before_it() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(Some(A));
        let (token, refresh) = (manager.set_refresh_token(B), manager.refresh(false));
        refresh.await.unwrap();
        token.await.unwrap();
        assert_eq!(bench.wire.sent(), [B]);
    });
}

#[test]
fn the_steps_of_logins_are_sent_in_the_order_of_the_calls() {
    in_a_task(async {
        let server = Arc::default();
        let (_bench, manager) = before(&server);
        let (first, second) = (login(&manager, "first"), login(&manager, "second"));
        assert_eq!(code(second.await), ErrorCode::Network);
        assert_eq!(code(first.await), ErrorCode::Network);
        assert_eq!(*server.0.lock().unwrap(), ["first", "second"]);
    });
}

#[test]
fn a_manager_closes_after_the_calls_that_came_before() {
    in_a_task(async {
        let server = Arc::default();
        let (bench, manager) = before(&server);
        let (token, refresh, login) = (manager.set_refresh_token(A), manager.refresh(false), login(&manager, "last"));
        let closing = manager.close();
        assert_eq!(code(manager.set_refresh_token(B).await), ErrorCode::Closed);
        closing.await;
        token.await.unwrap();
        refresh.await.unwrap();
        assert_eq!(code(login.await), ErrorCode::Network);
        assert_eq!(*server.0.lock().unwrap(), ["last"]);
        assert_eq!(bench.wire.sent(), [A]);
        assert_eq!(bench.state().current().unwrap().token.raw(), format!("{A}+"));
    });
}

#[test]
fn a_refresh_that_began_before_another_token_was_set_serves_no_later_call() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(Some(A));
        bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
        let first = manager.refresh(false);
        has_sent(&bench, 1).await;
        let (token, second, third) = (manager.set_refresh_token(B), manager.refresh(false), manager.auth());
        assert_eq!(raw(Some(second.await.unwrap().refresh_token)), format!("{B}+"));
        assert_eq!(raw(Some(third.await.unwrap().refresh_token)), format!("{B}+"));
        assert_eq!(code(first.await), ErrorCode::RefreshTokenRejected);
        token.await.unwrap();
        assert_eq!(bench.wire.sent(), [A, B]);
        // The later call continues if its caller drops the future.
        let refresh = manager.refresh(false);
        has_sent(&bench, 3).await;
        drop((manager.set_refresh_token(C), manager.refresh(false)));
        has_sent(&bench, 4).await;
        assert_eq!(bench.wire.sent()[3], C);
        refresh.await.unwrap();
        // This joins the fourth.
        manager.refresh(false).await.unwrap();
        // The same applies to a logout.
        let refresh = manager.refresh(false);
        has_sent(&bench, 5).await;
        let (logout, late) = (manager.forget(), manager.refresh(false));
        assert_eq!(code(late.await), ErrorCode::NoRefreshToken);
        logout.await.unwrap();
        refresh.await.unwrap();
    });
}

#[test]
fn a_forced_refresh_that_comes_during_another_one_is_made_although_its_caller_drops_the_future() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(Some(A));
        bench.wire.then(failure(ErrorCode::Blocked, false));
        assert_eq!(code(manager.refresh(false).await), ErrorCode::Blocked);
        let refused = manager.refresh(false);
        drop(manager.refresh(true));
        assert_eq!(code(refused.await), ErrorCode::Blocked);
        has_sent(&bench, 2).await;
    });
}

#[test]
fn a_token_that_was_set_before_close_is_stored_although_another_process_has_the_lock() {
    in_a_task(async {
        let store = Shaky::new();
        let bench = Bench::on(Arc::clone(&store) as Arc<_>);
        let manager = bench.manager(None);
        let other = bench.store.try_lock().unwrap().unwrap();
        let token = tokio::spawn(manager.set_refresh_token(A));
        let push = manager.set_push_credentials(Some(serde_json::json!({ "number": 1 })));
        let closing = manager.close();
        // The manager tries to take the lock again and again.
        let before = store.locked.load(Ordering::SeqCst);
        while store.locked.load(Ordering::SeqCst) < before + 3 && !token.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(other);
        closing.await;
        token.await.unwrap().unwrap();
        push.await.unwrap();
        assert_eq!(bench.state().current().unwrap().token.raw(), A);
    });
}

#[test]
fn a_manager_closes_although_its_future_is_not_polled() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(Some(A));
        let refresh = manager.refresh(false);
        let (first, second) = (manager.close(), manager.close());
        tokio::time::timeout(SECOND * 60, second).await.unwrap();
        refresh.await.unwrap();
        first.await;
        let third = manager.close();
        assert_eq!(code(manager.auth().await), ErrorCode::Closed);
        third.await;
        // A caller may drop the future.
        let manager = bench.manager(None);
        drop(manager.close());
        while !manager.inner.snapshot().is_closed() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_manager_closes_although_a_refresh_begins_on_another_thread_at_that_moment() {
    in_a_task(async {
        let bench = Bench::new();
        let manager = bench.manager(Some(A));
        let closing = {
            let held = activity::hold_refreshes();
            let other = manager.clone();
            std::thread::spawn(move || drop(other.refresh(false)));
            while manager.inner.snapshot().flight.is_none() {
                std::thread::yield_now();
            }
            let closing = manager.close();
            drop(held);
            closing
        };
        tokio::time::timeout(SECOND * 60, closing).await.unwrap();
        assert_eq!(bench.wire.sent(), [A]);
    });
}
