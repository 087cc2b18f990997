//! The public keys, as verifiers fetch them.

use super::{jwks, pem, signing};
use crate::support::{Gateway, Origin, Request};
use tollgate::config::signer::Algorithm;

const ROUTES: &str = "routes: [{ name: all, sign: default, to: [{ upstream: origin }] }, { name: keys, match: { path: { exact: /.well-known/jwks.json } }, jwks: true }]";

#[tokio::test]
async fn the_keys_are_told_on_the_admin_listener_and_where_a_route_asks() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "").yaml_more(ROUTES).start().await;

    let public = gateway.get("/.well-known/jwks.json").await;
    let private = jwks(&gateway, &Request::get("/.well-known/jwks.json")).await;
    let short = jwks(&gateway, &Request::get("/jwks.json")).await;
    let socket = gateway.admin("GET", "/jwks.json").await;

    for answer in [&public, &private, &short, &socket] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(answer.header("etag"), public.header("etag"));
        assert_eq!(answer.json()["keys"].as_array().unwrap().len(), 1);
        assert!(!answer.text().contains("\"d\""));
    }
}

#[tokio::test]
async fn who_has_them_already_gets_304_and_a_head_gets_the_header() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "").yaml_more(ROUTES).start().await;
    let path = "/.well-known/jwks.json";
    let first = gateway.get(path).await;
    let etag = first.header("etag").unwrap();

    for is_public in [true, false] {
        let ask = async |request: Request| match is_public {
            true => gateway.send(&request).await,
            false => jwks(&gateway, &request).await,
        };
        let same = ask(Request::get(path).header("If-None-Match", &format!("W/{etag}"))).await;
        let other = ask(Request::get(path).header("If-None-Match", "\"other\"")).await;
        let head = ask(Request::head(path)).await;
        let post = ask(Request::post(path, "x")).await;

        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(etag)));
        assert_eq!(other.status, 200);
        let length = first.body.len().to_string();
        assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some(&*length)));
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[tokio::test]
async fn a_new_key_is_told_before_it_signs_and_signs_once_every_verifier_has_it() {
    let origin = Origin::start().await;
    let verifiers = "verifiers: [{ name: orders, networks: [127.0.0.0/8] }]";
    let gateway = signing(&origin, verifiers).yaml_more(ROUTES).start().await;
    let kid = async || {
        let echo = gateway.get("/").await.echo();
        let token = super::only_token(&echo).to_owned();
        let header = tollgate::jwt::decode(token.split('.').next().unwrap().as_bytes()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&header).unwrap()["kid"].clone()
    };
    let old = kid().await;

    gateway.files.write_key("keys/b.pem", &pem(Algorithm::Es256));
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");

    assert_eq!(kid().await, old);
    assert_eq!(gateway.get("/.well-known/jwks.json").await.json()["keys"].as_array().unwrap().len(), 2);
    assert_ne!(kid().await, old);
}

#[tokio::test]
async fn a_route_that_tells_keys_wants_some() {
    let files = "listeners: [{ name: a, address: \"127.0.0.1:1\" }]\nroutes: [{ name: a, jwks: true }]\n";
    let told = Gateway::check(files).await;

    assert_eq!(told.code, Some(78));
    assert!(told.stderr.contains("routes[0].jwks: nobody signs"), "{told:?}");
}
