//! What is looked at at each scrape, and is kept nowhere here.

use std::sync::OnceLock;

/// Says how all of them are now; nothing before it is known who is to be asked.
pub(super) struct Watched<T>(OnceLock<Box<dyn Fn() -> Vec<T> + Send + Sync>>);

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Watched<T> {
    /// Who is asked from now on; the first one stays: a second would be a second process
    /// in this process.
    pub(super) fn watch(&self, look: impl Fn() -> Vec<T> + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(look));
    }

    pub(super) fn now(&self) -> Vec<T> {
        self.0.get().map(|look| look()).unwrap_or_default()
    }
}
