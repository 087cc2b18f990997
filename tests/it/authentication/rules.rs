//! What follows from who was authenticated: rules, routes, limits and the signed token.

use serde_json::json;

use super::{key, line, with_keys};
use crate::support::{Gateway, Origin, Request};

fn with(key: &str) -> Request {
    Request::get("/").header("X-Api-Key", key)
}

#[tokio::test]
async fn a_403_says_which_rule_only_in_the_log() {
    let (origin, a, b) = (Origin::start().await, key(1), key(2));
    let lines = [line(&a, "partner-a", ", scopes: ['orders:read']"), line(&b, "partner-b", "")];
    let sections = "routes:
      - { name: scope, match: { path: /scope }, to: [{ upstream: origin }], authenticate: [partners], allow: { scopes: ['orders:read'] } }
      - { name: only, match: { path: /only }, to: [{ upstream: origin }], authenticate: [partners], allow: { consumers: [partner-a] } }
      - { name: but, match: { path: /but }, to: [{ upstream: origin }], authenticate: [partners], deny: { consumers: [partner-a] } }
      - { name: near, match: { path: /near }, to: [{ upstream: origin }], authenticate: [partners], allow: { networks: [10.0.0.0/8] } }
      - { name: far, match: { path: /far }, to: [{ upstream: origin }], authenticate: anonymous, deny: { networks: [127.0.0.0/8] } }";
    let gateway = with_keys(&origin, &lines.concat(), "", sections).start().await;
    let mut client = gateway.connect().await;

    for (path, of_a, of_b) in [
        ("/scope", None, Some("allow.scopes")),
        ("/only", None, Some("allow.consumers")),
        ("/but", Some("deny.consumers"), None),
        ("/near", Some("allow.networks"), Some("allow.networks")),
        ("/far", Some("deny.networks"), Some("deny.networks")),
    ] {
        for (key, rule) in [(&a, of_a), (&b, of_b)] {
            let answer = client.send(&Request::get(path).header("X-Api-Key", &key.key)).await;

            assert_eq!(answer.status, if rule.is_some() { 403 } else { 200 }, "{path}");
            let line = gateway.line_of(&answer).await;
            assert_eq!(line.get("rule").and_then(|rule| rule.as_str()), rule, "{line}");
            if rule.is_some() {
                assert_eq!(answer.flag(), "forbidden");
                let told = answer.text();
                assert!(
                    !told.contains("allow") && !told.contains("deny") && !told.contains("partner"),
                    "{told}"
                );
            }
        }
    }
    // Where somebody is, is asked before who they are.
    assert_eq!(
        (client.send(&Request::get("/near")).await.status, client.send(&Request::get("/only")).await.status),
        (403, 401)
    );
}

#[tokio::test]
async fn a_route_may_be_for_some_consumers_and_who_is_anonymous_gets_the_other() {
    let [stable, canary] = [Origin::named("stable").await, Origin::named("canary").await];
    let (a, b) = (key(1), key(2));
    let gateway = Gateway::builder()
        .origin("stable", &stable)
        .origin("canary", &canary)
        .file("keys.yaml", &format!("keys:\n{}{}", line(&a, "partner-a", ""), line(&b, "partner-b", "")))
        .yaml(
            "authentication: [{ name: partners, api_keys: { files: [keys.yaml] } }]
routes:
  - { name: all, to: [{ upstream: stable }], authenticate: { any: [partners, anonymous] } }
  - { name: some, match: { consumers: [partner-a] }, to: [{ upstream: canary }], authenticate: [partners] }
  - { name: alone, match: { path: /alone, consumers: [partner-a] }, to: [{ upstream: canary }], authenticate: [partners] }
",
        )
        .start()
        .await;
    let at = |path: &str, key: &str| Request::get(path).header("X-Api-Key", key);

    assert_eq!(gateway.send(&at("/", &a.key)).await.echo().origin(), "canary");
    assert_eq!(gateway.send(&at("/", &b.key)).await.echo().origin(), "stable");
    assert_eq!(gateway.get("/").await.echo().origin(), "stable");
    assert_eq!(gateway.send(&at("/", "bad")).await.status, 401, "who presents something has to be good");
    // Of two that take the path the longer one's rule stands, also for whom it does not take.
    assert_eq!(gateway.send(&at("/alone", &a.key)).await.echo().origin(), "canary");
    assert_eq!(gateway.send(&at("/alone", &b.key)).await.echo().origin(), "stable");
}

