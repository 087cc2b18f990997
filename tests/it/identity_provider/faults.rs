//! A provider that is not well.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::support::{
    PATIENCE, eventually,
    issuer::{Answer, key_set},
    port::Port,
};

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_found_later() {
    let (origin, port) = (Origin::start().await, Port::reserve());
    let name = format!("http://{}", port.address);
    let jwt = format!("jwt: {{ issuer: \"{name}\", jwks: \"{name}/jwks\", audience: [api] }}");

    let gateway = with_jwt(&origin, &jwt).start().await;

    // Nobody can tell, and that is not the client's fault.
    let unverified = Issuer::start().await.token(json!({ "iss": name }));
    assert_eq!(send(&gateway, &unverified).await.status, 503);
    assert_eq!(gateway.get("/").await.status, 401);
    assert!(fetched(&gateway, "unreachable").await >= 1.0);
    assert_eq!(gateway.metric("tollgate_key_set_stale", &[("authenticator", "idp")]).await, 1.0);
    assert!(gateway.stderr().contains("key set cannot be fetched"), "{}", gateway.stderr());
    let told = &gateway.status().await["key_sets"][0];
    assert_eq!((&told["state"], &told["last_error"]), (&json!("none"), &json!("unreachable")), "{told}");

    let issuer = Issuer::at(port.address, None).await;

    let token = issuer.token(json!({}));
    eventually(PATIENCE, || async { send(&gateway, &token).await.status == 200 }).await;
    assert_eq!(gateway.metric("tollgate_key_set_stale", &[("authenticator", "idp")]).await, 0.0);
    let table = gateway.ask(&["status"]).await.stdout;
    assert!(table.contains("KEY SET idp  1 keys  fresh  age "), "{table}");
}

#[tokio::test]
async fn whatever_else_it_answers_the_last_good_keys_serve_on() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let terms = "refresh_every: 1s, refetch_after: 1s, timeout: 500ms, serve_stale_for: 10m";
    let gateway = guarded(&origin, &issuer, terms).start().await;
    let token = issuer.token(json!({}));
    let key = issuer.key();
    let many = key_set(&vec![&*key; 2_000]);
    let thief = Issuer::start().await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", thief.jwks());
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>".to_owned();
    let huge = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(1 << 20));
    for (answer, word) in [
        (Answer::Say(html), "no_key_set"),
        (Answer::Body(many), "too_many_keys"),
        (Answer::Body(r#"{"keys":[]}"#.to_owned()), "no_key"),
        (Answer::Body(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#.to_owned()), "private_key"),
        (Answer::Say(redirect), "redirect"),
        (Answer::Say(huge), "too_large"),
        (Answer::Say("HTTP/1.1 500 Oops\r\n\r\n".to_owned()), "status"),
        (Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned()), "no_http"),
        (Answer::Nothing, "timeout"),
    ] {
        issuer.answer(answer);

        eventually(PATIENCE, || async { fetched(&gateway, word).await >= 1.0 }).await;

        assert_eq!(send(&gateway, &token).await.status, 200, "{word}");
        assert_eq!(gateway.metric("tollgate_key_set_stale", &[("authenticator", "idp")]).await, 1.0);
    }
    assert_eq!(thief.fetches(), 0, "a redirect was followed");
    // It is well again, with other keys.
    issuer.rotate();
    issuer.answer(Answer::Keys);
    let next = issuer.token(json!({}));
    eventually(PATIENCE, || async { send(&gateway, &next).await.status == 200 }).await;
    assert_eq!(send(&gateway, &token).await.status, 401);
}

#[tokio::test]
async fn keys_that_are_too_old_verify_nothing() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let terms = "refresh_every: 1s, serve_stale_for: 2s";
    let gateway = guarded(&origin, &issuer, terms).start().await;
    let token = issuer.token(json!({}));
    assert_eq!(send(&gateway, &token).await.status, 200);

    issuer.answer(Answer::Say("HTTP/1.1 500 Oops\r\n\r\n".to_owned()));

    eventually(PATIENCE, || async { send(&gateway, &token).await.status == 503 }).await;
    assert!(said(&gateway, "unavailable").await >= 1.0);
    issuer.answer(Answer::Keys);
    eventually(PATIENCE, || async { send(&gateway, &token).await.status == 200 }).await;
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_wait_for_it() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "refetch_after: 1s, timeout: 10s").start().await;
    assert_eq!(send(&gateway, &issuer.token(json!({}))).await.status, 200);
    issuer.rotate();
    issuer.answer(Answer::KeysLater);
    let token = issuer.token(json!({}));
    // Within the second after the first fetch nobody waits for another one.
    eventually(PATIENCE, || async {
        let asked = send_briefly(&gateway, &token).await;
        asked.is_none()
    })
    .await;

    let all = join_all((0..20).map(|_| send(&gateway, &token)));
    let (all, ()) = tokio::join!(all, async {
        eventually(PATIENCE, || async { issuer.fetches() == 2 }).await;
        issuer.let_through();
    });

    assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
    assert_eq!(issuer.fetches(), 2);
}

/// `None`: no answer within a moment, and who asked went away.
async fn send_briefly(gateway: &Gateway, token: &str) -> Option<Response> {
    tokio::time::timeout(Duration::from_millis(300), send(gateway, token)).await.ok()
}

#[tokio::test]
async fn made_up_keys_make_no_herd() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "refetch_after: 1h").start().await;
    let made_up =
        |n: usize| issuer.signed(&json!({ "alg": "ES256", "kid": n.to_string() }), &issuer.claims(json!({})));
    let tokens: Vec<_> = (0..100).map(made_up).collect();

    let answers = join_all(tokens.iter().map(|token| send(&gateway, token))).await;

    assert!(answers.iter().all(|answer| answer.status == 401), "{answers:?}");
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(said(&gateway, "unknown").await, 100.0);
    assert_eq!(send(&gateway, &issuer.token(json!({}))).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_a_start_for_seconds_and_requests_for_less() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    issuer.answer(Answer::Nothing);

    let gateway = guarded(&origin, &issuer, "timeout: 500ms").start().await;

    assert_eq!(send(&gateway, &issuer.token(json!({}))).await.status, 503);
    // Others do not wait for it.
    assert_eq!(gateway.get("/").await.status, 401);
}
