//! The functions `load`, `save` and `key` of a program, which run on JavaScript's thread.

use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{Function, Promise};
use napi::threadsafe_function::ThreadsafeFunction;

use super::types::{BindingAnswer, BindingChange};
use ring_auth::Secret;
use ring_auth::mirror::{CustomStore, ProgramFuture};

pub(super) type JsLoad = ThreadsafeFunction<(), Promise<BindingAnswer>, (), Status, false, true>;
pub(super) type JsSave = ThreadsafeFunction<BindingChange, Promise<BindingAnswer>, BindingChange, Status, false, true>;

pub(super) struct JsStore {
    load: Arc<JsLoad>,
    save: Arc<JsSave>,
}

impl JsStore {
    pub(super) fn new(
        load: &Function<'_, (), Promise<BindingAnswer>>,
        save: &Function<'_, BindingChange, Promise<BindingAnswer>>,
    ) -> napi::Result<Self> {
        // Weak, so that neither of them keeps the process alive.
        let load = load.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        let save = save.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        Ok(Self { load: Arc::new(load), save: Arc::new(save) })
    }
}

/// The function of a program that returns the key of a store.
pub(super) struct JsKey(Arc<JsLoad>);

impl JsKey {
    pub(super) fn new(key: &Function<'_, (), Promise<BindingAnswer>>) -> napi::Result<Self> {
        Ok(Self(Arc::new(key.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?)))
    }

    /// A function that calls the program's function.
    pub(super) fn into_asked(self) -> impl Fn() -> ProgramFuture<Option<Secret>> + Send + Sync + 'static {
        move || {
            let key = Arc::clone(&self.0);
            Box::pin(async move { answer_of(key.call_async(())).await })
        }
    }
}

/// The answer of the program, or the message of its error.
async fn answer_of(
    called: impl Future<Output = napi::Result<Promise<BindingAnswer>>>,
) -> Result<Option<Secret>, Secret> {
    let answered = async { called.await?.await };
    match answered.await {
        Ok(BindingAnswer::Failed { message }) => Err(message.into()),
        Ok(BindingAnswer::Done { token }) => Ok(token.map(Secret::new)),
        Err(_) => Err("the program is ending".into()),
    }
}

impl CustomStore for JsStore {
    fn load(&self) -> ProgramFuture<Option<Secret>> {
        let load = Arc::clone(&self.load);
        Box::pin(async move { answer_of(load.call_async(())).await })
    }

    fn save(&self, new: &Secret, old: Option<&Secret>) -> ProgramFuture<()> {
        let save = Arc::clone(&self.save);
        let change = BindingChange { new: new.expose().to_owned(), old: old.map(|old| old.expose().to_owned()) };
        Box::pin(async move { answer_of(save.call_async(change)).await.map(drop) })
    }
}
