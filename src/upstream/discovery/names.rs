//! From a name to the addresses that it stands for.
//!
//! Owns what of an answer is taken: both families, the lowest priority of a
//! service, no address where no endpoint may be, no more than the ceiling. In one
//! order always, so that an answer that is only shuffled is no change.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::future;

use super::{
    super::FoundSet,
    history::{Answer, Odd},
    resolver::{Family, Records, Resolver, Service},
    screen::Screen,
};
use crate::telemetry::metrics::LookupResult;

/// Looks names up.
pub(super) struct Names {
    pub(super) resolver: Resolver,
    pub(super) screen: Screen,
    /// So many addresses of a name are taken.
    pub(super) most: usize,
}

/// The families of which a source had addresses the last time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// Those of a set.
    pub(super) fn of(set: Option<&FoundSet>) -> Self {
        let addresses = set.map(FoundSet::addresses).unwrap_or_default();
        Self { v4: addresses.iter().any(SocketAddr::is_ipv4), v6: addresses.iter().any(SocketAddr::is_ipv6) }
    }
}

impl Names {
    /// What a host stands for.
    pub(super) async fn host(&self, host: &str, port: u16, had: Families) -> Result<Answer, LookupResult> {
        let Records { records, ttl } = self.addresses(host, had).await?;
        let found = records.into_iter().map(|ip| (SocketAddr::new(ip, port), 1));
        let (found, odd) = self.take(found.collect())?;
        Ok(Answer { set: FoundSet::Addresses(found.into_iter().map(|(at, _)| at).collect()), ttl, odd })
    }

    /// What a service stands for.
    pub(super) async fn service(&self, name: &str, had: Families) -> Result<Answer, LookupResult> {
        let Records { records, ttl } = self.resolver.services(name).await?;
        let services = nearest(records, self.most);
        let hosts = services.iter().map(|service| self.addresses(&service.host, had));
        let (mut found, mut ttl, mut why) = (Vec::new(), ttl, LookupResult::Empty);
        for (service, answer) in services.iter().zip(future::join_all(hosts).await) {
            match answer {
                Ok(answer) => {
                    ttl = ttl.min(answer.ttl);
                    let at = |ip| (SocketAddr::new(ip, service.port), service.weight.max(1));
                    found.extend(answer.records.into_iter().map(at));
                }
                // A host that is gone while its service still names it is one less.
                Err(gone) if says_none(gone) => why = gone,
                Err(failed) => return Err(failed),
            }
        }
        if found.is_empty() {
            return Err(why);
        }
        let (found, odd) = self.take(found)?;
        Ok(Answer { set: FoundSet::Weighted(found), ttl, odd })
    }

    async fn addresses(&self, host: &str, had: Families) -> Result<Records<IpAddr>, LookupResult> {
        let (v4, v6) = future::join(
            self.resolver.addresses(host, Family::V4),
            self.resolver.addresses(host, Family::V6),
        )
        .await;
        combine((v4, had.v4), (v6, had.v6))
    }

    /// What may be taken: in order, each once.
    fn take(&self, found: Vec<(SocketAddr, u16)>) -> Result<(Vec<(SocketAddr, u16)>, Odd), LookupResult> {
        let mut taken: BTreeMap<SocketAddr, u16> = BTreeMap::new();
        let mut odd = Odd::default();
        for (mut address, weight) in found {
            address.set_ip(address.ip().to_canonical());
            match self.screen.admits(address.ip()) {
                true => {
                    let sum = taken.entry(address).or_insert(0);
                    *sum = sum.saturating_add(weight);
                }
                false => odd.refused += 1,
            }
        }
        odd.cut = taken.len().saturating_sub(self.most);
        match taken.is_empty() {
            true => Err(LookupResult::RefusedAddress),
            false => Ok((taken.into_iter().take(self.most).collect(), odd)),
        }
    }
}

type Asked = Result<Records<IpAddr>, LookupResult>;

/// One answer of two families, each with whether there were addresses of it the
/// last time. A family whose look-up fails takes nothing away: then all of it
/// failed, unless nothing of that family was known.
fn combine((v4, had_v4): (Asked, bool), (v6, had_v6): (Asked, bool)) -> Asked {
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => {
            let ttl = v4.ttl.min(v6.ttl);
            Ok(Records { records: [v4.records, v6.records].concat(), ttl })
        }
        (Ok(one), Err(why)) => alone(one, why, had_v6),
        (Err(why), Ok(one)) => alone(one, why, had_v4),
        // That there is none is the weaker word: the other could not say.
        (Err(v4), Err(v6)) if !says_none(v4) || v6 == LookupResult::NoSuchName => Err(v4),
        (Err(_), Err(v6)) => Err(v6),
    }
}

fn alone(one: Records<IpAddr>, why: LookupResult, had_other: bool) -> Asked {
    match (says_none(why), had_other) {
        (true, _) => Ok(one),
        (false, true) => Err(why),
        (false, false) => Ok(Records { ttl: one.ttl.min(IN_PART), ..one }),
    }
}

/// Whether that is an answer, and says that there is nothing.
fn says_none(result: LookupResult) -> bool {
    matches!(result, LookupResult::NoSuchName | LookupResult::Empty)
}

/// Those of the lowest priority that can be connected to.
fn nearest(mut services: Vec<Service>, most: usize) -> Vec<Service> {
    services.retain(|service| !service.host.is_empty() && service.port != 0);
    let lowest = services.iter().map(|service| service.priority).min();
    services.retain(|service| Some(service.priority) == lowest);
    services.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
    services.truncate(most);
    services
}

/// What was found without one of the families is looked up again no later.
const IN_PART: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], ttl: u64) -> Asked {
        let records = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Records { records, ttl: Duration::from_secs(ttl) })
    }

    #[test]
    fn a_family_without_records_is_fine_and_one_that_fails_takes_nothing_away() {
        use LookupResult::{Empty, NoSuchName, ServerFailure, Timeout};
        let v4 = || found(&["10.0.0.1"], 60);

        assert_eq!(
            combine((v4(), true), (found(&["fd12::1"], 20), true)),
            found(&["10.0.0.1", "fd12::1"], 20)
        );
        assert_eq!(combine((v4(), true), (Err(Empty), true)), v4());
        assert_eq!(combine((Err(NoSuchName), true), (v4(), false)), v4());
        assert_eq!(combine((v4(), true), (Err(Timeout), true)), Err(Timeout));
        assert_eq!(combine((v4(), true), (Err(Timeout), false)), found(&["10.0.0.1"], 30));
        for (v4, v6, told) in [
            (Empty, NoSuchName, Empty),
            (NoSuchName, Empty, Empty),
            (NoSuchName, NoSuchName, NoSuchName),
            (Timeout, Empty, Timeout),
            (Empty, ServerFailure, ServerFailure),
        ] {
            assert_eq!(combine((Err(v4), true), (Err(v6), true)), Err(told), "{v4:?} {v6:?}");
        }
    }

    #[test]
    fn of_services_the_lowest_priority_counts() {
        let service =
            |priority, host: &str, port| Service { priority, weight: 0, port, host: host.to_owned() };
        let told = |services: Vec<Service>| -> Vec<_> {
            nearest(services, 2).into_iter().map(|service| (service.host, service.port)).collect()
        };

        let all = vec![
            service(20, "far", 1),
            service(10, "b", 2),
            service(10, "a", 3),
            service(5, "", 4),
            service(1, "x", 0),
        ];
        assert_eq!(told(all), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
        assert_eq!(told(vec![service(0, "", 0)]), []);
    }
}
