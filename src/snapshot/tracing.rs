//! Which requests are recorded, and how that is sent.

use std::sync::Arc;

use crate::{
    config::Config,
    telemetry::spans::{Origin, Sampler, SpanSettings},
    upstream::Place,
};

/// What is recorded of requests.
#[derive(Debug)]
pub struct Tracing {
    /// Which requests.
    pub sampler: Sampler,
    /// Where it goes.
    pub settings: Arc<SpanSettings>,
}

/// As configured, for a gateway in this place; `None` where nothing is recorded.
pub(super) fn build(config: &Config, place: &Place) -> Option<Arc<Tracing>> {
    let otlp = config.tracing.otlp.as_ref()?;
    let origin = Origin {
        zone: place.zone.as_deref(),
        zone_name: place.zone_name.as_deref(),
        region: place.region.as_deref(),
    };
    let settings = Arc::new(SpanSettings::new(otlp, origin));
    Some(Arc::new(Tracing { sampler: Sampler::new(&config.tracing.sampling), settings }))
}
