//! Per what limits count, what becomes of requests that lack it, and for whom they
//! do not hold.

use super::{decisions, is_refused, started, statuses};
use crate::support::{
    Gateway, Http1, Origin, Request,
    proxy_header::{nlb, v2},
};

#[tokio::test]
async fn each_value_of_a_key_part_has_a_limit_of_its_own() {
    let get = |target: &str| Request::get(target);
    let with = |name: &str, value: &str| get("/").header(name, value);
    for (part, one, same, other) in [
        ("{ header: x-plan }", with("x-plan", "a"), with("X-Plan", "a"), with("x-plan", "b")),
        (
            "{ header: x-plan }",
            with("x-plan", "ab"),
            with("x-plan", "ab"),
            with("x-plan", "a").header("x-plan", "b"),
        ),
        ("{ cookie: id }", with("cookie", "id=1; a=2"), with("cookie", "a=3; id=1"), with("cookie", "id=2")),
        ("{ query: key }", get("/?key=1"), get("/?a=2&key=1"), get("/?key=2")),
        ("method", get("/"), get("/"), Request::post("/", "")),
        ("route", get("/x"), get("/x"), get("/y/1")),
        ("path_template", get("/y/1"), get("/y/2"), get("/x")),
        ("path_template", get("/z/1"), get("/z/2"), get("/y/1")),
    ] {
        let yaml = format!(
            "limits: [{{ name: l, key: [{part}], rate: 1/h, burst: 1, global: true }}]
routes:
  - {{ name: x, match: {{ path: /x }}, to: [{{ upstream: origin }}] }}
  - {{ name: y, match: {{ path: /y/ }}, to: [{{ upstream: origin }}] }}
  - {{ name: z, match: {{ path: {{ pattern: \"^/z/[0-9]$\" }} }}, to: [{{ upstream: origin }}] }}
  - {{ name: rest, to: [{{ upstream: origin }}] }}"
        );
        let (_origin, gateway) = started(&yaml).await;

        let mut refused = Vec::new();
        for request in [&one, &same, &other] {
            refused.push(is_refused(&gateway.send(request).await));
        }

        assert_eq!(refused, [false, true, false], "{part}: {one:?}");
    }
}

#[tokio::test]
async fn a_client_is_its_address_behind_its_endpoint_and_a_tenant_all_of_its_endpoints() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(BEHIND).start().await;
    let (billing, billing_too, search) =
        (Some("vpce-0a1b2c3d"), Some("vpce-11111111"), Some("vpce-22222222"));

    for (target, asks) in [
        (
            "/client",
            vec![
                (HERE, None, false),
                ("10.0.0.5:50000", None, true),
                ("10.0.0.6:40000", None, false),
                (HERE, billing, false),
                (HERE, billing_too, false),
                (HERE, billing, true),
                ("[2001:db8::1]:1", None, false),
                ("[2001:db8::2]:1", None, true),
                ("[2001:db8:0:1::1]:1", None, false),
            ],
        ),
        (
            "/tenant",
            vec![
                (HERE, billing, false),
                ("10.0.0.6:1", billing_too, true),
                (HERE, search, false),
                (HERE, None, false),
                (HERE, None, false),
            ],
        ),
        (
            "/free",
            vec![
                (HERE, None, false),
                (HERE, None, false),
                (HERE, search, false),
                (HERE, search, false),
                // Behind an endpoint the numbers are somebody else's.
                (HERE, billing, false),
                (HERE, billing, true),
                ("192.0.2.1:1", None, false),
                ("192.0.2.1:1", None, true),
            ],
        ),
    ] {
        for (nth, (from, endpoint, refused)) in asks.into_iter().enumerate() {
            let mut client = Http1::open(gateway.plain).await;
            let header = endpoint.map_or_else(|| v2(from, &[]), |endpoint| nlb(from, endpoint));
            client.write(header).await.unwrap();
            let answer = client.send(&Request::get(target)).await;
            assert_eq!(is_refused(&answer), refused, "{target} {nth}: {from} {endpoint:?}");
        }
    }
    assert_eq!(decisions(&gateway, "free").await, [2.0, 2.0, 0.0, 0.0, 4.0]);
    assert_eq!(decisions(&gateway, "tenant").await, [2.0, 1.0, 0.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_request_without_the_key_goes_on_or_not_or_shares_as_is_written() {
    for (missing, expected) in
        [("allow", [200, 200, 200]), ("share", [200, 429, 429]), ("deny", [429, 429, 429])]
    {
        let limit = format!("name: l, key: [{{ header: x-plan }}], rate: 1/h, burst: 1, missing: {missing}");
        let (_origin, gateway) = started(&format!("limits: [{{ {limit}, global: true }}]")).await;

        assert_eq!(statuses(&gateway, &["/", "/", "/"]).await, expected, "{missing}");

        let empty = Request::get("/").header("x-plan", "");
        let answer = gateway.send(&empty).await;
        assert_eq!(answer.status, 200, "{missing}: an empty value is one");
        if missing == "deny" {
            let refused = gateway.get("/").await;
            assert_eq!((refused.flag().as_str(), refused.header("retry-after")), ("limit_key_missing", None));
            assert_eq!(decisions(&gateway, "l").await, [1.0, 0.0, 0.0, 4.0, 0.0]);
        }
    }
}

const BEHIND: &str = "listeners: [{ name: plain, address: \"{plain}\", proxy_protocol: { mode: required, trusted: [127.0.0.0/8] } }]
tenants: [{ name: billing, vpc_endpoints: [vpce-0a1b2c3d, vpce-11111111] }, { name: search, vpc_endpoints: [vpce-22222222] }]
limits:
  - { name: client, key: [client_address], rate: 1/h, burst: 1 }
  - { name: tenant, key: [tenant], rate: 1/h, burst: 1, missing: allow }
  - { name: free, key: [client_address], rate: 1/h, burst: 1, exempt: { networks: [10.0.0.0/8], tenants: [search] } }
routes:
  - { name: client, match: { path: /client }, limits: [client], to: [{ upstream: origin }] }
  - { name: tenant, match: { path: /tenant }, limits: [tenant], to: [{ upstream: origin }] }
  - { name: free, match: { path: /free }, limits: [free], to: [{ upstream: origin }] }";
const HERE: &str = "10.0.0.5:40000";
