//! Tests of who wins: every rule of precedence, in every order of the file.

use serde_json::{Value, json};

use super::{
    Router,
    testing::{Request, router},
};

fn route(name: &str, matches: Value) -> Value {
    json!({ "name": name, "respond": { "status": 200 }, "match": matches })
}

/// A router of `(name, match)`, and the same with the list turned around.
fn both_orders(routes: &[(&str, Value)]) -> [Router; 2] {
    let mut routes: Vec<_> = routes.iter().map(|(name, matches)| route(name, matches.clone())).collect();
    let there = router(routes.clone().into());
    routes.reverse();
    [there, router(routes.into())]
}

fn winner<'r>(router: &'r Router, request: &Request) -> Option<&'r str> {
    router.find(&request.facts()).map(|found| &*found.route.name)
}

#[track_caller]
fn wins(routers: &[Router], request: &Request, wanted: &str) {
    for router in routers {
        assert_eq!(winner(router, request).unwrap_or("none"), wanted);
    }
}

#[test]
fn an_exact_host_wins_over_the_longest_wildcard_over_any() {
    let routers = both_orders(&[
        ("any", json!({ "path": { "exact": "/x" } })),
        ("short", json!({ "hosts": ["*.c"], "path": { "exact": "/x" } })),
        ("long", json!({ "hosts": ["*.b.c"], "path": "/x" })),
        ("exact", json!({ "hosts": ["a.b.c"] })),
    ]);

    for (host, wanted) in [
        ("a.b.c", "exact"),
        ("z.b.c", "long"),
        ("z.z.b.c", "long"),
        ("b.c", "short"),
        ("c", "any"),
        ("", "any"),
    ] {
        wins(&routers, &Request::get(host, "/x"), wanted);
    }
}

#[test]
fn a_wildcard_takes_one_label_or_more_but_not_none() {
    let routers =
        both_orders(&[("wild", json!({ "hosts": ["*.a.b"] })), ("bare", json!({ "hosts": ["a.b"] }))]);

    for (host, wanted) in [
        ("x.a.b", "wild"),
        ("x.y.a.b", "wild"),
        ("a.b", "bare"),
        ("xa.b", "none"),
        (".a.b", "none"),
        ("b", "none"),
    ] {
        wins(&routers, &Request::get(host, "/"), wanted);
    }
}

#[test]
fn wildcards_of_many_labels_are_found() {
    let deep = "x.".repeat(80) + "a";
    let routers = both_orders(&[
        ("deep", json!({ "hosts": [format!("*.{deep}")] })),
        ("shallow", json!({ "hosts": ["*.a"], "path": "/" })),
    ]);

    wins(&routers, &Request::get(&format!("y.{deep}"), "/"), "deep");
    wins(&routers, &Request::get(&deep, "/"), "shallow");
}

#[test]
fn an_exact_path_wins_over_the_longest_prefix_over_a_pattern_over_none() {
    let routers = both_orders(&[
        ("none-given", json!({})),
        ("pattern", json!({ "path": { "pattern": "^/a.*q" } })),
        ("longer-pattern", json!({ "path": { "pattern": "^/(z|a)b.*q" } })),
        ("short", json!({ "path": "/s" })),
        ("long", json!({ "path": "/s/t/" })),
        ("exact", json!({ "path": { "exact": "/s/t" } })),
    ]);

    for (path, wanted) in [
        ("/s/t", "exact"),
        ("/s/t/", "long"),
        ("/s/t/u/v", "long"),
        ("/s/tt", "short"),
        ("/s", "short"),
        ("/s/", "short"),
        ("/st", "none-given"),
        ("/abq", "longer-pattern"),
        ("/acq", "pattern"),
        ("/", "none-given"),
    ] {
        wins(&routers, &Request::get("h", path), wanted);
    }
}

#[test]
fn an_exact_path_is_that_path_alone_and_case_counts() {
    let routers = both_orders(&[
        ("x", json!({ "path": { "exact": "/x" } })),
        ("dir", json!({ "path": { "exact": "/d/" } })),
    ]);

    for (path, wanted) in
        [("/x", "x"), ("/x/", "none"), ("/X", "none"), ("/d/", "dir"), ("/d", "none"), ("/d/e", "none")]
    {
        wins(&routers, &Request::get("h", path), wanted);
    }
}

#[test]
fn the_root_prefix_takes_every_path() {
    let routers = both_orders(&[("root", json!({ "path": "/" })), ("deep", json!({ "path": "/a/b/c/d/e" }))]);

    for (path, wanted) in [
        ("/", "root"),
        ("/a", "root"),
        ("/a/b/c/d/e", "deep"),
        ("/a/b/c/d/e/f", "deep"),
        ("/a/b/c/d/", "root"),
    ] {
        wins(&routers, &Request::get("h", path), wanted);
    }
}

#[test]
fn tenants_then_methods_then_more_headers_then_more_parameters_then_the_name_win() {
    let header = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Value>();
    let routers = both_orders(&[
        ("a-open", json!({})),
        ("b-query", json!({ "query": header(&["p"]) })),
        ("c-queries", json!({ "query": header(&["p", "q"]) })),
        ("d-header", json!({ "headers": header(&["x"]) })),
        ("e-headers", json!({ "headers": header(&["x", "y"]) })),
        ("g-methods", json!({ "methods": ["POST"] })),
        ("h-tenant", json!({ "tenants": ["alpha"] })),
        ("i-tenant-methods", json!({ "tenants": ["beta", "alpha"], "methods": ["PUT"] })),
        ("f-other-header", json!({ "headers": header(&["y"]) })),
    ]);
    let request = || Request::get("h", "/");
    let all = || request().header("x", "1").header("y", "1").query("p=1&q=1");

    wins(&routers, &all().method("POST").tenant("alpha"), "h-tenant");
    wins(&routers, &all().method("PUT").tenant("alpha"), "i-tenant-methods");
    wins(&routers, &all().method("POST").tenant("beta"), "g-methods");
    wins(&routers, &all().method("POST"), "g-methods");
    wins(&routers, &all(), "e-headers");
    wins(&routers, &request().header("x", "1").query("p=1&q=1"), "d-header");
    wins(&routers, &request().query("p=1&q=1"), "c-queries");
    wins(&routers, &request().query("p=1"), "b-query");
    wins(&routers, &request().header("y", "1"), "f-other-header");
    wins(&routers, &request(), "a-open");
}

