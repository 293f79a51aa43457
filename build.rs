//! Sets the linker flags of a Node addon, only where one is built.

fn main() {
    #[cfg(feature = "binding")]
    napi_build::setup();
}
