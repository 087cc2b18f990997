//! The service that takes clients' connections: the edge, and behind it Pingora's
//! proxy with the gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    listeners::ListenerConfig,
    protocols::{
        http::v2::server::default_h2_options,
        l4::stream::{L4BufferSettings, Stream as L4Stream},
        tls::SslStream,
    },
    server::Server,
    services::listening::Service,
};
use pingora_proxy::HttpProxy;

use super::{Parts, StartError};
use crate::{
    config,
    edge::{Caps, Clock, Edge, EdgeListener, Handshake},
    gateway::{Gateway, record::Recorder},
    lifecycle::{self, Pulse},
    telemetry::metrics::{EarlyEnd, ListenerSeries},
    tls::{Acceptor, HandshakeError, HandshakeFailure, PolicyId, TlsFacts},
    upstream::Idle,
};

impl Parts {
    pub(super) fn edge_service(
        &self,
        server: &Server,
        pulse: Pulse,
    ) -> Result<Service<Edge<HttpProxy<Gateway>>>, StartError> {
        let now = self.current.load();
        let config = now.config();
        let recorder =
            Arc::new(Recorder::new(&self.metrics, self.access_log.clone(), self.followers.spans.clone()));
        let gateway = Gateway::new(self.current.clone(), recorder);
        let conf = &server.configuration;
        let mut http = HttpProxy::new(gateway, conf.clone());
        let most = conf.upstream_keepalive_pool_size.saturating_mul(conf.threads);
        http.idle_streams = Some(Box::new(Idle::new(conf.threads, most)));
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(config.connections.idle.duration());
        // Only so that our gate sees it: Pingora's own 405 names no `Allow` and is
        // neither logged nor counted. No list of methods has CONNECT in it.
        options.allow_connect_method_proxying = true;
        http.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_concurrent_streams(config.connections.max_streams)
            .initial_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .data_frame_budget(DATA_FRAME_BUDGET);
        http.h2_options = Some(h2);
        http.handle_init_modules();
        let (current, of_tenants) = (self.current.clone(), self.current.clone());
        let edge = Edge {
            http: Arc::new(http),
            listeners: self.edge_listeners()?,
            limits: Box::new(move || current.load().limits()),
            tenants: Box::new(move || of_tenants.load().tenants.clone()),
            caps: Caps::at_most(lifecycle::most_connections(config.connections.max)),
            drain: self.drain.clone(),
            clock: Clock::default(),
        };
        let mut service = Service::new("edge".to_owned(), edge);
        let addresses = config.listeners.iter().map(|listener| listener.spec.address.to_string());
        for address in addresses.chain([pulse.0.to_string()]) {
            let buffers = L4BufferSettings::new(L4_BUFFER, 0);
            service.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers));
        }
        Ok(service)
    }

    fn edge_listeners(&self) -> Result<Vec<EdgeListener>, StartError> {
        let now = self.current.load();
        let listeners = now.config().listeners.iter().enumerate();
        let edge_listener = |(index, listener): (usize, &config::Sourced<config::listener::ListenerSpec>)| {
            let spec = &listener.spec;
            let series = self.metrics.listener(spec.name.as_str());
            let handshake = spec.tls.as_ref().map(|_| {
                let current = self.current.clone();
                let table = move || current.load().tls(index).cloned();
                let acceptor = Acceptor::new(table, self.tickets.clone()).map_err(StartError::Tls)?;
                let (name, series) = (spec.name.to_string(), series.clone());
                let ends = EndsTls { acceptor, series, name, told: AtomicU64::new(0) };
                Ok(Arc::new(ends) as Arc<dyn Handshake>)
            });
            let handshake = handshake.transpose()?;
            let current = self.current.clone();
            let proxy_protocol = Box::new(move || current.load().proxy_protocol(index).cloned());
            Ok(EdgeListener { address: spec.address.socket(), series, handshake, proxy_protocol })
        };
        listeners.map(edge_listener).collect()
    }
}

/// Ends TLS for the edge, and counts it, in the edge's words.
struct EndsTls {
    acceptor: Acceptor,
    series: Arc<ListenerSeries>,
    /// The listener's.
    name: String,
    /// In which second a refused certificate was told.
    told: AtomicU64,
}

#[async_trait]
impl Handshake for EndsTls {
    async fn accept(&self, stream: L4Stream) -> Result<SslStream<L4Stream>, EarlyEnd> {
        match self.acceptor.accept(stream).await {
            Ok(stream) => {
                let digest = stream.ssl_digest();
                if let Some(facts) = digest.as_ref().and_then(|d| d.extension.get::<TlsFacts>()) {
                    self.series.handshake(facts.version, facts.resumed, facts.curve);
                    if facts.policy != PolicyId::OPEN {
                        let is_shown = facts.client_certificate.is_some();
                        self.series.client_certificate(if is_shown { ACCEPTED } else { NOT_SHOWN });
                    }
                }
                Ok(stream)
            }
            Err(why) => {
                self.refused(&why);
                Err(early_end(why.failure))
            }
        }
    }
}

impl EndsTls {
    fn refused(&self, why: &HandshakeError) {
        let HandshakeFailure::ClientCertificateBad(fault) = why.failure else {
            if why.failure == HandshakeFailure::ClientCertificateMissing {
                self.series.client_certificate(NOT_SHOWN);
            }
            log::debug!("{why}");
            return;
        };
        self.series.client_certificate(fault.word());
        // Somebody will be asked why they do not come in. But a client that comes back
        // all the time must not fill the log.
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is_first = self.told.swap(second, Ordering::Relaxed) != second;
        let level = if is_first { log::Level::Info } else { log::Level::Debug };
        let (host, listener) = (why.server_name.as_deref().unwrap_or("-"), &self.name);
        log::log!(
            level,
            "client certificate refused: reason={fault} listener={listener} server_name={host} {}",
            why.detail
        );
    }
}

fn early_end(failure: HandshakeFailure) -> EarlyEnd {
    match failure {
        HandshakeFailure::Closed => EarlyEnd::Probe,
        HandshakeFailure::UnknownServerName => EarlyEnd::UnknownServerName,
        HandshakeFailure::ClientCertificateMissing => EarlyEnd::ClientCertificateMissing,
        HandshakeFailure::ClientCertificateBad(_) => EarlyEnd::ClientCertificateBad,
        HandshakeFailure::ClientAlert | HandshakeFailure::Protocol | HandshakeFailure::Io => {
            EarlyEnd::HandshakeFailed
        }
    }
}

/// What becomes of client certificates that are not refused.
const ACCEPTED: &str = "accepted";
const NOT_SHOWN: &str = "none";

/// Pingora's 64 KiB make an idle TLS connection cost 51 to 94 KiB; 4 KiB make
/// it 31 to 34, at no CPU cost. For what is read: writes are put together in the edge.
const L4_BUFFER: usize = 4 << 10;

/// Ends an HTTP/2 connection for small DATA frames that wait: each counts 256
/// bytes less its own. A stream's whole window in messages of 20 bytes, as gRPC
/// sends them, has room; h2's own half of the connection's window has not.
const DATA_FRAME_BUDGET: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use crate::{telemetry::metrics::CERTIFICATES, tls::CertificateFault};

    #[test]
    fn every_fault_of_a_certificate_is_counted_by_its_own_word() {
        let faults = CertificateFault::ALL.map(CertificateFault::word);

        assert_eq!(CERTIFICATES[2..CERTIFICATES.len() - 1], faults);
        assert_eq!(CERTIFICATES[..2], [super::ACCEPTED, super::NOT_SHOWN]);
    }
}