#[test]
fn among_equals_the_name_that_sorts_first_wins() {
    let header = |name: &str| json!({ "path": "/x", "headers": [{ "name": name }] });
    let routers = both_orders(&[("b", header("x-1")), ("a", header("x-2")), ("c", header("x-3"))]);

    wins(&routers, &Request::get("h", "/x").header("x-1", "").header("x-2", "").header("x-3", ""), "a");
    wins(&routers, &Request::get("h", "/x").header("x-1", "").header("x-3", ""), "b");
}

#[test]
fn what_the_best_host_or_path_does_not_take_falls_through() {
    let routers = both_orders(&[
        ("post-x", json!({ "hosts": ["a.b"], "path": { "exact": "/x" }, "methods": ["POST"] })),
        ("gold", json!({ "hosts": ["a.b"], "path": "/x", "headers": [{ "name": "tier", "value": "gold" }] })),
        ("other-path", json!({ "hosts": ["a.b"], "path": "/y" })),
        ("wild", json!({ "hosts": ["*.b"], "path": { "exact": "/x" }, "methods": ["PUT"] })),
        ("any", json!({ "methods": ["GET"] })),
    ]);
    let request = |method: &str| Request::get("a.b", "/x").method(method);

    wins(&routers, &request("POST"), "post-x");
    wins(&routers, &request("GET").header("tier", "gold"), "gold");
    wins(&routers, &request("PUT"), "wild");
    wins(&routers, &request("GET"), "any");
    wins(&routers, &request("HEAD"), "any");
    wins(&routers, &request("DELETE"), "none");
}

#[test]
fn each_tenant_gets_its_own_route_and_everyone_else_the_open_one() {
    let routers = both_orders(&[
        ("a-open", json!({ "path": "/x" })),
        ("b-alpha", json!({ "path": "/x", "tenants": ["alpha"] })),
        ("c-beta", json!({ "path": "/x", "tenants": ["beta"] })),
        ("d-exact", json!({ "path": { "exact": "/x/y" } })),
    ]);
    let request = |tenant| Request::get("h", "/x").tenant(tenant);

    wins(&routers, &request("alpha"), "b-alpha");
    wins(&routers, &request("beta"), "c-beta");
    wins(&routers, &request("none"), "a-open");
    // Host and path come before who asks.
    wins(&routers, &Request::get("h", "/x/y").tenant("alpha"), "d-exact");
}

#[test]
fn every_host_and_every_path_of_a_route_counts() {
    let routers = both_orders(&[
        (
            "many",
            json!({ "hosts": ["a", "*.b", "c"], "path": "/p", "paths": [{ "exact": "/q" }, { "pattern": "^/r+$" }] }),
        ),
        ("rest", json!({ "hosts": ["*"] })),
    ]);

    for host in ["a", "x.b", "c"] {
        for (path, wanted) in [("/p/1", "many"), ("/q", "many"), ("/rrr", "many"), ("/q/", "rest")] {
            wins(&routers, &Request::get(host, path), wanted);
        }
    }
    wins(&routers, &Request::get("d", "/p"), "rest");
}

#[test]
fn written_paths_are_canonical_like_those_of_requests() {
    let routers = both_orders(&[
        ("exact", json!({ "path": { "exact": "/%7euser/./a//b{}" } })),
        ("prefix", json!({ "path": "//p/%c3%a9/" })),
    ]);

    wins(&routers, &Request::get("h", "/~user/a/b%7B%7D"), "exact");
    wins(&routers, &Request::get("h", "/p/%C3%A9/x"), "prefix");
}

#[test]
fn a_match_says_why_it_won() {
    let router = router(json!([
        route("a", json!({ "hosts": ["*.b"], "path": "/p/" })),
        route("b", json!({ "path": { "pattern": "^/r+$" } })),
        route("c", json!({ "hosts": ["x.b"], "paths": [{ "exact": "/e" }, "/"] })),
        route("d", json!({})),
    ]));
    let why = |host, path| router.find(&Request::get(host, path).facts()).unwrap().to_string();

    assert_eq!(why("y.b", "/p/q"), "host *.b, prefix /p");
    assert_eq!(why("h", "/rr"), "any host, pattern ^/r+$");
    assert_eq!(why("x.b", "/e"), "host x.b, path /e");
    assert_eq!(why("x.b", "/f"), "host x.b, prefix /");
    assert_eq!(why("h", "/"), "any host, any path");
}

#[test]
fn routes_keep_the_order_and_place_of_the_file() {
    let router = router(json!([route("b", json!({ "path": "/b" })), route("a", json!({ "path": "/a" }))]));

    let told: Vec<_> =
        router.routes().map(|r| (&*r.name, r.index, r.source.key.as_str(), r.max_body)).collect();

    assert_eq!(told, [("b", 0, "routes[0]", 1000), ("a", 1, "routes[1]", 1000)]);
}

#[test]
fn a_router_without_routes_finds_nothing() {
    assert!(router(json!([])).find(&Request::get("h", "/").facts()).is_none());
}
