//! Changes to the header of a request or a response.
//!
//! Owns which fields a route may touch: not those that belong to the gateway or
//! to the connection. Does not apply them: the gateway does, first `remove`,
//! then `set`, then `add`.

use http::{HeaderName, HeaderValue};

use super::build::Site;
use crate::config::{
    route::{FieldSpec, HeaderEditsSpec},
    types::FieldName,
};

/// Header fields that go, that get a value, and that come beside what is there.
#[derive(Debug, Default)]
pub struct HeaderEdits(Option<Box<Lists>>);

#[derive(Debug)]
struct Lists {
    remove: Box<[HeaderName]>,
    set: Box<[Field]>,
    add: Box<[Field]>,
}

type Field = (HeaderName, HeaderValue);

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// These fields go; first of all.
    pub fn remove(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flat_map(|lists| &lists.remove)
    }

    /// These fields get exactly this value, whatever was there.
    pub fn set(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().flat_map(|lists| &lists.set).map(|(name, value)| (name, value))
    }

    /// These lines come beside what is there; last of all.
    pub fn add(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().flat_map(|lists| &lists.add).map(|(name, value)| (name, value))
    }

    /// `key` is the section's; `None` when any of it is not allowed.
    pub(super) fn build(spec: &HeaderEditsSpec, key: &str, site: &mut Site<'_>) -> Option<Self> {
        if spec.remove.is_empty() && spec.set.is_empty() && spec.add.is_empty() {
            return Some(Self::default());
        }
        let removed = spec.remove.iter().enumerate().map(|(i, name)| (name, format!("{key}.remove[{i}]")));
        let set = names(&spec.set).map(|(i, name)| (name, format!("{key}.set[{i}].name")));
        let added = names(&spec.add).map(|(i, name)| (name, format!("{key}.add[{i}].name")));
        // Counted, since every one is to be looked at.
        let refused = removed.chain(set).chain(added).filter(|(name, at)| !may_edit(name, at, site)).count();
        let set_twice = refuse_set_twice(spec, key, site);
        let lists = Lists {
            remove: spec.remove.iter().map(|name| name.header().clone()).collect(),
            set: spec.set.iter().map(field).collect(),
            add: spec.add.iter().map(field).collect(),
        };
        (refused == 0 && !set_twice).then(|| Self(Some(Box::new(lists))))
    }
}

fn field(spec: &FieldSpec) -> Field {
    (spec.name.header().clone(), spec.value.value().clone())
}

fn names(fields: &[FieldSpec]) -> impl Iterator<Item = (usize, &FieldName)> {
    fields.iter().map(|field| &field.name).enumerate()
}

fn may_edit(name: &FieldName, at: &str, site: &mut Site<'_>) -> bool {
    let name = name.header().as_str();
    let owner = OWNED.iter().find(|(owned, _)| name == *owned);
    owner.is_none_or(|(_, why)| site.error(at, format!("`{name}` {why}")))
}

fn refuse_set_twice(spec: &HeaderEditsSpec, key: &str, site: &mut Site<'_>) -> bool {
    let mut twice = false;
    for (i, field) in spec.set.iter().enumerate() {
        if spec.set.iter().take(i).any(|earlier| earlier.name == field.name) {
            let text = format!("`{}` is set twice; keep one, or `add` the other", field.name);
            twice |= !site.error(&format!("{key}.set[{i}].name"), text);
        }
    }
    twice
}

const CONNECTION: &str = "belongs to the connection, which the gateway keeps; remove this edit";
const GATEWAY: &str = "is written by the gateway; remove this edit";

/// Fields that no route may touch, and why.
const OWNED: [(&str, &str); 16] = [
    ("connection", CONNECTION),
    ("content-length", CONNECTION),
    ("forwarded", GATEWAY),
    ("host", "is the target of the request; write `rewrite.host`"),
    ("keep-alive", CONNECTION),
    ("proxy-connection", CONNECTION),
    ("te", CONNECTION),
    ("traceparent", GATEWAY),
    ("trailer", CONNECTION),
    ("transfer-encoding", CONNECTION),
    ("upgrade", CONNECTION),
    ("via", GATEWAY),
    ("x-forwarded-for", GATEWAY),
    ("x-forwarded-host", GATEWAY),
    ("x-forwarded-proto", GATEWAY),
    ("x-request-id", GATEWAY),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::testing::{problems, router};

    #[test]
    fn edits_are_told_in_their_order() {
        let router = router(json!([{
            "name": "a", "to": [{ "upstream": "orders" }],
            "request_headers": {
                "remove": ["X-Debug"],
                "set": [{ "name": "x-tier", "value": "gold" }],
                "add": [{ "name": "x-hop", "value": "1" }, { "name": "x-hop", "value": "2" }]
            }
        }]));

        let route = router.routes().next().unwrap();

        let edits = &route.request_headers;
        assert_eq!(edits.remove().collect::<Vec<_>>(), ["x-debug"]);
        assert_eq!(
            edits.set().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect::<Vec<_>>(),
            [("x-tier", "gold")]
        );
        assert_eq!(edits.add().map(|(_, v)| v.to_str().unwrap()).collect::<Vec<_>>(), ["1", "2"]);
        assert!(!edits.is_empty() && route.response_headers.is_empty());
    }

    #[test]
    fn fields_of_the_gateway_and_the_connection_cannot_be_edited() {
        for (name, _) in OWNED {
            let name = name.to_uppercase();
            let told = problems(json!([{
                "name": "a", "respond": { "status": 200 },
                "response_headers": {
                    "remove": [name], "set": [{ "name": name, "value": "1" }], "add": [{ "name": name, "value": "1" }]
                }
            }]));

            for key in ["remove[0]:", "set[0].name:", "add[0].name:"] {
                assert!(
                    told.contains(&format!("routes[0].response_headers.{key} `{}` ", name.to_lowercase())),
                    "{told}"
                );
            }
        }
    }

    #[test]
    fn a_field_is_set_once() {
        let set = json!({ "set": [{ "name": "x", "value": "1" }, { "name": "X", "value": "2" }] });

        let told =
            problems(json!([{ "name": "a", "to": [{ "upstream": "orders" }], "request_headers": set }]));

        assert!(told.contains("routes[0].request_headers.set[1].name: `x` is set twice"), "{told}");
    }
}
