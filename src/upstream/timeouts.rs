//! How long each step towards an upstream may take.

use std::time::Duration;

use super::Distance;
use crate::config::upstream::TimeoutsSpec;

/// How long each step towards an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// TCP, and again TLS.
    pub connect: Duration,
    /// The longest that the endpoint's host may not acknowledge what is sent.
    pub unacknowledged: Duration,
    /// The longest silence of the endpoint.
    pub read: Duration,
    /// The longest silence on a stream.
    pub stream_idle: Duration,
    /// The longest that the endpoint may not take what is sent.
    pub write: Duration,
    /// Up to the response's header.
    pub request: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl From<&TimeoutsSpec> for Timeouts {
    fn from(spec: &TimeoutsSpec) -> Self {
        Self {
            connect: spec.connect.duration(),
            unacknowledged: spec.unacknowledged.duration(),
            read: spec.read.duration(),
            stream_idle: spec.stream_idle.duration(),
            write: spec.write.duration(),
            request: spec.request.duration(),
            idle: spec.idle.duration(),
        }
    }
}

impl Timeouts {
    /// Between regions packets are lost now and then: a host there is given up
    /// only after several questions in a row.
    pub fn towards(self, distance: &Distance) -> Self {
        let unacknowledged = match distance {
            Distance::OwnZone | Distance::Region => self.unacknowledged,
            Distance::Elsewhere(_) => self.unacknowledged.max(FAR),
        };
        Self { unacknowledged, ..self }
    }
}

/// Room for four questions a second apart.
const FAR: Duration = Duration::from_secs(5);
