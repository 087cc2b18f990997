//! What a split does with a request, told: for people, not for the data path.
//!
//! Asks the functions that [`Split::choose`] asks, and decides nothing itself.

use super::{
    Facts, Split, UpstreamIndex,
    split::{Key, Preferred},
    sticky::Sticky,
};

/// What a split does with one request.
#[derive(Debug)]
pub struct Choice {
    /// The upstreams that are drawn from, each with its weight; never empty.
    pub weights: Vec<(UpstreamIndex, u64)>,
    /// The overrides in their order: what they look for, where they lead, and
    /// whether the request has it.
    pub overrides: Vec<(String, UpstreamIndex, bool)>,
    /// What keeps a client on its side, and whether the request has it.
    pub sticky: Option<(String, bool)>,
    /// Where it goes whatever is drawn; `None` is to one of `weights`.
    pub decided: Option<UpstreamIndex>,
}

impl Split {
    /// What it does with this request, and by what.
    pub fn explain(&self, facts: &Facts<'_>) -> Choice {
        let weights = self.weights();
        let preference = self.preference.as_deref();
        let decided = match preference.and_then(|preference| preference.of(facts)) {
            Some(Preferred::Upstream(upstream)) => Some(upstream),
            Some(Preferred::Draw(hash)) => Some(self.by_weight(hash)),
            None if self.shares.is_empty() => Some(self.last),
            None => None,
        };
        let overrides = preference.into_iter().flat_map(|preference| &preference.overrides);
        let overrides = overrides.map(|o| {
            let value = o.value.as_bytes().escape_ascii();
            let sought = match &o.key {
                Key::Header(name) => format!("header {name}: {value}"),
                Key::Cookie(name) => format!("cookie {name}={value}"),
            };
            (sought, o.upstream, o.applies(facts))
        });
        let sticky = preference.and_then(|preference| preference.sticky.as_ref());
        let sticky = sticky.map(|sticky| (sticky.told(), sticky.hash(facts).is_some()));
        Choice { weights, overrides: overrides.collect(), sticky, decided }
    }

    fn weights(&self) -> Vec<(UpstreamIndex, u64)> {
        let mut before = 0;
        let shares = self.shares.iter().map(|share| (share.upstream, share.until));
        let until = shares.chain([(self.last, self.total)]);
        until.map(|(upstream, until)| (upstream, until - std::mem::replace(&mut before, until))).collect()
    }
}

impl Sticky {
    /// What it looks at.
    fn told(&self) -> String {
        match self {
            Self::Header(name) => format!("header {name}"),
            Self::Cookie(name) => format!("cookie {name}"),
            Self::ClientAddress => "client address".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::{
        Action, Router,
        testing::{Request, router},
    };

    fn split(more: serde_json::Value) -> Router {
        let mut route = json!({ "name": "a", "to": [
            { "upstream": "orders", "weight": 95 },
            { "upstream": "billing", "weight": 0 },
            { "upstream": "orders-canary", "weight": 5 }
        ] });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        router(json!([route]))
    }

    fn with<T>(router: &Router, request: &Request, ask: impl Fn(&Split, &Facts<'_>) -> T) -> T {
        let found = router.find(&request.facts()).unwrap();
        let Action::Forward(split) = &found.route.action else { panic!("{:?}", found.route.action) };
        ask(split, &request.facts())
    }

    #[test]
    fn weights_are_as_written_without_those_of_zero() {
        let told = with(&split(json!({})), &Request::get("h", "/"), Split::explain);

        assert_eq!(told.weights, [(UpstreamIndex(0), 95), (UpstreamIndex(1), 5)]);
        assert_eq!((told.decided, told.overrides.len(), told.sticky), (None, 0, None));
    }

    #[test]
    fn what_is_decided_is_what_every_draw_gets() {
        let router = split(json!({
            "sticky": { "cookie": "id" },
            "overrides": [{ "header": "x-canary", "value": "1", "upstream": "billing" }]
        }));
        let requests = (0..50).map(|n| Request::get("h", "/").header("cookie", &format!("id={n}")));
        let requests: Vec<_> = requests.chain([Request::get("h", "/").header("x-canary", "1")]).collect();

        for request in &requests {
            let told = with(&router, request, Split::explain);
            for draw in [0, u64::MAX / 2, u64::MAX] {
                let chosen = with(&router, request, |split, facts| split.choose(facts, draw));
                assert_eq!(told.decided, Some(chosen), "{told:?}");
            }
        }
        let told = with(&router, &requests[50], Split::explain);
        assert_eq!(told.overrides, [("header x-canary: 1".to_owned(), UpstreamIndex(2), true)]);
        assert_eq!(told.sticky, Some(("cookie id".to_owned(), false)));
        assert_eq!(told.decided, Some(UpstreamIndex(2)));
    }

    #[test]
    fn without_the_key_nothing_is_decided() {
        let router = split(json!({ "sticky": { "header": "x-user" } }));

        let told = with(&router, &Request::get("h", "/"), Split::explain);

        assert_eq!((told.decided, told.sticky), (None, Some(("header x-user".to_owned(), false))));
    }
}
