//! Of what is wrong between routes: what is told, and what is not.

use serde_json::{Value, json};

use crate::route::testing::problems;

fn route(name: &str, matches: Value) -> Value {
    json!({ "name": name, "respond": { "status": 200 }, "match": matches })
}

fn told(matches: &[Value]) -> String {
    let names = ["a", "b", "c", "d"];
    let routes: Vec<_> = names.iter().zip(matches).map(|(name, m)| route(name, m.clone())).collect();
    problems(routes.into())
}

#[test]
fn a_name_given_twice_names_both_places() {
    let told = problems(json!([route("a", json!({ "path": "/1" })), route("a", json!({ "path": "/2" }))]));

    assert_eq!(
        told,
        "error: t.yaml: routes[1].name: `a` is also the name of t.yaml: routes[0]; rename one\n"
    );
}

#[test]
fn the_same_claim_twice_names_both_places() {
    let told = told(&[
        json!({ "hosts": ["x.y", "API.a.b"], "paths": ["/q", "/o"] }),
        json!({ "hosts": ["api.a.b"], "path": { "prefix": "/o/" } }),
    ]);

    let wanted = "error: t.yaml: routes[1].match: host api.a.b, prefix /o: route `a` (t.yaml: routes[0]) claims the same";
    assert!(told.starts_with(wanted), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn every_kind_of_claim_can_be_made_twice() {
    let get = json!({ "methods": ["GET", "POST"], "headers": [{ "name": "x" }], "query": [{ "name": "q", "value": "1" }] });
    let got = json!({ "methods": ["POST", "GET", "HEAD"], "headers": [{ "name": "X" }], "query": [{ "name": "q", "value": "1" }] });

    for path in
        [json!({ "exact": "/x" }), json!({ "prefix": "/x" }), json!({ "pattern": "^/x" }), Value::Null]
    {
        let with = |matches: &Value| {
            let mut matches = matches.clone();
            matches["path"] = path.clone();
            matches
        };

        assert!(told(&[with(&get), with(&got)]).contains("claims the same"), "{path}");
        assert_eq!(told(&[with(&get), with(&json!({}))]), "", "{path}");
        assert_eq!(told(&[with(&get), with(&json!({ "methods": ["GET"] }))]), "", "{path}");
    }
}

#[test]
fn different_hosts_kinds_and_tests_are_no_conflict() {
    assert_eq!(
        told(&[json!({ "hosts": ["a.b"], "path": "/x" }), json!({ "hosts": ["*.b"], "path": "/x" })]),
        ""
    );
    assert_eq!(told(&[json!({ "path": { "exact": "/x" } }), json!({ "path": "/x" })]), "");
    assert_eq!(
        told(&[
            json!({ "headers": [{ "name": "x" }] }),
            json!({ "headers": [{ "name": "x", "value": "1" }] })
        ]),
        ""
    );
    assert_eq!(told(&[json!({ "methods": ["PUT"] }), json!({ "methods": ["POST"] })]), "");
    assert_eq!(told(&[json!({ "paths": ["/x", "/x/"] })]), "");
}

#[test]
fn a_method_that_only_names_decide_is_pointed_out() {
    let both = told(&[json!({ "methods": ["GET", "PUT"] }), json!({ "methods": ["POST", "GET"] })]);
    let narrower_first = told(&[json!({ "methods": ["GET"] }), json!({ "methods": ["POST", "GET"] })]);
    let own_head = told(&[json!({ "methods": ["HEAD"] }), json!({ "methods": ["GET"] })]);

    assert!(both.starts_with("warning: t.yaml: routes[1].match: any host, any path: route `a`"), "{both}");
    assert!(both.contains("takes GET too"), "{both}");
    assert!(narrower_first.contains("takes GET too"), "{narrower_first}");
    assert_eq!(own_head, "");
}

#[test]
fn tenants_tell_routes_apart_and_only_a_shared_one_is_pointed_out() {
    let tenants = |tenants: Value, methods: Value| json!({ "tenants": tenants, "methods": methods });
    let (none, alpha, both) = (json!([]), json!(["alpha"]), json!(["beta", "alpha"]));

    assert_eq!(told(&[tenants(alpha.clone(), none.clone()), tenants(json!(["beta"]), none.clone())]), "");
    assert_eq!(told(&[tenants(alpha.clone(), none.clone()), json!({})]), "");
    assert_eq!(told(&[tenants(alpha.clone(), none.clone()), json!({ "methods": ["GET"] })]), "");
    assert_eq!(told(&[tenants(both.clone(), json!(["GET"])), tenants(alpha.clone(), none.clone())]), "");
    let twice = told(&[tenants(both.clone(), none.clone()), tenants(json!(["alpha", "beta"]), none.clone())]);
    assert!(twice.contains("claims the same; change one, or let tenants,"), "{twice}");
    let shared = told(&[tenants(alpha.clone(), none.clone()), tenants(both.clone(), none.clone())]);
    assert!(shared.starts_with("warning: ") && shared.contains("takes tenant `alpha` too"), "{shared}");
    let method = told(&[tenants(alpha.clone(), json!(["GET"])), tenants(both, json!(["PUT", "GET"]))]);
    assert!(method.contains("takes GET of tenant `alpha` too"), "{method}");
    let never = told(&[tenants(json!(["alpha", "beta"]), none.clone()), tenants(alpha, none)]);
    assert!(never.contains("routes[1].match: it never matches: route `a`"), "{never}");
}

#[test]
fn fewer_methods_under_a_later_name_never_match() {
    let told = told(&[json!({ "methods": ["GET", "PUT"] }), json!({ "methods": ["HEAD", "GET"] })]);

    let wanted = "warning: t.yaml: routes[1].match: it never matches: route `a` (t.yaml: routes[0]) takes all of it first";
    assert!(told.starts_with(wanted), "{told}");
}

#[test]
fn a_pattern_behind_an_exact_path_or_a_prefix_never_matches() {
    let pattern = |pattern: &str| json!({ "path": { "pattern": pattern } });
    let exact = json!({ "path": { "exact": "/x" } });
    let prefix = json!({ "path": "/orders" });

    for (above, below, by) in [
        (&exact, pattern("^/x$"), "path /x"),
        (&prefix, pattern("^/orders/[0-9]+$"), "prefix /orders"),
        (&prefix, pattern("^/orders$"), "prefix /orders"),
        (&prefix, json!({ "path": { "pattern": "^/orders/a" }, "methods": ["GET"] }), "prefix /orders"),
        (&json!({ "path": "/" }), pattern("x"), "prefix /"),
        (&json!({ "path": "/" }), json!({}), "prefix /"),
    ] {
        let told = told(&[above.clone(), below]);
        assert!(
            told.contains("it never matches: route `a` (t.yaml: routes[0]) takes all of it first"),
            "{told}"
        );
        assert!(told.contains(&format!("by any host, {by}\n")), "{told}");
    }
}

#[test]
fn a_pattern_that_can_match_is_not_reported() {
    let pattern = |pattern: &str| json!({ "path": { "pattern": pattern } });
    let prefix = json!({ "path": "/orders" });

    for (above, below) in [
        (&prefix, pattern("^/orders")),
        (&prefix, pattern("^/orders-old/")),
        (&prefix, pattern("^/orders/|^/x")),
        (&prefix, pattern("/orders/")),
        (&json!({ "path": { "exact": "/x" } }), pattern("^/x")),
        (&json!({ "path": "/orders", "methods": ["GET"] }), pattern("^/orders/")),
        (&json!({ "path": "/orders", "hosts": ["a.b"] }), pattern("^/orders/")),
        (&json!({ "path": { "exact": "/" } }), json!({})),
    ] {
        assert_eq!(told(&[above.clone(), below]), "");
    }
}

#[test]
fn a_path_is_reported_when_it_never_wins_under_any_of_its_hosts() {
    let above = |hosts: Value| json!({ "path": "/", "hosts": hosts });
    let below = json!({ "hosts": ["a.b", "c.d"], "paths": ["/x", { "pattern": "^/y" }] });

    let half = told(&[above(json!(["a.b"])), below.clone()]);
    let all = told(&[above(json!(["a.b", "c.d"])), below]);

    assert_eq!(half, "");
    assert!(all.starts_with("warning: t.yaml: routes[1].match.paths[1]: it never matches"), "{all}");
}
