//! The store that the module of `--store-module` exports.

use napi::bindgen_prelude::{Function, Promise, within_runtime_if_available};
use napi_derive::napi;
use tokio::runtime::Handle;

use super::custom_store::{JsKey, JsStore};
use super::to_location;
use super::types::{BindingAnswer, BindingChange, BindingStore};
use ring_auth::Result;
use ring_auth::cli::Module;
use ring_auth::journal::{Key, KeySource};
use ring_auth::mirror::key_of_program;

/// The store of a module, or the reason why it cannot be used.
#[napi]
pub struct BindingModule {
    module: Result<Module>,
}

#[napi]
impl BindingModule {
    #[napi(constructor)]
    pub fn new(
        store: BindingStore,
        mirror: Option<BindingStore>,
        seal_key: Option<String>,
        load: Option<Function<'_, (), Promise<BindingAnswer>>>,
        save: Option<Function<'_, BindingChange, Promise<BindingAnswer>>>,
        key: Option<Function<'_, (), Promise<BindingAnswer>>>,
        warnings: Option<Function<'_, (), Promise<BindingAnswer>>>,
    ) -> napi::Result<Self> {
        let functions = match load.zip(save) {
            Some((load, save)) => Some(JsStore::new(&load, &save, warnings.as_ref())?),
            None => None,
        };
        let asked = key.map(|key| JsKey::new(&key)).transpose()?;
        let asked = asked.map(|key| key_of_program(key.into_asked(), within_runtime_if_available(Handle::current)));
        let module = || {
            let given = seal_key.map(|text| Key::expect(&text, "The key of the store")).transpose()?;
            let (location, key) = to_location(store, mirror, functions)?;
            Ok(Module { location, key: given.or(key).map(KeySource::from).or(asked) })
        };
        Ok(Self { module: module() })
    }

    /// Says why there is no store.
    #[napi(factory)]
    pub fn refused(problem: String) -> Self {
        Self { module: Err(Module::refused(&problem)) }
    }

    pub(super) fn to_module(&self) -> Result<Module> {
        self.module.clone()
    }
}
