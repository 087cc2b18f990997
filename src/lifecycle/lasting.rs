//! Private services that go on while the process drains, to its very end.
//!
//! Pingora stops all of its services at once. But a readiness port that is shut
//! reads as a dead target: the load balancer would reset the connections that
//! are being drained. And a drain is when an operator looks at status and
//! metrics.

use async_trait::async_trait;
use pingora::{
    server::{ListenFds, ShutdownWatch},
    services::Service,
};
use tokio::sync::watch;

/// A service that hears of no shutdown.
pub struct Lasting<S>(pub S);

#[async_trait]
impl<S: Service> Service for Lasting<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners_per_fd: usize) {
        // The sender lives as long as the service: a dropped one is a shutdown.
        let (_never, shutdown) = watch::channel(false);
        self.0.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn threads(&self) -> Option<usize> {
        self.0.threads()
    }
}
