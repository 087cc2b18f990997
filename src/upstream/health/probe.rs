//! One probe of one endpoint: connects, asks, judges the answer.
//!
//! Each probe takes a new connection, through the same connector and with the
//! same TLS as traffic: an endpoint that stopped accepting goes on answering on
//! connections that it has, and ten thousand idle ones would be kept for it.
//! Always holds: the deadline is over the whole of it, so that an endpoint which
//! drips is a timeout; at most 64 KiB of an answer is read.

use std::{fmt, sync::LazyLock};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::{
    ErrorType,
    connectors::{TransportConnector, http::Connector},
    http::RequestHeader,
    protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};

use super::{
    super::peer,
    check::{Check, Question},
    grpc,
};
use crate::{config::health_check::StatusRange, telemetry::metrics::ProbeResult};

/// How a probe ended, with what the log says beside the word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    pub(super) result: ProbeResult,
    /// The status that did not pass, of HTTP or gRPC.
    status: Option<u16>,
}

impl Outcome {
    pub(super) fn passed(self) -> bool {
        self.result == ProbeResult::Passed
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.result.word())?;
        self.status.map_or(Ok(()), |status| write!(f, "_{status}"))
    }
}

impl From<ProbeResult> for Outcome {
    fn from(result: ProbeResult) -> Self {
        Self { result, status: None }
    }
}

/// Asks endpoints; holds no connection between two probes. Each connector reads
/// the system's authorities, so that one is made when it is first needed.
pub(super) struct Prober {
    http: LazyLock<Connector>,
    transport: LazyLock<TransportConnector>,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self {
            http: LazyLock::new(|| Connector::new(None)),
            transport: LazyLock::new(|| TransportConnector::new(None)),
        }
    }

    /// Asks an endpoint; takes the check's timeout at most.
    pub(super) async fn probe(&self, peer: &HttpPeer, check: &Check) -> Outcome {
        // Not in the first probe's time.
        match check.question {
            Question::Tcp => _ = LazyLock::force(&self.transport),
            Question::Http { .. } | Question::Grpc { .. } => _ = LazyLock::force(&self.http),
        }
        match tokio::time::timeout(check.timeout, self.ask(peer, &check.question)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => {
                log::debug!("probe failed: endpoint={} error={why}", peer._address);
                result_of(why.etype()).into()
            }
            Err(_) => ProbeResult::Timeout.into(),
        }
    }

    async fn ask(&self, peer: &HttpPeer, question: &Question) -> pingora::Result<Outcome> {
        match question {
            Question::Tcp => {
                let stream = self.transport.new_stream(peer).await?;
                peer::fit(stream.get_ssl_digest().as_deref())?;
                Ok(ProbeResult::Passed.into())
            }
            Question::Http { path, host, expect } => {
                let status = self.get(peer, path, host.as_deref(), expect).await?;
                let failed = |status| Outcome { result: ProbeResult::Status, status: Some(status) };
                Ok(status.map_or_else(|| ProbeResult::Passed.into(), failed))
            }
            Question::Grpc { host, service } => {
                let mut request = request(Method::POST, grpc::PATH, host.as_deref(), peer)?;
                request.insert_header(header::CONTENT_TYPE, "application/grpc")?;
                request.insert_header(header::TE, "trailers")?;
                let mut session = self.connect(peer).await?;
                session.write_request_header(Box::new(request)).await?;
                session.write_request_body(grpc::request(service), true).await?;
                call(&mut session).await
            }
        }
    }

    async fn connect(&self, peer: &HttpPeer) -> pingora::Result<HttpSession> {
        let (session, _) = self.http.get_http_session(peer).await?;
        peer::fit(session.digest().and_then(|digest| digest.ssl_digest.as_deref()))?;
        Ok(session)
    }

    /// The status, if it does not pass.
    async fn get(
        &self,
        peer: &HttpPeer,
        path: &str,
        host: Option<&str>,
        expect: &[StatusRange],
    ) -> pingora::Result<Option<u16>> {
        let mut request = request(Method::GET, path, host, peer)?;
        let mut session = self.connect(peer).await?;
        if matches!(session, HttpSession::H1(_)) {
            // Who closes first keeps the port for a minute: better each endpoint
            // its own than the gateway all of them.
            request.insert_header(header::CONNECTION, "close")?;
        }
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        let status = read_status(&mut session).await?.as_u16();
        if !expect.iter().any(|range| range.contains(status)) {
            return Ok(Some(status));
        }
        read_body(&mut session, |_| ()).await?;
        Ok(None)
    }
}

