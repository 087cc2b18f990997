//! What a panic leaves behind: one more in the metrics, one line in the log.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
};

use crate::telemetry::metrics::Metrics;

/// Counts and logs every panic of the process instead of printing it.
///
/// The line tells where, and the message if it is a fixed text of the code: a
/// composed one may hold a piece of a request. With `RUST_BACKTRACE` set it
/// tells everything.
pub fn install_panic_hook(metrics: Arc<Metrics>) {
    panic::set_hook(Box::new(move |info| tell(info, &metrics)));
}

fn tell(info: &PanicHookInfo, metrics: &Metrics) {
    metrics.panicked();
    let backtrace = Backtrace::capture();
    let is_open = backtrace.status() == BacktraceStatus::Captured;
    let thread = thread::current();
    let (name, message) = (thread.name().unwrap_or("-"), message(info.payload(), is_open));
    let location = info.location().map_or(&"-" as &dyn fmt::Display, |location| location);
    if is_open {
        log::error!("panic: location={location} thread={name} message={message:?} backtrace={backtrace}");
    } else {
        log::error!("panic: location={location} thread={name} message={message:?}");
    }
}

fn message(payload: &dyn Any, is_open: bool) -> &str {
    match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
        (Some(fixed), _) => fixed,
        (None, Some(composed)) if is_open => composed,
        _ => "(not shown)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composed_message_shows_only_when_backtraces_are_asked_for() {
        let composed = String::from("byte index 3 is out of bounds of `secret`");

        assert_eq!(message(&"a fixed text", false), "a fixed text");
        assert_eq!(message(&composed, false), "(not shown)");
        assert_eq!(message(&composed, true), composed);
        assert_eq!(message(&7_u32, true), "(not shown)");
    }

    #[test]
    fn a_panic_is_counted() {
        let metrics = Metrics::new().unwrap();
        let before = panic::take_hook();
        let counted = metrics.clone();
        // Other tests may panic meanwhile, on their own threads.
        let here = thread::current().id();
        panic::set_hook(Box::new(move |info| match thread::current().id() == here {
            true => tell(info, &counted),
            false => before(info),
        }));

        let outcome = panic::catch_unwind(|| panic!("on purpose"));

        drop(panic::take_hook());
        assert!(outcome.is_err());
        assert!(metrics.render().contains("\ntollgate_panics_total 1\n"));
    }
}
