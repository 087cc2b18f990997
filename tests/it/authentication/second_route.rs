//! A route that is picked for who asks: what it asks for itself counts, and what was
//! presented to the route of everyone stays here.

use serde_json::json;

use super::{key, line};
use crate::support::{Gateway, Issuer, Origin, Request};

#[tokio::test]
async fn what_the_second_routes_own_ways_say_of_the_caller_counts() {
    let (origin, issuer, a) = (Origin::start().await, Issuer::start().await, key(1));
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .file("keys.yaml", &format!("keys:\n{}", line(&a, "partner-a", "")))
        .yaml(&format!(
            "authentication:
  - {{ name: partners, api_keys: {{ files: [keys.yaml] }} }}
  - {{ name: idp, {} }}
routes:
  - {{ name: all, to: [{{ upstream: origin }}], authenticate: [partners] }}
  - name: some
    match: {{ consumers: [partner-a] }}
    to: [{{ upstream: origin }}]
    authenticate: {{ all: [partners, idp] }}
    allow: {{ scopes: ['orders:read'] }}
    deny: {{ claims: [{{ name: suspended }}] }}
",
            issuer.jwt("")
        ))
        .start()
        .await;

    for (claims, status, rule) in [
        (json!({ "scope": "orders:read" }), 200, None),
        (json!({ "scope": "orders:write" }), 403, Some("allow.scopes")),
        (json!({ "scope": "orders:read", "suspended": true }), 403, Some("deny.claims")),
    ] {
        let token = format!("Bearer {}", issuer.token(claims.clone()));
        let request = Request::get("/").header("X-Api-Key", &a.key).header("authorization", &token);

        let answer = gateway.send(&request).await;

        let line = gateway.line_of(&answer).await;
        assert_eq!(
            (answer.status, line.get("rule").and_then(|rule| rule.as_str())),
            (status, rule),
            "{claims}"
        );
        assert_eq!((&line["route"], &line["consumer"]), (&json!("some"), &json!("partner-a")));
    }
}

#[tokio::test]
async fn what_was_presented_to_the_first_route_does_not_go_upstream_on_the_second() {
    let (origin, a) = (Origin::start().await, key(1));
    let gateway = super::with_keys(
        &origin,
        &line(&a, "partner-a", ""),
        "",
        "routes:
  - { name: all, to: [{ upstream: origin }], authenticate: [partners] }
  - { name: some, match: { consumers: [partner-a] }, to: [{ upstream: origin }], authenticate: anonymous }",
    )
    .start()
    .await;

    let answer = gateway.send(&Request::get("/").header("X-Api-Key", &a.key)).await;

    assert_eq!(gateway.line_of(&answer).await["route"], "some");
    assert_eq!(answer.echo().header("x-api-key"), None);
}
