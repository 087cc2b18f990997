//! What a request takes of a rate, by its method and its route.
//!
//! Owns which entry of `costs` holds. Routes are known by their index here, so that
//! a look costs no comparison of names.

use std::collections::HashMap;

use http::Method;

use crate::config::{limit::CostSpec, types::Name};

/// What requests take of a limit.
pub(super) struct Costs(Box<[Entry]>);

struct Entry {
    /// Empty: any.
    methods: Box<[Method]>,
    /// By index, in their order; `None`: any.
    routes: Option<Box<[usize]>>,
    cost: u32,
}

/// Where each route is.
pub(super) type RouteIndexes<'a> = HashMap<&'a Name, usize>;

impl Costs {
    /// As they are written. A route that is not there never asks.
    pub(super) fn new(specs: &[CostSpec], routes: &RouteIndexes<'_>) -> Self {
        let entry = |spec: &CostSpec| {
            let mut indexes: Vec<_> =
                spec.routes.iter().filter_map(|name| routes.get(name).copied()).collect();
            indexes.sort_unstable();
            Entry {
                methods: spec.methods.iter().map(|name| name.method().clone()).collect(),
                routes: (!spec.routes.is_empty()).then(|| indexes.into()),
                cost: spec.cost,
            }
        };
        Self(specs.iter().map(entry).collect())
    }

    /// What a request with this method on this route takes: what the first entry
    /// says that holds for both, else 1.
    pub(super) fn of(&self, method: &Method, route: usize) -> u32 {
        self.0.iter().find(|entry| entry.holds_for(method, route)).map_or(1, |entry| entry.cost)
    }
}

impl Entry {
    fn holds_for(&self, method: &Method, route: usize) -> bool {
        let on_route = || self.routes.as_ref().is_none_or(|routes| routes.binary_search(&route).is_ok());
        (self.methods.is_empty() || self.methods.contains(method)) && on_route()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(text: &str) -> Costs {
        let specs: Vec<CostSpec> = serde_yaml::from_str(text).unwrap();
        let names: Vec<Name> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let routes = names.iter().enumerate().map(|(index, name)| (name, index)).collect();
        Costs::new(&specs, &routes)
    }

    #[test]
    fn a_cost_is_that_of_the_first_entry_that_holds_or_one() {
        let costs = costs(
            "[{ routes: [c, a], methods: [POST, PUT], cost: 9 }, { methods: [POST], cost: 5 }, { routes: [a], cost: 0 }]",
        );

        assert_eq!([0, 1, 2].map(|route| costs.of(&Method::POST, route)), [9, 5, 9]);
        assert_eq!([0, 1, 2].map(|route| costs.of(&Method::PUT, route)), [9, 1, 9]);
        assert_eq!([0, 1, 2].map(|route| costs.of(&Method::GET, route)), [0, 1, 1]);
    }

    #[test]
    fn an_entry_whose_routes_are_not_there_holds_for_none() {
        assert_eq!(costs("[{ routes: [none], cost: 5 }]").of(&Method::GET, 0), 1);
    }
}
