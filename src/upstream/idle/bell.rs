//! What tells that something may have happened on an idle connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

/// Rings when the driver has news. It may ring late, for what was before: then the connection
/// is looked at for nothing. It never keeps silent.
#[derive(Default)]
pub struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Bell {
    /// Whether there may be news.
    pub fn rang(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// To be called before the connection is looked at: what rings from here on is news. A
    /// swap: who looks then sees what the last ring was for.
    pub fn hush(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
