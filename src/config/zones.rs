//! What should be looked at in the zones that are written: they decide how far an
//! endpoint is, and two ways to call one zone are two zones.

use std::{collections::HashSet, path::Path};

use super::{
    Config, Problems, Source,
    location::LocationSpec,
    types::Name,
    upstream::{EndpointSpec, UpstreamSpec},
};

/// Warns of zones that no gateway will ever be in.
pub(super) fn warn(config: &Config, problems: &mut Problems) {
    let written = Written::of(config);
    written.warn_of_location(problems);
    for upstream in &config.upstreams {
        let endpoints = upstream.source.key("endpoints");
        written.warn_of_addresses(&upstream.spec, &endpoints, problems);
        written.warn_of_endpoints(&upstream.spec.endpoints, &endpoints, problems);
        written.warn_of_distance(&upstream.spec, &endpoints, problems);
    }
}

/// As [`warn`], of the endpoints of a file.
pub(super) fn warn_of_file(
    config: &Config,
    path: &Path,
    endpoints: &[EndpointSpec],
    problems: &mut Problems,
) {
    Written::of(config).warn_of_endpoints(endpoints, &Source::file(path).key("endpoints"), problems);
}

struct Written<'c> {
    config: &'c Config,
    location: &'c LocationSpec,
    /// Something written, or the metadata service, tells a zone by its id.
    by_id: bool,
}

impl<'c> Written<'c> {
    fn of(config: &'c Config) -> Self {
        Self { config, location: &config.location, by_id: uses_ids(config) }
    }

    fn is_misnamed(&self, zone: &Name) -> bool {
        self.by_id && is_name(zone.as_str())
    }

    /// A name of a VPC endpoint with a zone in it should have that zone.
    fn warn_of_addresses(&self, upstream: &UpstreamSpec, list: &Source, problems: &mut Problems) {
        let unlabelled = upstream.endpoints.iter().enumerate().filter(|(_, e)| e.zone.is_none());
        for (index, endpoint) in unlabelled {
            let Some(name) = endpoint.address.zone_name() else { continue };
            if self.location.zone_of(name).is_none() {
                let text = format!(
                    "`{name}` is a zone's name, and its id is not known, so that its endpoints are in no zone; \
                     write `zone` here, or `location.zone_names`"
                );
                problems.warn(&list.entry(index).key("address"), text);
            }
        }
    }

    fn warn_of_location(&self, problems: &mut Problems) {
        let place = self.config.main.key("location");
        let own = self.location.zone.iter().map(|zone| (zone, place.key("zone")));
        let counted = self.location.gateways_per_zone.iter().enumerate();
        let counted = counted
            .map(|(index, entry)| (&entry.zone, place.key("gateways_per_zone").entry(index).key("zone")));
        self.warn_of_names(own.chain(counted), problems);
    }

    fn warn_of_endpoints(&self, endpoints: &[EndpointSpec], list: &Source, problems: &mut Problems) {
        let zones = endpoints.iter().enumerate();
        let zones =
            zones.filter_map(|(index, entry)| Some((entry.zone.as_ref()?, list.entry(index).key("zone"))));
        self.warn_of_names(zones, problems);
    }

    /// Each name once.
    fn warn_of_names<'a>(&self, zones: impl Iterator<Item = (&'a Name, Source)>, problems: &mut Problems) {
        let mut seen = HashSet::new();
        for (zone, source) in zones.filter(|(zone, _)| self.is_misnamed(zone)) {
            if !seen.insert(zone) {
                continue;
            }
            let id = match self.location.zone_of(zone.as_str()) {
                Some(id) => format!("`{id}`"),
                None => "its id, as `use1-az1` (`aws ec2 describe-availability-zones` tells it)".to_owned(),
            };
            let text = format!(
                "`{zone}` is a zone's name, and elsewhere zones are told by their ids, so that nothing is near \
                 it; write {id}: names differ between accounts"
            );
            problems.warn(&source, text);
        }
    }

    /// Where endpoints spread over zones and none is the gateway's, one of them is misspelt.
    fn warn_of_distance(&self, upstream: &UpstreamSpec, list: &Source, problems: &mut Problems) {
        let own = self.location.zone.as_ref().filter(|_| !self.location.asks_imds());
        let Some(own) = own.filter(|_| upstream.endpoints_file.is_none()) else { return };
        let is_here = |entry: &&EndpointSpec| entry.region.is_none() || entry.region == self.location.region;
        let here: Vec<_> =
            upstream.endpoints.iter().filter(is_here).map(|entry| entry.zone.as_ref()).collect();
        let zones: HashSet<&Name> = here.iter().flatten().copied().collect();
        let is_whole = here.iter().all(Option::is_some);
        let is_told = zones.iter().any(|zone| self.is_misnamed(zone)) || self.is_misnamed(own);
        if is_whole && zones.len() > 1 && !zones.contains(own) && !is_told {
            let text = format!(
                "no endpoint is in `{own}`, the gateway's zone by `location.zone`, so that none is nearer than \
                 another; compare the two, or add an endpoint there"
            );
            problems.warn(list, text);
        }
    }
}

/// Whether anything written, or the metadata service, tells a zone by its id.
fn uses_ids(config: &Config) -> bool {
    let location = &config.location;
    let counted = location.gateways_per_zone.iter().map(|entry| &entry.zone);
    let named = location.zone_names.iter().map(|entry| &entry.zone);
    let endpoints = config.upstreams.iter().flat_map(|upstream| &upstream.spec.endpoints);
    let endpoints = endpoints.filter_map(|entry| entry.zone.as_ref());
    let mut zones = location.zone.iter().chain(counted).chain(named).chain(endpoints);
    location.asks_imds() || zones.any(|zone| is_id(zone.as_str()))
}

/// As `use1-az1`, and `usw2-lax1-az1` of a local zone.
fn is_id(zone: &str) -> bool {
    zone.rsplit_once("-az").is_some_and(|(region, number)| !region.is_empty() && is_number(number))
}

/// As `us-east-1a`, and `us-west-2-lax-1a` of a local zone.
fn is_name(zone: &str) -> bool {
    let mut parts = zone.split('-');
    let is_country = parts.next().is_some_and(|part| part.len() == 2 && is_word(part));
    let last = parts.next_back().and_then(|part| part.strip_suffix(|c: char| c.is_ascii_lowercase()));
    let between: Vec<_> = parts.collect();
    is_country
        && last.is_some_and(is_number)
        && between.first().is_some_and(|part| is_word(part))
        && between.iter().all(|part| is_word(part) || is_number(part))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_of_zones_are_told_apart() {
        for name in ["us-east-1a", "eu-central-1b", "us-gov-west-1c", "us-west-2-lax-1a"] {
            assert!(is_name(name) && !is_id(name), "{name}");
        }
        for id in ["use1-az1", "euc1-az12", "usw2-lax1-az1"] {
            assert!(is_id(id) && !is_name(id), "{id}");
        }
        for other in ["imds", "a", "rack-1", "us-east-1", "dc-1a", "use1-az", "-az1", "1a"] {
            assert!(!is_id(other) && !is_name(other), "{other}");
        }
    }
}
