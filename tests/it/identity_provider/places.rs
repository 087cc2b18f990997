//! Where keys come from: a URL over TLS, the issuer's own configuration, a file.

use serde_json::json;

use super::*;
use crate::support::{PATIENCE, certs, eventually, issuer::key_set};

#[tokio::test]
async fn https_is_verified_with_the_authorities_that_are_written() {
    let (origin, authority) = (Origin::start().await, certs::authority());
    let issuer = Issuer::https(&certs::server(&authority, &["localhost"])).await;
    let misnamed = Issuer::https(&certs::server(&authority, &["other.test"])).await;
    let ca = authority.pem().unwrap();

    let good = guarded(&origin, &issuer, "ca: ca.pem").file("ca.pem", &ca).start().await;
    let unknown = guarded(&origin, &issuer, "").start().await;
    let wrong_name = guarded(&origin, &misnamed, "ca: ca.pem").file("ca.pem", &ca).start().await;

    assert_eq!(send(&good, &issuer.token(json!({}))).await.status, 200);
    for (gateway, issuer) in [(&unknown, &issuer), (&wrong_name, &misnamed)] {
        assert_eq!(send(gateway, &issuer.token(json!({}))).await.status, 503);
        assert!(fetched(gateway, "tls").await >= 1.0);
    }
    assert_eq!((issuer.fetches(), misnamed.fetches()), (1, 0));
}

#[tokio::test]
async fn an_issuer_tells_where_its_keys_are() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let jwt = format!("jwt: {{ issuer: \"{}\", audience: [api] }}", issuer.name());
    let gateway = with_jwt(&origin, &jwt).start().await;
    // It says that it is another.
    let other = format!("http://localhost:{}", issuer.address.port());
    let jwt = format!("jwt: {{ issuer: \"{other}\", audience: [api] }}");
    let astray = with_jwt(&origin, &jwt).start().await;

    assert_eq!(send(&gateway, &issuer.token(json!({}))).await.status, 200);
    assert_eq!(send(&astray, &issuer.token(json!({ "iss": other }))).await.status, 503);
    assert!(fetched(&astray, "other_issuer").await >= 1.0);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (origin, issuer) = (Origin::start().await, Issuer::start().await);
    let jwt = format!("jwt: {{ issuer: \"{}\", audience: [api], jwks_file: keys.json }}", issuer.name());
    let keys = key_set(&[&issuer.key()]);
    let gateway = with_jwt(&origin, &jwt).file("keys.json", &keys).start().await;
    let token = issuer.token(json!({}));
    assert_eq!(send(&gateway, &token).await.status, 200);

    issuer.rotate();
    gateway.files.write("keys.json", &key_set(&[&issuer.key()]));

    let next = issuer.token(json!({}));
    eventually(PATIENCE, || async { send(&gateway, &next).await.status == 200 }).await;
    assert_eq!(send(&gateway, &token).await.status, 401);

    gateway.files.write("keys.json", "<html>");
    eventually(PATIENCE, || async { fetched(&gateway, "no_key_set").await >= 1.0 }).await;
    assert_eq!(send(&gateway, &next).await.status, 200);
    let refused = gateway.reload().await;
    assert!(refused.stderr.contains("is no key set; write a JSON object"), "{refused:?}");
    assert_eq!(issuer.fetches(), 0);
}
