//! C++ and Rust names in readable form.

use std::borrow::Cow;

/// The readable form of a C++ (`_Z…`) or Rust (`_R…`, `_ZN…17h…E`) name; any other name, and one that does not parse, as it is.
///
/// ```
/// # use kstack::symbols::demangle::demangle;
/// assert_eq!(demangle("_ZN9IOService5startEPS_"), "IOService::start(IOService*)");
/// assert_eq!(demangle("spl_cv_wait"), "spl_cv_wait");
/// ```
pub fn demangle(name: &str) -> Cow<'_, str> {
    if !(name.starts_with("_Z") || name.starts_with("_R") || name.starts_with("__Z")) {
        return Cow::Borrowed(name);
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return Cow::Owned(format!("{rust:#}"));
    }
    let readable = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    readable.map_or(Cow::Borrowed(name), Cow::Owned)
}
