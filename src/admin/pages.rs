//! `/livez`, `/readyz` and `/metrics`, and beside that the public keys and the page.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};

use super::{board::Board, key_set, page};
use crate::{lifecycle::Shutdown, snapshot::Current, telemetry::Metrics};

/// What the load balancer asks. It answers whatever `Host` says, and never
/// speaks of upstreams: one dead service must not take the fleet down.
pub struct Readiness {
    /// Whether the process is ending, and who is to hear of it.
    pub shutdown: Arc<Shutdown>,
}

#[async_trait]
impl ServeHttp for Readiness {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let path = session.req_header().uri.path();
        match path {
            // The process runs: restart it when this fails.
            "/livez" => text(session, StatusCode::OK, "alive\n"),
            // It can serve. An NLB resets the connections of a target that turns
            // unhealthy, so a drain turns this red only when asked to.
            "/readyz" if self.shutdown.fails_readiness() => {
                text(session, StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/readyz" if self.shutdown.is_draining() => text(session, StatusCode::OK, "ready, draining\n"),
            "/readyz" => text(session, StatusCode::OK, "ready\n"),
            _ => text(session, StatusCode::NOT_FOUND, "write /livez or /readyz\n"),
        }
    }
}

/// What the scraper asks.
pub struct MetricsPage {
    /// Every series of the process.
    pub metrics: Arc<Metrics>,
    /// Whose public keys stand beside them.
    pub current: Arc<Current>,
    /// What the page draws.
    pub board: Arc<Board>,
}

#[async_trait]
impl ServeHttp for MetricsPage {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Some(keys) = key_set::page(&self.current.load(), session) {
            return keys;
        }
        match session.req_header().uri.path() {
            "/metrics" => {}
            "/" => return page::answer(session),
            "/overview.json" => return page::overview(session, &self.board).await,
            _ => return text(session, StatusCode::NOT_FOUND, "write /, /metrics or /jwks.json\n"),
        }
        let mut page = whole_text(session, StatusCode::OK, self.metrics.render());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        page.headers_mut().insert(header::CONTENT_TYPE, kind);
        page
    }
}

/// A page of text; to a `HEAD` without the text.
pub(super) fn text(session: &mut ServerSession, status: StatusCode, body: &str) -> Response<Vec<u8>> {
    whole_text(session, status, body.to_owned())
}

fn whole_text(session: &mut ServerSession, status: StatusCode, body: String) -> Response<Vec<u8>> {
    if session.req_header().version == Version::HTTP_10 {
        // It may read to the end; Pingora would keep it open for a minute.
        session.set_keepalive(None);
    }
    let length = HeaderValue::from(body.len());
    let body = if session.req_header().method == Method::HEAD { Vec::new() } else { body.into_bytes() };
    let mut page = Response::new(body);
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}
