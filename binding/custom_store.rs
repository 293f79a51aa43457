//! A program's own `load`, `save` or `commit`, `warnings` and `key`, called on JavaScript's thread.

use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{Function, Promise};
use napi::threadsafe_function::ThreadsafeFunction;

use super::types::{BindingAnswer, BindingChange};
use ring_auth::Secret;
use ring_auth::mirror::{CustomStore, ProgramFuture};
use ring_auth::shared::{Answer, Kept, SharedStore};

pub(super) type JsLoad = ThreadsafeFunction<(), Promise<BindingAnswer>, (), Status, false, true>;
pub(super) type JsSave = ThreadsafeFunction<BindingChange, Promise<BindingAnswer>, BindingChange, Status, false, true>;

pub(super) struct JsStore {
    load: Arc<JsLoad>,
    save: Arc<JsSave>,
    warnings: Option<Arc<JsLoad>>,
    name: Option<String>,
}

impl JsStore {
    pub(super) fn new(
        load: &Function<'_, (), Promise<BindingAnswer>>,
        save: &Function<'_, BindingChange, Promise<BindingAnswer>>,
        warnings: Option<&Function<'_, (), Promise<BindingAnswer>>>,
    ) -> napi::Result<Self> {
        // Weak, so that neither of them keeps the process alive.
        let load = load.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        let save = save.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        let warnings = warnings.map(|warnings| JsKey::new(warnings).map(|asked| asked.0)).transpose()?;
        Ok(Self { load: Arc::new(load), save: Arc::new(save), warnings, name: None })
    }

    /// Names the store, for the functions of a shared store: its engine has a name in messages.
    pub(super) fn called(self, name: Option<String>) -> Self {
        Self { name, ..self }
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
    versioned(called).await.map(|(token, _)| token)
}

/// The answer of the program with the version that a shared store gave, or the message of its error.
async fn versioned(
    called: impl Future<Output = napi::Result<Promise<BindingAnswer>>>,
) -> Result<(Option<Secret>, Option<String>), Secret> {
    let answered = async { called.await?.await };
    match answered.await {
        Ok(BindingAnswer::Failed { message }) => Err(message.into()),
        Ok(BindingAnswer::Done { token, version }) => Ok((token.map(Secret::new), version)),
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

impl SharedStore for JsStore {
    fn load(&self) -> Answer<'_, Option<Kept>> {
        Box::pin(async move {
            let (value, version) = versioned(self.load.call_async(())).await?;
            Ok(value.zip(version).map(|(value, version)| Kept { value, version }))
        })
    }

    fn commit(&self, value: Secret, version: Option<String>) -> Answer<'_, Option<String>> {
        let change = BindingChange { new: value.expose().to_owned(), old: version };
        Box::pin(async move { versioned(self.save.call_async(change)).await.map(|(_, version)| version) })
    }

    fn warnings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            let Some(warnings) = &self.warnings else { return Ok(Vec::new()) };
            let lines = answer_of(warnings.call_async(())).await?;
            Ok(lines.iter().flat_map(|lines| lines.expose().lines()).map(str::to_owned).collect())
        })
    }

    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| "the shared store".to_owned())
    }
}
