//! A program's own `load` and `save`, called on JavaScript's thread and waited for on another.

use std::time::Duration;

use napi::Status;
use napi::bindgen_prelude::{Function, Promise};
use napi::threadsafe_function::ThreadsafeFunction;
use tokio::runtime::Handle;

use super::types::{BindingAnswer, BindingChange};
use ring_auth::mirror::Caller;
use ring_auth::{Error, ErrorCode, Result, Secret};

/// How long each of them may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) type JsLoad = ThreadsafeFunction<(), Promise<BindingAnswer>, (), Status, false, true>;
pub(super) type JsSave = ThreadsafeFunction<BindingChange, Promise<BindingAnswer>, BindingChange, Status, false, true>;

pub(super) struct JsCaller {
    load: JsLoad,
    save: JsSave,
    runtime: Handle,
}

impl JsCaller {
    pub(super) fn new(
        load: &Function<'_, (), Promise<BindingAnswer>>,
        save: &Function<'_, BindingChange, Promise<BindingAnswer>>,
        runtime: Handle,
    ) -> napi::Result<Self> {
        // Weak: neither of them keeps the process alive.
        let load = load.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        let save = save.build_threadsafe_function().callee_handled::<false>().weak::<true>().build()?;
        Ok(Self { load, save, runtime })
    }

    fn wait(
        &self,
        name: &str,
        answer: impl Future<Output = napi::Result<Promise<BindingAnswer>>>,
    ) -> Result<BindingAnswer> {
        let answered = self.runtime.block_on(tokio::time::timeout(LIMIT, async { answer.await?.await }));
        let failed = |why: &str| {
            Error::new(ErrorCode::Store, format!("The store's own {name} failed. Mend it; it is called again later."))
                .with_cause(why)
        };
        match answered {
            Ok(Ok(BindingAnswer { failed: Some(why), .. })) => Err(failed(&why)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(failed("the program is ending")),
            Err(_) => Err(failed("it did not end within 10 seconds")),
        }
    }
}

impl Caller for JsCaller {
    fn load(&self) -> Result<Option<Secret>> {
        Ok(self.wait("load", self.load.call_async(()))?.token.map(Secret::new))
    }

    fn save(&self, new: &Secret, old: Option<&Secret>) -> Result<()> {
        let change = BindingChange { new: new.expose().to_owned(), old: old.map(|old| old.expose().to_owned()) };
        self.wait("save", self.save.call_async(change)).map(drop)
    }
}
