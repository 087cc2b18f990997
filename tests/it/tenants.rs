//! Who comes through which VPC endpoint: what the load balancer's PROXY header
//! says picks routes, opens and closes them, and stands in log and metrics; what
//! a client says of it counts for nothing.

use tollgate::config::signer::Algorithm;

use crate::signing::{claims_of, only_token, pem};
use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request,
    client::Ended,
    eventually,
    proxy_header::{nlb, v2},
};

#[tokio::test]
async fn two_tenants_get_different_routes_on_the_same_host_and_path() {
    let [shared, billing, search] =
        [Origin::named("shared").await, Origin::named("billing").await, Origin::named("search").await];
    let gateway = Gateway::builder()
        .origin("shared", &shared)
        .origin("billing", &billing)
        .origin("search", &search)
        .yaml(&with(
            "allow",
            r#"
            routes:
              - { name: open, match: { path: /x, methods: [GET] }, to: [{ upstream: shared }] }
              - { name: billing, match: { path: /x, tenants: [billing] }, to: [{ upstream: billing }] }
              - { name: search, match: { path: /x, tenants: [search] }, to: [{ upstream: search }] }
            "#,
        ))
        .start()
        .await;

    for (endpoint, origin, tenant) in [
        (Some(BILLING), "billing", Some("billing")),
        (Some(SEARCH), "search", Some("search")),
        (Some(SEARCH_TOO), "search", Some("search")),
        (Some(STRANGER), "shared", None),
        (None, "shared", None),
    ] {
        let answer = behind(&gateway, endpoint).await.send(&Request::get("/x")).await;

        assert_eq!(answer.echo().origin(), origin, "{endpoint:?}");
        let line = gateway.line_of(&answer).await;
        assert_eq!((line["tenant"].as_str(), line["vpc_endpoint"].as_str()), (tenant, endpoint), "{line}");
        assert_eq!((&line["client"], &line["peer"]), (&"10.0.0.5".into(), &"127.0.0.1".into()), "{line}");
    }
}

#[tokio::test]
async fn a_route_lets_in_and_keeps_out_whom_it_names() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .yaml(&with(
            "allow",
            r#"
            routes:
              - { name: only, match: { path: /only }, to: [{ upstream: origin }], allow: { tenants: [billing] } }
              - { name: but, match: { path: /but }, to: [{ upstream: origin }], deny: { tenants: [billing] } }
              - { name: all, to: [{ upstream: origin }] }
            "#,
        ))
        .start()
        .await;
    let callers = [Some(BILLING), Some(SEARCH), Some(STRANGER), None];

    for (path, statuses) in [("/only", [200, 403, 403, 403]), ("/but", [403, 200, 200, 200])] {
        for (endpoint, status) in callers.into_iter().zip(statuses) {
            let mut client = behind(&gateway, endpoint).await;
            let answer = client.send(&Request::post(path, "what a body")).await;

            assert_eq!(answer.status, status, "{path} {endpoint:?}");
            if status == 403 {
                assert_eq!(answer.flag(), "forbidden");
                let line = gateway.line_of(&answer).await;
                assert_eq!((&line["flag"], &line["attempts"]), (&"forbidden".into(), &0.into()), "{line}");
                assert_eq!(line["route"].as_str(), path.strip_prefix('/'), "{line}");
                // The connection goes on to where it may.
                assert_eq!(client.send(&Request::get("/")).await.status, 200);
            }
        }
    }

    let metrics = gateway.metrics().await;
    assert_eq!(metrics.metric("tollgate_rejections_total", &[("flag", "forbidden")]), 4.0);
    let refused = [("route", "only"), ("upstream", "-"), ("status", "4xx")];
    assert_eq!(metrics.metric("tollgate_requests_total", &refused), 3.0);
    let of = |tenant, status| {
        metrics.metric("tollgate_tenant_requests_total", &[("tenant", tenant), ("status", status)])
    };
    assert_eq!([of("billing", "2xx"), of("billing", "4xx")], [2.0, 1.0]);
    assert_eq!([of("search", "2xx"), of("search", "4xx")], [2.0, 1.0]);
    assert_eq!([of("unknown", "2xx"), of("unknown", "4xx")], [2.0, 1.0]);
    assert_eq!(metrics.metric("tollgate_tenant_requests_total", &[]), 9.0);
    assert_eq!(origin.requests().await, 8);
}

