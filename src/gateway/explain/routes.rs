//! What is told of the routes that a request could have taken.

use super::answer::{LoserTold, RouteTold, RoutingTold};
use crate::{
    config::tenant::TenantIndex,
    route::{Callers, Facts, Loser, RouteMatch, Unmet, Why},
    snapshot::Snapshot,
};

/// Which routes there are for a request, a screenful of each kind. The winner and the
/// facts are the decision's: who asks is part of them.
pub(super) fn told(snapshot: &Snapshot, winner: Option<RouteMatch<'_>>, facts: &Facts<'_>) -> RoutingTold {
    let contest = snapshot.router.explain(winner, facts);
    let winner = contest.winner.map(|winner| RouteTold {
        name: winner.route.name.to_string(),
        by: winner.to_string(),
        source: format!("{}: {}", winner.route.source.file.display(), winner.route.source.key),
    });
    // They matter most where nothing else is to be told.
    let most_near = if winner.is_some() { MOST_NEAR } else { 3 * MOST_NEAR };
    let name = winner.as_ref().map(|winner| winner.name.clone()).unwrap_or_default();
    let tell = |list: &[Loser<'_>], most: usize| -> Vec<LoserTold> {
        let one = |loser: &Loser<'_>| LoserTold {
            name: loser.route.name.to_string(),
            by: loser.to_string(),
            why: why(snapshot, facts, &loser.why, &name),
        };
        list.iter().take(most).map(one).collect()
    };
    RoutingTold {
        winner,
        losers: tell(&contest.losers, MOST_LOSERS),
        more_losers: contest.losers.len().saturating_sub(MOST_LOSERS),
        near: tell(&contest.near, most_near),
        more_near: contest.near.len().saturating_sub(most_near),
        hosts: contest.hosts,
    }
}

/// Callers, as a list of who they are.
pub(super) fn callers(snapshot: &Snapshot, callers: &Callers) -> Vec<String> {
    let vouching = callers.authenticators().iter().filter_map(|index| snapshot.authentication.get(*index));
    let vouching = vouching.map(|one| format!("vouched for by {}", one.name));
    tenants(snapshot, callers.tenants()).into_iter().chain(vouching).chain(callers.others()).collect()
}

/// What logs and metrics call them.
pub(super) fn tenants(snapshot: &Snapshot, tenants: &[TenantIndex]) -> Vec<String> {
    tenants.iter().filter_map(|tenant| snapshot.tenants.name(*tenant)).map(str::to_owned).collect()
}

fn why(snapshot: &Snapshot, facts: &Facts<'_>, why: &Why, winner: &str) -> String {
    match why {
        Why::Unmet(list) => list.iter().map(|one| unmet(snapshot, facts, one)).collect::<Vec<_>>().join("; "),
        Why::Host => "its host is less specific".to_owned(),
        Why::Path => "its path is less specific".to_owned(),
        Why::Conditions => format!("it asks for less than {winner}"),
        Why::Name => format!("it asks for as much as {winner}, whose name sorts first"),
        Why::OtherPath => "it is for another path".to_owned(),
        Why::OtherHost => "it is for another host".to_owned(),
    }
}

fn unmet(snapshot: &Snapshot, facts: &Facts<'_>, unmet: &Unmet) -> String {
    match unmet {
        Unmet::Tenant(list) => {
            let of = facts.tenant.and_then(|tenant| snapshot.tenants.name(tenant));
            let of = of.map_or("no tenant".to_owned(), |tenant| format!("tenant {tenant}"));
            format!("it is of {of}, not of [{}]", tenants(snapshot, list).join(", "))
        }
        Unmet::Consumer(list) => {
            let of = facts
                .consumer
                .map_or("nobody that is known".to_owned(), |one| format!("consumer {}", one.name));
            format!("it is of {of}, not of [{}]", list.join(", "))
        }
        Unmet::Method(list) => {
            let list: Vec<_> = list.iter().map(http::Method::as_str).collect();
            format!("method {} is not in [{}]", facts.method, list.join(", "))
        }
        Unmet::Header { name, how } => format!("header {name} {how}"),
        Unmet::Query { name, how } => format!("query {name} {how}"),
    }
}

const MOST_LOSERS: usize = 20;
const MOST_NEAR: usize = 3;