#[tokio::test]
async fn consumers_are_limited_apart_from_each_other_and_by_limits_of_their_own() {
    let (origin, a, b) = (Origin::start().await, key(1), key(2));
    let lines = [line(&a, "partner-a", ""), line(&b, "partner-b", ", limits: [bronze]")];
    let sections = "limits:
  - { name: each, key: [consumer], rate: 3/h, burst: 3 }
  - { name: bronze, key: [consumer], rate: 2/h, burst: 2 }
routes: [{ name: all, to: [{ upstream: origin }], authenticate: [partners], limits: [each] }]";
    let gateway = with_keys(&origin, &lines.concat(), "", sections).start().await;
    let mut client = gateway.connect().await;
    let mut statuses = async |key: &str| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(client.send(&with(key)).await.status);
        }
        statuses
    };

    assert_eq!(statuses(&a.key).await, [200, 200, 200, 429]);
    assert_eq!(statuses(&b.key).await, [200, 200, 429, 429]);
    let answer = client.send(&with(&b.key)).await;
    assert_eq!(gateway.line_of(&answer).await["limit"], "bronze");
    assert!(answer.header("ratelimit").unwrap().starts_with("\"bronze\";r=0"), "{answer:?}");
    assert!(answer.lines("ratelimit-policy").concat().contains("\"bronze\";q=2"), "{answer:?}");
}

#[tokio::test]
async fn guessing_is_limited_by_address_and_uses_up_nothing_of_others() {
    let (origin, a) = (Origin::start().await, key(1));
    let sections = "limits:
  - { name: address, key: [client_address], rate: 3/h, burst: 3 }
  - { name: together, rate: 2/h, burst: 2 }
routes: [{ name: all, to: [{ upstream: origin }], authenticate: [partners], limits: [address, together] }]";
    let gateway = with_keys(&origin, &line(&a, "partner-a", ""), "", sections).start().await;
    let mut client = gateway.connect().await;

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(client.send(&with("guess")).await.status);
    }

    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let admitted = [("limit", "together"), ("result", "admitted")];
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &admitted).await, 0.0);
}

#[tokio::test]
async fn the_upstream_reads_in_a_signed_token_who_asks() {
    let (origin, a) = (Origin::start().await, key(1));
    let signing_key =
        tollgate::jwt::SigningKey::generate(tollgate::config::signer::Algorithm::Es256).unwrap();
    let pem = String::from_utf8(signing_key.to_pem().unwrap()).unwrap();
    let sections =
        "signers: [{ name: default, issuer: https://gw.test, keys: keys, claims: [consumer, scope] }]
routes: [{ name: all, sign: default, to: [{ upstream: origin }], authenticate: [partners] }]";
    let lines = line(&a, "partner-a", ", scopes: ['orders:read', 'orders:write']");
    let gateway = with_keys(&origin, &lines, "", sections).key("keys/a.pem", &pem).start().await;

    let echo = gateway.send(&with(&a.key)).await.echo();

    let token = echo.header("jwt").unwrap().to_owned();
    let claims = tollgate::jwt::decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["consumer"], &claims["scope"]),
        (&json!("partner-a"), &json!("partner-a"), &json!("orders:read orders:write"))
    );
}

#[tokio::test]
async fn that_anybody_gets_in_has_to_be_written() {
    let yaml = "listeners: [{ name: web, address: '127.0.0.1:0' }]
authentication: [{ name: partners, api_keys: { files: [none.yaml] } }]
routes:
  - { name: silent, match: { path: /a }, respond: { status: 200 } }
  - { name: stranger, match: { path: /b }, respond: { status: 200 }, authenticate: [partner] }
  - { name: nobody, match: { path: /c }, respond: { status: 200 }, authenticate: anonymous, allow: { consumers: [a] } }
";

    let told = Gateway::check(yaml).await;

    assert_eq!(told.code, Some(78), "{told:?}");
    for wanted in [
        "routes[0]: nothing says who has to vouch for callers; write `authenticate: anonymous`",
        "routes[1].authenticate[0]: there is no authentication `partner`; did you mean `partners`?",
        "routes[2].allow.consumers: nobody vouches for callers of this route, and nobody would get in",
        "authentication[0].api_keys.files[0]: there is no `",
    ] {
        assert!(told.stderr.contains(wanted), "no {wanted} in {}", told.stderr);
    }
}
