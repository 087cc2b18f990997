//! How far an endpoint is: tiers by distance.
//!
//! Owns which tier an endpoint is in. That hangs on the configuration and on
//! where the gateway runs, never on who is alive.

use std::{fmt, sync::Arc};

use super::found::Resolved;

/// Where this gateway runs, as far as it is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The availability zone's id.
    pub zone: Option<Arc<str>>,
    /// What the zone is called in this account, as `us-east-1a`.
    pub zone_name: Option<Arc<str>>,
    /// The region.
    pub region: Option<Arc<str>>,
    /// How many gateways there are in each zone; empty when that is not known.
    pub gateways: Vec<(Arc<str>, u32)>,
    /// Zones that an operator took out: their endpoints are in no tier.
    pub drained: Vec<Arc<str>>,
}

impl Place {
    /// How far an endpoint is from here. Without a zone of our own every zone of
    /// the region is as near as the other.
    pub fn distance(&self, zone: Option<&str>, region: Option<&str>) -> Distance {
        match region {
            Some(other) if self.region.as_deref() != Some(other) => Distance::Elsewhere(other.into()),
            _ if zone.is_some() && zone == self.zone.as_deref() => Distance::OwnZone,
            _ => Distance::Region,
        }
    }

    /// Whether an operator took the zone out.
    pub fn is_drained(&self, zone: Option<&str>) -> bool {
        zone.is_some_and(|zone| self.drained.iter().any(|drained| **drained == *zone))
    }
}

impl Place {
    /// Whether an endpoint is known to be in another zone than the own one.
    pub(super) fn is_left_for(&self, endpoint: &Resolved) -> bool {
        match self.distance(endpoint.zone.as_deref(), endpoint.region.as_deref()) {
            Distance::OwnZone => false,
            Distance::Region => self.zone.is_some() && endpoint.zone.is_some(),
            Distance::Elsewhere(_) => self.zone.is_some(),
        }
    }
}

/// How far an endpoint is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Distance {
    /// In the gateway's own availability zone.
    OwnZone,
    /// In the region; its zone is another one or not known.
    Region,
    /// In another region.
    Elsewhere(Arc<str>),
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnZone => f.write_str("own zone"),
            Self::Region => f.write_str("region"),
            Self::Elsewhere(region) => f.write_str(region),
        }
    }
}

/// The endpoints at one distance that may be picked.
pub(super) struct Plan {
    pub(super) distance: Distance,
    /// Indexes into the upstream's endpoints; none has weight 0.
    pub(super) members: Vec<u32>,
    /// The sum of their weights; never 0.
    pub(super) weight: u64,
}

/// The tiers of an upstream, nearest first, without endpoints of weight 0 and of
/// drained zones; other regions in the order in which
/// they are written first. Empty tiers are left out.
pub(super) fn tiers(endpoints: &[Resolved], place: &Place) -> Vec<Plan> {
    let mut tiers: Vec<Plan> = [Distance::OwnZone, Distance::Region].map(Plan::empty).into();
    let may_serve = |e: &Resolved| e.weight > 0 && !place.is_drained(e.zone.as_deref());
    for (index, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| may_serve(endpoint)) {
        let distance = place.distance(endpoint.zone.as_deref(), endpoint.region.as_deref());
        let known = tiers.iter().position(|tier| tier.distance == distance);
        let at = known.unwrap_or_else(|| {
            tiers.push(Plan::empty(distance));
            tiers.len() - 1
        });
        if let (Some(tier), Ok(index)) = (tiers.get_mut(at), u32::try_from(index)) {
            tier.members.push(index);
            tier.weight += u64::from(endpoint.weight);
        }
    }
    tiers.retain(|tier| tier.weight > 0);
    tiers
}

impl Plan {
    fn empty(distance: Distance) -> Self {
        Self { distance, members: Vec::new(), weight: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(zone: &str, region: &str) -> Place {
        Place { zone: Some(zone.into()), region: Some(region.into()), ..Place::default() }
    }

    #[test]
    fn the_own_zone_is_nearest_and_other_regions_come_as_written() {
        let endpoint = |port: u16, zone: &str, region: &str| Resolved {
            address: ([10, 0, 0, 1], port).into(),
            zone: Some(zone.into()),
            region: Some(region.into()),
            weight: 1,
        };
        let endpoints = [
            endpoint(1, "z9", "west"),
            endpoint(2, "z2", "east"),
            endpoint(3, "z1", "east"),
            endpoint(4, "z7", "north"),
            endpoint(5, "z9", "west"),
        ];

        let tiers = tiers(&endpoints, &place("z1", "east"));

        let told: Vec<_> = tiers.iter().map(|t| (t.distance.to_string(), t.members.clone())).collect();
        let wanted = [("own zone", vec![2]), ("region", vec![1]), ("west", vec![0, 4]), ("north", vec![3])];
        assert_eq!(told, wanted.map(|(name, members)| (name.to_owned(), members)));
    }

    #[test]
    fn who_does_not_know_where_it_is_prefers_no_zone() {
        let nowhere = Place::default();

        assert_eq!(nowhere.distance(Some("z1"), None), Distance::Region);
        assert_eq!(nowhere.distance(None, None), Distance::Region);
        assert_eq!(place("z1", "east").distance(None, None), Distance::Region);
        assert_eq!(place("z1", "east").distance(Some("z1"), None), Distance::OwnZone);
    }
}
