//! Places where tests make the engine fail. Without the feature `fail/failpoints` they are nothing.

/// Fails here if a test has said so under this name. The name is put together only while any failpoint is set.
pub fn at(name: impl FnOnce() -> String) {
    if fail::has_failpoints() && !fail::list().is_empty() {
        fail::eval(&name(), |_| ());
    }
}
