//! Tokens of identity providers, end to end: who gets in, who does not, and what becomes
//! of both when the provider is not well.

mod attacks;
mod faults;
mod places;
mod real;

use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, Origin, Request, Response, gateway::GatewayBuilder};

/// In front of `origin`, for who has a token of `issuer`; more keys of its `jwt`.
fn guarded(origin: &Origin, issuer: &Issuer, more: &str) -> GatewayBuilder {
    with_jwt(origin, &issuer.jwt(more))
}

fn with_jwt(origin: &Origin, jwt: &str) -> GatewayBuilder {
    Gateway::builder().origin("origin", origin).yaml(&format!(
        "authentication: [{{ name: idp, {jwt} }}]\n\
         routes: [{{ name: all, authenticate: [idp], to: [{{ upstream: origin }}] }}]"
    ))
}

fn bearing(token: &str) -> Request {
    Request::get("/orders").header("authorization", &format!("Bearer {token}"))
}

async fn send(gateway: &Gateway, token: &str) -> Response {
    gateway.send(&bearing(token)).await
}

/// How often this was said of requests.
async fn said(gateway: &Gateway, outcome: &str) -> f64 {
    let labels = [("authenticator", "idp"), ("outcome", outcome)];
    gateway.metric("tollgate_authentications_total", &labels).await
}

/// How often fetching the keys ended so.
async fn fetched(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("authenticator", "idp"), ("result", result)];
    gateway.metric("tollgate_key_set_fetches_total", &labels).await
}

#[tokio::test]
async fn who_has_a_good_token_gets_in_and_nobody_else() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "").start().await;

    let good = send(&gateway, &issuer.token(json!({}))).await;
    let none = gateway.get("/orders").await;
    let other = send(&gateway, &Issuer::start().await.token(json!({}))).await;
    let basic = gateway.send(&Request::get("/orders").header("authorization", "Basic YTpi")).await;

    assert_eq!((good.status, none.status, other.status, basic.status), (200, 401, 401, 401));
    assert_eq!(gateway.line_of(&good).await["consumer"], "alice");
    assert_eq!((said(&gateway, "vouched").await, said(&gateway, "foreign").await), (1.0, 1.0));
    assert_eq!(said(&gateway, "nothing").await, 2.0);
    assert_eq!(fetched(&gateway, "ok").await, 1.0);
    // Everyone was let in, or not, with the keys that were there before.
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(gateway.metric("tollgate_key_set_keys", &[("authenticator", "idp")]).await, 1.0);
}

#[tokio::test]
async fn required_scopes_and_claims_decide_too() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let terms = "scopes: [orders.read], require: [{ claim: token_use, one_of: [access] }]";
    let gateway = guarded(&origin, &issuer, terms).start().await;
    let status = async |claims: Value| send(&gateway, &issuer.token(claims)).await.status;

    assert_eq!(status(json!({ "scope": "x orders.read", "token_use": "access" })).await, 200);
    assert_eq!(status(json!({ "scope": "orders.read", "token_use": "id" })).await, 401);
    let poor = send(&gateway, &issuer.token(json!({ "scope": "orders", "token_use": "access" }))).await;
    assert_eq!(poor.status, 403);
    let challenge = poor.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"orders.read\""), "{challenge}");
    assert_eq!((said(&gateway, "scope").await, said(&gateway, "claim").await), (1.0, 1.0));
}

#[tokio::test]
async fn a_field_or_a_cookie_may_carry_it() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let token = issuer.token(json!({}));
    for (more, name, value) in [
        ("header: X-Access-Token", "x-access-token", token.clone()),
        ("cookie: session", "cookie", format!("a=b; session={token}; c=d")),
    ] {
        let gateway = guarded(&origin, &issuer, more).start().await;

        let good = gateway.send(&Request::get("/").header(name, &value)).await;
        let elsewhere = send(&gateway, &token).await;
        let twice = gateway.send(&Request::get("/").header(name, &value).header(name, &value)).await;

        assert_eq!((good.status, elsewhere.status, twice.status), (200, 401, 401), "{more}");
    }
}

#[tokio::test]
async fn a_reload_keeps_keys_and_takes_other_terms() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "").start().await;
    let token = issuer.token(json!({}));
    assert_eq!(send(&gateway, &token).await.status, 200);
    let with = |more: &str| {
        format!(
            "authentication: [{{ name: idp, {} }}]\n\
             routes: [{{ name: all, authenticate: [idp], to: [{{ upstream: origin }}] }}]",
            issuer.jwt(more)
        )
    };

    gateway.write_config(&with("scopes: [admin]"));
    let reloaded = gateway.reload().await;

    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert_ne!(send(&gateway, &token).await.status, 200);
    assert_eq!(send(&gateway, &issuer.token(json!({ "scope": "admin" }))).await.status, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn the_next_process_knows_the_keys_although_the_provider_is_down() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "").installed().start().await;
    let token = issuer.token(json!({}));
    drop(issuer);

    let upgraded = gateway.upgrade().await;

    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    gateway.first_ended().await;
    assert_eq!(send(&gateway, &token).await.status, 200);
}

#[tokio::test]
async fn numbers_that_a_reader_may_take_for_one_name_nobody() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "").start().await;
    let of = |subject: &str| {
        let claims = issuer.claims(json!({ "sub": "SUBJECT" })).to_string().replace("\"SUBJECT\"", subject);
        let header = json!({ "alg": "ES256", "kid": issuer.key().public.kid.as_str() }).to_string();
        issuer.key().compact(header.as_bytes(), claims.as_bytes()).unwrap()
    };

    for subject in ["7", "18446744073709551615", "-9223372036854775808"] {
        let answer = send(&gateway, &of(subject)).await;
        assert_eq!(gateway.line_of(&answer).await["consumer"], subject);
    }
    let refused = ["18446744073709551616", "18446744073709551617", "-9223372036854775809", "7.0", "7e0"];
    for (nth, subject) in refused.iter().enumerate() {
        assert_eq!(send(&gateway, &of(subject)).await.status, 401, "{subject}");
        assert_eq!(said(&gateway, "claim").await, (nth + 1) as f64, "{subject}");
    }
}
