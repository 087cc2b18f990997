//! What traffic taught us: keyed experience that outlives snapshots.
//!
//! A reload that leaves an endpoint as it was keeps what is known of it; what
//! no snapshot and no request holds any more is forgotten at the next reload.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::upstream::EndpointLive;

/// The experience of this process, shared by every snapshot.
#[derive(Default)]
pub struct LiveState {
    endpoints: Mutex<HashMap<EndpointKey, Arc<EndpointLive>>>,
}

impl LiveState {
    /// What is known of an upstream's endpoint; the same for the same names as
    /// long as anyone holds it.
    pub fn endpoint(&self, upstream: &Arc<str>, address: SocketAddr) -> Arc<EndpointLive> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.entry((upstream.clone(), address)).or_default().clone()
    }

    /// Forgets what nobody holds. Called after a snapshot was swapped.
    pub fn sweep(&self) {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|_, live| Arc::strong_count(live) > 1);
    }
}

/// The upstream's name and the endpoint's address.
type EndpointKey = (Arc<str>, SocketAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_its_experience_while_someone_holds_it() {
        let live = LiveState::default();
        let (name, address) = (Arc::from("orders"), "127.0.0.1:1".parse().unwrap());
        let held = live.endpoint(&name, address);

        live.sweep();

        assert!(Arc::ptr_eq(&held, &live.endpoint(&name, address)));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let live = LiveState::default();
        live.endpoint(&Arc::from("orders"), "127.0.0.1:1".parse().unwrap());

        live.sweep();

        assert!(live.endpoints.lock().unwrap().is_empty());
    }
}