#[tokio::test]
async fn an_endpoint_of_no_tenant_is_refused_unless_told_otherwise() {
    let origin = Origin::start().await;
    let tenants_alone = format!("{TENANTS}\n{}", listeners(PROXY));
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&tenants_alone).start().await;

    // Where there is no route, too: it learns nothing of what there is.
    for path in ["/", "/nothing/here"] {
        let answer = behind(&gateway, Some(STRANGER)).await.send(&Request::get(path)).await;
        assert_eq!((answer.status, answer.flag().as_str()), (403, "unknown_endpoint"));
        let line = gateway.line_of(&answer).await;
        assert_eq!((&line["vpc_endpoint"], line.get("tenant")), (&STRANGER.into(), None), "{line}");
        assert_eq!((&line["flag"], line.get("route")), (&"unknown_endpoint".into(), None), "{line}");
    }
    assert_eq!(behind(&gateway, Some(BILLING)).await.send(&Request::get("/")).await.status, 200);
    // Through no endpoint is not through an unknown one.
    assert_eq!(behind(&gateway, None).await.send(&Request::get("/")).await.status, 200);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.metric("tollgate_rejections_total", &[("flag", "unknown_endpoint")]), 2.0);
    let unknown = [("tenant", "unknown"), ("status", "4xx")];
    assert_eq!(metrics.metric("tollgate_tenant_requests_total", &unknown), 2.0);
    assert_eq!(origin.requests().await, 2);

    gateway.write_config(&with("allow", ""));
    assert_eq!(
        gateway.reload().await.stdout,
        "changed: privatelink (unknown_endpoint)\nreloaded: generation 2 serves\n"
    );

    let answer = behind(&gateway, Some(STRANGER)).await.send(&Request::get("/")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.line_of(&answer).await["vpc_endpoint"], STRANGER);
}

#[tokio::test]
async fn without_tenants_an_endpoint_is_written_down_and_nothing_else() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&listeners(PROXY)).start().await;

    let answer = behind(&gateway, Some(BILLING)).await.send(&Request::get("/")).await;

    assert_eq!(answer.status, 200);
    let line = gateway.line_of(&answer).await;
    assert_eq!((&line["vpc_endpoint"], line.get("tenant")), (&BILLING.into(), None), "{line}");
    assert!(!gateway.metrics().await.has("tollgate_tenant_requests_total", &[]));
}

#[tokio::test]
async fn what_a_client_says_of_itself_names_no_tenant() {
    let origin = Origin::start().await;
    let routes = r#"
            forwarded: { trusted: [10.0.0.0/8] }
            routes:
              - { name: billing, match: { tenants: [billing] }, to: [{ upstream: origin }], rewrite: { host: billing } }
              - { name: only, match: { path: /only }, to: [{ upstream: origin }], allow: { tenants: [billing] } }
              - { name: open, to: [{ upstream: origin }] }
        "#;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&with("allow", routes)).start().await;
    let claims = |path: &str| {
        let claims = ["X-Tenant", "X-Amzn-Vpce-Id", "X-Vpc-Endpoint", "Vpce", "PROXY"];
        claims.iter().fold(Request::get(path), |request, name| {
            let value = if *name == "X-Tenant" { "billing" } else { BILLING };
            request.header(name, value)
        })
    };

    // 10.0.0.5 behind an endpoint is no proxy of ours: the forged fields of every
    // `Request` would reach the origin if it were.
    for endpoint in [Some(SEARCH), Some(STRANGER)] {
        let mut client = behind(&gateway, endpoint).await;
        let open = client.send(&claims("/")).await;
        assert_eq!(client.send(&claims("/only")).await.flag(), "forbidden");

        let line = gateway.line_of(&open).await;
        assert_eq!((&line["route"], &line["client"]), (&"open".into(), &"10.0.0.5".into()), "{line}");
        let seen = open.echo();
        assert_eq!(
            (seen.header("x-forwarded-for"), seen.host()),
            (Some("10.0.0.5"), Some("api.example.com"))
        );
        // Alone, for the fields that are removed are looked for together.
        let alone = Request::get("/").honest().header("X-Amzn-Vpce-Id", BILLING);
        assert_eq!(client.send(&alone).await.echo().lines("x-amzn-vpce-id"), [endpoint.unwrap()]);
    }
    // A second PROXY header is the client's own.
    let mut liar = behind(&gateway, Some(SEARCH)).await;
    liar.write([nlb(CLIENT, BILLING), Request::get("/").to_http1()].concat()).await.unwrap();
    assert!(matches!(liar.ended().await, Ended::Closed | Ended::Reset));
    assert_eq!(gateway.metric("tollgate_tenant_requests_total", &[("tenant", "billing")]).await, 0.0);
}