/// A request that says who asks.
fn request(
    method: Method,
    path: &str,
    host: Option<&str>,
    peer: &HttpPeer,
) -> pingora::Result<RequestHeader> {
    let mut request = RequestHeader::build(method, path.as_bytes(), None)?;
    let host = host.map_or_else(|| peer._address.to_string(), str::to_owned);
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::USER_AGENT, USER_AGENT)?;
    Ok(request)
}

async fn read_status(session: &mut HttpSession) -> pingora::Result<StatusCode> {
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map_or(StatusCode::CONTINUE, |answer| answer.status);
        // HTTP/2 passes interim answers over by itself.
        if !status.is_informational() || !matches!(session, HttpSession::H1(_)) {
            return Ok(status);
        }
    }
}

/// Reads to the end, or to what is enough.
async fn read_body(session: &mut HttpSession, mut take: impl FnMut(&Bytes)) -> pingora::Result<()> {
    let mut read = 0;
    while let Some(piece) = session.read_response_body().await? {
        take(&piece);
        read += piece.len();
        if read > MOST_BODY {
            break;
        }
    }
    Ok(())
}

/// Reads gRPC's answer. An error comes as a status in the header, with no body.
async fn call(session: &mut HttpSession) -> pingora::Result<Outcome> {
    let status = read_status(session).await?;
    if status != StatusCode::OK {
        return Ok(Outcome { result: ProbeResult::Status, status: Some(status.as_u16()) });
    }
    let headers = session.response_header().map(|answer| &answer.headers);
    if let Some(failed) = headers.and_then(failure) {
        return Ok(failed);
    }
    let mut body = Vec::new();
    read_body(session, |piece| body.extend_from_slice(piece)).await?;
    let HttpSession::H2(http2) = session else { return Ok(ProbeResult::ProtocolError.into()) };
    let trailers = http2.read_trailers().await?;
    if let Some(failed) = trailers.as_ref().and_then(failure) {
        return Ok(failed);
    }
    Ok(match grpc::is_serving(&body) {
        Some(true) => ProbeResult::Passed.into(),
        Some(false) => ProbeResult::NotServing.into(),
        None => ProbeResult::ProtocolError.into(),
    })
}

/// A `grpc-status` other than OK.
fn failure(fields: &http::HeaderMap) -> Option<Outcome> {
    let status = fields.get("grpc-status").filter(|status| *status != "0")?;
    let status = status.to_str().ok().and_then(|status| status.parse().ok());
    Some(Outcome { result: ProbeResult::NotServing, status })
}

fn result_of(kind: &ErrorType) -> ProbeResult {
    use ErrorType as T;
    match kind {
        T::ConnectTimedout | T::TLSHandshakeTimedout | T::ReadTimedout | T::WriteTimedout => {
            ProbeResult::Timeout
        }
        T::ConnectRefused
        | T::ConnectNoRoute
        | T::ConnectError
        | T::SocketError
        | T::BindError
        | T::InternalError => ProbeResult::Refused,
        T::TLSHandshakeFailure | T::InvalidCert | T::HandshakeError | T::TLSWantX509Lookup => {
            ProbeResult::Tls
        }
        T::InvalidHTTPHeader | T::H1Error | T::InvalidH2 | T::H2Error => ProbeResult::ProtocolError,
        _ => ProbeResult::Reset,
    }
}

const USER_AGENT: &str = "tollgate-health";

/// More than any health page; a page without end is no reason to read on.
const MOST_BODY: usize = 64 << 10;
