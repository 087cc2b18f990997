//! What the gateway knows of one request, from its first byte to its log line.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Method, Uri};

use super::{
    body::BoundBody, limits::Limited, marks::Marks, record::Recorder, rejection::Rejection, sign::Signed,
};
use crate::{
    config::authentication::AuthenticatorIndex,
    edge::{Connection, StreamGuard, Upload},
    identity::{Believed, Consumer, Flaw, Principal, Tenancy},
    route::{Route, Rule, UpstreamIndex},
    snapshot::Snapshot,
    telemetry::{RequestId, TraceContext, spans::Recording},
    upstream::{Lease, Tried, Upstream},
};

/// One request. Pinned to one snapshot; whatever ends the request, dropping
/// this writes its log line and gives its lease and its places back.
pub struct RequestContext {
    /// The configuration that rules this request, whatever is reloaded.
    pub snapshot: Arc<Snapshot>,
    /// When its first byte came; in HTTP/2, when its header had been read.
    pub started: Instant,
    /// The same on the wall's clock.
    pub wall: SystemTime,
    /// The client's connection.
    pub connection: Option<Arc<Connection>>,
    /// Who asks, behind every trusted proxy.
    pub client: IpAddr,
    /// Which of its fields about where it came from count.
    pub believed: Believed,
    /// Whose VPC endpoint they come through.
    pub tenancy: Tenancy,
    /// Who was authenticated.
    pub consumer: Option<Consumer>,
    /// To whom something was presented that is not good, and what is wrong with it.
    pub flaw: Option<(AuthenticatorIndex, Flaw)>,
    /// From when to when it waited for a key, to know who asks.
    pub authenticated: Option<(Instant, Instant)>,
    /// Which rule of its route refused it.
    pub rule: Option<Rule>,
    /// A web page's browser asks if it may.
    pub preflight: bool,
    /// Which page it is from, where its route has a policy for pages.
    pub origin: Option<HeaderValue>,
    /// What the log line needs when the session is gone.
    pub head: Head,
    /// What everyone calls this request.
    pub request_id: RequestId,
    /// Which trace it belongs to.
    pub trace: TraceContext,
    /// What is recorded of it for its trace; nothing of most requests.
    pub recording: Option<Box<Recording>>,
    /// The route that won.
    pub route: Option<Arc<Route>>,
    /// The place of the route that was asked first who asks: that one, or everyone's.
    pub first: Option<usize>,
    /// The upstream that the route chose.
    pub upstream: Option<UpstreamIndex>,
    /// What limits said, and its places at them.
    pub limited: Limited,
    /// Attempts so far, and where they went.
    pub attempt: Attempt,
    /// Its token towards the upstream.
    pub signed: Signed,
    /// What that says of the body.
    pub bound: BoundBody,
    /// Bytes of the body that came from the client.
    pub body_in: u64,
    /// Held while more of the body is awaited.
    pub upload: Option<Upload>,
    /// Held while it is something that may go on for long.
    pub stream: Option<StreamGuard>,
    /// The status of the upstream's answer that was passed on; 0 before.
    pub status: u16,
    /// Why the gateway answers itself.
    pub rejection: Option<Rejection>,
    /// Pingora's short name of a transport error.
    pub error: Option<&'static str>,
    /// Writes the line; `None` once it is written.
    pub recorder: Option<Arc<Recorder>>,
}

/// The request as it was matched.
#[derive(Default)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its canonical target.
    pub uri: Uri,
    /// Its `Host`: lower case, a port at its end.
    pub host: Option<HeaderValue>,
    /// How much of it is the host without the port.
    pub host_len: usize,
    /// The protocol it came by.
    pub version: http::Version,
    /// No body comes with it.
    pub bodiless: bool,
    /// A call of gRPC to an upstream that knows them: silence of both sides is part
    /// of it from its begin.
    pub is_call: bool,
    /// Which fields are worth looking up.
    pub marks: Marks,
}

/// The attempts of a request.
#[derive(Default)]
pub struct Attempt {
    /// How many were begun.
    pub count: u8,
    /// Where they went.
    pub tried: Tried,
    /// The endpoint of the current one.
    pub lease: Option<Lease>,
    /// The endpoint was picked and not yet connected to.
    pub picked: bool,
    /// It waited for room.
    pub waited: bool,
    /// The hash of what keeps the request on an endpoint.
    pub key: Option<u64>,
    /// What it says of its endpoint was told.
    pub judged: bool,
    /// Whether the connection was in use before.
    pub reused: bool,
    /// When the attempt began.
    pub began: Option<Instant>,
    /// How long connecting took.
    pub connect: Option<Duration>,
    /// From the attempt's begin to the first byte of the answer.
    pub first_byte: Option<Duration>,
}

impl RequestContext {
    /// A request whose header was just read.
    pub fn new(snapshot: Arc<Snapshot>, recorder: Arc<Recorder>) -> Self {
        Self {
            started: snapshot.built,
            snapshot,
            wall: SystemTime::UNIX_EPOCH,
            connection: None,
            client: Ipv4Addr::UNSPECIFIED.into(),
            believed: Believed::NOTHING,
            tenancy: Tenancy::Direct,
            consumer: None,
            flaw: None,
            authenticated: None,
            rule: None,
            preflight: false,
            origin: None,
            head: Head::default(),
            request_id: RequestId::none(),
            trace: TraceContext::none(),
            recording: None,
            route: None,
            first: None,
            upstream: None,
            limited: Limited::default(),
            attempt: Attempt::default(),
            signed: Signed::default(),
            bound: BoundBody::default(),
            body_in: 0,
            upload: None,
            stream: None,
            status: 0,
            rejection: None,
            error: None,
            recorder: Some(recorder),
        }
    }

    /// The upstream that the route chose.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.snapshot.upstreams.get(self.upstream?.0)
    }

    /// Who asks.
    pub fn principal(&self) -> Principal<'_> {
        let connection = self.connection.as_ref();
        Principal {
            tenancy: self.tenancy,
            vpc_endpoint: connection.and_then(|connection| connection.caller.vpc_endpoint.as_deref()),
            address: self.client,
            consumer: self.consumer.as_ref(),
            certificate: None,
        }
    }

    /// The host as text, without port; empty when the gate let none through.
    pub fn host(&self) -> &str {
        let host = self.head.host.as_ref().and_then(|host| host.to_str().ok());
        host.and_then(|host| host.get(..self.head.host_len)).unwrap_or_default()
    }
}

impl Drop for RequestContext {
    /// The line of last resort: a connection that is cut takes its requests
    /// with it, and Pingora's `logging` is never called.
    fn drop(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            self.rejection.get_or_insert(Rejection::ClientGone);
            recorder.record(self, None);
        }
    }
}