#[tokio::test]
async fn the_endpoint_goes_to_the_origin_and_nothing_goes_back() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&with("refuse", "")).start().await;

    let answer = behind(&gateway, Some(BILLING)).await.send(&Request::get("/")).await;

    assert_eq!(answer.echo().lines("x-amzn-vpce-id"), [BILLING]);
    let log = origin.log().await;
    assert!(log.iter().any(|line| line.to_string().contains(BILLING)), "{log:?}");
    // Its name is ours.
    assert!(!answer.echo().0.to_string().contains("billing"), "{answer:?}");
    let back = format!("{:?}", answer.headers).to_lowercase();
    assert!(!back.contains("billing") && !back.contains("vpce"), "{back}");
}

#[tokio::test]
async fn a_signed_token_names_tenant_and_endpoint() {
    let origin = Origin::start().await;
    let signer = "
            signers: [{ name: default, issuer: \"https://gw.test\", keys: keys, claims: [tenant, vpce, client_ip] }]
            routes: [{ name: all, sign: default, to: [{ upstream: origin }] }]
            ";
    let builder = Gateway::builder().origin("origin", &origin).key("keys/a.pem", &pem(Algorithm::Es256));
    let gateway = builder.yaml(&with("allow", signer)).start().await;

    for (endpoint, subject, tenant) in [
        (Some(BILLING), "tenant:billing", Some("billing")),
        (Some(STRANGER), "vpce:vpce-99999999999999999", None),
        (None, "anonymous", None),
    ] {
        let echo = behind(&gateway, endpoint).await.send(&Request::get("/")).await.echo();

        let claims = claims_of(&gateway, only_token(&echo)).await;
        let told = |name: &str| claims.get(name).and_then(|value| value.as_str());
        assert_eq!((told("sub"), told("tenant"), told("vpce")), (Some(subject), tenant, endpoint));
        assert_eq!(told("client_ip"), Some("10.0.0.5"));
    }
}

#[tokio::test]
async fn a_reload_moves_an_endpoint_for_the_next_request_of_an_open_connection() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&with("refuse", "")).start().await;
    let mut client = behind(&gateway, Some(STRANGER)).await;
    assert_eq!(client.send(&Request::get("/")).await.flag(), "unknown_endpoint");

    let added = TENANTS
        .replace("tenants:\n", &format!("tenants:\n  - {{ name: guest, vpc_endpoints: [{STRANGER}] }}\n"));
    gateway.write_config(&format!("{added}\n{}", listeners(PROXY)));
    assert_eq!(gateway.reload().await.stdout, "added: tenant guest\nreloaded: generation 2 serves\n");

    let known = client.send(&Request::get("/")).await;
    assert_eq!((known.status, &gateway.line_of(&known).await["tenant"]), (200, &"guest".into()));
    let guest = [("tenant", "guest"), ("status", "2xx")];
    assert_eq!(gateway.metric("tollgate_tenant_requests_total", &guest).await, 1.0);

    gateway.write_config(&format!("{TENANTS}\n{}", listeners(PROXY)));
    assert_eq!(gateway.reload().await.stdout, "removed: tenant guest\nreloaded: generation 3 serves\n");

    assert_eq!(client.send(&Request::get("/")).await.flag(), "unknown_endpoint");
    assert!(!gateway.metrics().await.has("tollgate_tenant_requests_total", &[("tenant", "guest")]));
}

#[tokio::test]
async fn a_request_under_way_is_of_the_tenant_that_it_began_with() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&with("refuse", "")).start().await;
    let mut client = behind(&gateway, Some(BILLING)).await;
    client.write(Request::get("/").script("delay=700ms").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 1 }).await;

    // The numbers of tenants change with it.
    let swapped = TENANTS.replace(BILLING, "swap").replace(SEARCH, BILLING).replace("swap", SEARCH);
    gateway.write_config(&format!("{swapped}\n{}", listeners(PROXY)));
    assert_eq!(gateway.reload().await.code, Some(0));
    let old = client.read_response().await.unwrap();
    let new = client.send(&Request::get("/")).await;

    assert_eq!(gateway.line_of(&old).await["tenant"], "billing");
    assert_eq!(gateway.line_of(&new).await["tenant"], "search");
}

