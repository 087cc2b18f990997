//! How an upstream's traffic is split, in the figures that people ask for.

use serde::{Deserialize, Serialize};

use super::{Distance, Place, View};

/// How the traffic is split. Shares are of all of it, 0 to 1.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Split {
    /// Too few endpoints are in service anywhere.
    pub panic: bool,
    /// Nearest first, as far as they may be picked.
    pub tiers: Vec<TierSplit>,
    /// What the endpoint with the most takes.
    pub max_share: f64,
    /// What the zone with the most takes.
    pub max_zone_share: f64,
    /// What leaves the own zone; where that is not known, the region.
    pub spill: f64,
    /// What leaves the region.
    pub region_spill: f64,
    /// The largest load per unit of weight, in parts of the largest before.
    pub max_load: f64,
    /// What gets no endpoint: the answer is 503.
    pub unserved: f64,
    /// What goes to endpoints that are down; some of it is saved by a retry.
    pub to_dead: f64,
    #[serde(skip)]
    knows_zone: bool,
}

/// What a tier takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct TierSplit {
    /// `own zone`, `region`, or a region's name.
    pub tier: String,
    pub share: f64,
    /// Of its weight.
    pub in_service: f64,
}

impl Split {
    /// Nobody's share yet.
    pub(super) fn new(view: &View, place: &Place) -> Self {
        let tier = |tier: &super::TierView| TierSplit {
            tier: tier.distance.to_string(),
            share: rounded(tier.share),
            in_service: rounded(tier.in_service),
        };
        Self {
            panic: view.panic,
            tiers: view.tiers.iter().map(tier).collect(),
            unserved: 1.0,
            knows_zone: place.zone.is_some(),
            ..Self::default()
        }
    }

    /// Adds an endpoint's share.
    pub(super) fn add(&mut self, distance: &Distance, share: f64) {
        let leaves_region = matches!(distance, Distance::Elsewhere(_));
        let leaves_zone = if self.knows_zone { *distance != Distance::OwnZone } else { leaves_region };
        self.max_share = self.max_share.max(share);
        self.spill += if leaves_zone { share } else { 0.0 };
        self.region_spill += if leaves_region { share } else { 0.0 };
        self.unserved -= share;
    }

    /// Takes off what sums of fractions leave.
    pub(super) fn settle(mut self) -> Self {
        let figures = [
            &mut self.max_share,
            &mut self.max_zone_share,
            &mut self.spill,
            &mut self.region_spill,
            &mut self.max_load,
            &mut self.unserved,
            &mut self.to_dead,
        ];
        figures.into_iter().for_each(|figure| *figure = rounded(*figure));
        self
    }

    /// A figure by its name in an assertion; `panic` is 0 or 1.
    pub fn figure(&self, name: &str) -> Option<f64> {
        Some(match name {
            "max_share" => self.max_share,
            "max_zone_share" => self.max_zone_share,
            "spill" => self.spill,
            "region_spill" => self.region_spill,
            "panic" => f64::from(u8::from(self.panic)),
            "max_load" => self.max_load,
            "unserved" => self.unserved,
            "to_dead" => self.to_dead,
            _ => return None,
        })
    }

    /// What [`figure`](Self::figure) knows.
    pub const FIGURES: [&str; 8] =
        ["max_share", "max_zone_share", "spill", "region_spill", "panic", "max_load", "unserved", "to_dead"];
}

/// To a millionth, and never below nothing.
fn rounded(figure: f64) -> f64 {
    ((figure * 1e6).round() / 1e6).max(0.0)
}
