//! Private services that go on while the process drains, to its very end, or until
//! another process answers in their place.
//!
//! Pingora stops all of its services at once. But a readiness port that is shut
//! reads as a dead target: the load balancer would reset the connections that
//! are being drained. And a drain is when an operator looks at status and
//! metrics. After an upgrade both are the new process's.

use async_trait::async_trait;
use pingora::{
    server::{ListenFds, ShutdownWatch},
    services::Service,
};

/// A service that hears of no shutdown but its own.
pub struct Lasting<S> {
    /// What goes on.
    pub service: S,
    /// Until when.
    pub until: ShutdownWatch,
}

#[async_trait]
impl<S: Service> Service for Lasting<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners_per_fd: usize) {
        self.service.start_service(fds, self.until.clone(), listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