#[tokio::test]
async fn one_address_behind_two_endpoints_is_two_clients() {
    let origin = Origin::start().await;
    let yaml = with("refuse", "connections: { max_per_client: 1 }\n");
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&yaml).start().await;
    let mut billing = behind(&gateway, Some(BILLING)).await;
    assert_eq!(billing.send(&Request::get("/")).await.status, 200);

    let mut search = behind(&gateway, Some(SEARCH)).await;
    let mut nobody = behind(&gateway, None).await;
    let mut again = behind(&gateway, Some(BILLING)).await;

    for client in [&mut search, &mut nobody, &mut billing] {
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
    }
    assert!(matches!(again.ended().await, Ended::Closed | Ended::Reset));
    let name = "tollgate_connections_ended_early_total";
    eventually(PATIENCE, || async { gateway.metric(name, &[("reason", "client_cap")]).await == 1.0 }).await;
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_through_all_of_its_endpoints() {
    let origin = Origin::start().await;
    let yaml = with("allow", "connections: { max_per_tenant: 2 }\n");
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&yaml).start().await;
    let mut held = Vec::new();
    for endpoint in [Some(SEARCH), Some(SEARCH_TOO), Some(STRANGER), Some(BILLING), None, None, None] {
        let mut client = behind(&gateway, endpoint).await;
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
        held.push(client);
    }

    let mut third = behind(&gateway, Some(SEARCH)).await;

    assert!(matches!(third.ended().await, Ended::Closed | Ended::Reset));
    let name = "tollgate_connections_ended_early_total";
    eventually(PATIENCE, || async { gateway.metric(name, &[("reason", "tenant_cap")]).await == 1.0 }).await;
    drop(held);
    eventually(PATIENCE, || async {
        let mut client = behind(&gateway, Some(SEARCH)).await;
        client.try_send(&Request::get("/")).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_tenants() {
    let yaml = format!(
        "{TENANTS}privatelink: {{ unknown_endpoint: refuse }}\n\
         routes:\n\
         \x20 - {{ name: a, match: {{ tenants: [biling] }}, respond: {{ status: 200 }} }}\n\
         \x20 - {{ name: b, match: {{ path: /b }}, respond: {{ status: 200 }}, allow: {{ tenants: [nobody] }} }}\n"
    );

    let told = Gateway::builder().yaml(&yaml).check(&[]).await;

    assert_eq!(told.code, Some(78), "{told:?}");
    for line in [
        "tollgate.yaml:6: routes[0].match.tenants[0]: there is no tenant `biling`; write `billing`",
        "tollgate.yaml:7: routes[1].allow.tenants[0]: there is no tenant `nobody`; known are",
    ] {
        assert!(told.stderr.contains(line), "no {line} in {}", told.stderr);
    }
    // A tenant that cannot be read is not unknown too.
    let broken = yaml.replace("name: billing", "name: b illing");
    let told = Gateway::builder().yaml(&broken).check(&[]).await;
    assert!(told.stderr.contains("tenants[0].name: `b illing` is not a name"), "{told:?}");
    assert!(!told.stderr.contains("there is no tenant"), "{told:?}");
    let printed = Gateway::builder().yaml(TENANTS).check(&["--print"]).await;
    assert!(printed.stdout.contains("  unknown_endpoint: refuse\n"), "{printed:?}");
}

/// A connection that the load balancer passed on, of 10.0.0.5 behind this endpoint.
async fn behind(gateway: &Gateway, endpoint: Option<&str>) -> Http1 {
    let mut client = Http1::open(gateway.plain).await;
    let header = endpoint.map_or_else(|| v2(CLIENT, &[]), |endpoint| nlb(CLIENT, endpoint));
    client.write(header).await.unwrap();
    client
}

/// Tenants, this policy for the others, a listener behind a load balancer, and more.
fn with(unknown: &str, more: &str) -> String {
    let more: String = more
        .lines()
        .map(|line| line.strip_prefix("            ").unwrap_or(line).to_owned() + "\n")
        .collect();
    format!("{TENANTS}\nprivatelink: {{ unknown_endpoint: {unknown} }}\n{}{more}", listeners(PROXY))
}

fn listeners(proxy: &str) -> String {
    format!("listeners:\n  - {{ name: plain, address: \"{{plain}}\", proxy_protocol: {proxy} }}\n")
}

const CLIENT: &str = "10.0.0.5:40000";
const PROXY: &str = "{ mode: required, trusted: [127.0.0.0/8] }";
const TENANTS: &str = "tenants:
  - { name: billing, vpc_endpoints: [vpce-0123456789abcdef0] }
  - { name: search, vpc_endpoints: [vpce-11111111111111111, vpce-0a1b2c3d] }
";
const BILLING: &str = "vpce-0123456789abcdef0";
const SEARCH: &str = "vpce-11111111111111111";
const SEARCH_TOO: &str = "vpce-0a1b2c3d";
const STRANGER: &str = "vpce-99999999999999999";
