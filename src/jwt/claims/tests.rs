//! What tokens say, read back by a JSON parser.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jwt::testing::{NOON, facts, spec, start};

fn payload(more: &str, facts: &Facts<'_>) -> Value {
    let claims = Claims::new(&spec(more).spec);
    let (mut identity, mut out) = (Vec::new(), Vec::new());
    claims.push_identity(facts, &mut identity);
    let expires = claims.push_payload(&identity, facts, start(), &mut out);
    let payload: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(payload["exp"], expires);
    payload
}

/// Without what is different in every token.
fn said(more: &str, facts: &Facts<'_>) -> Value {
    let mut payload = payload(more, facts);
    for name in ["iat", "nbf", "exp", "jti"] {
        payload.as_object_mut().unwrap().remove(name);
    }
    payload
}

#[test]
fn a_native_token_says_who_for_whom_and_when() {
    let payload = payload("ttl: 45s", &facts());

    let jti = payload["jti"].as_str().unwrap().to_owned();
    assert_eq!(base64url::decode(jti.as_bytes()).unwrap().len(), 16);
    assert_eq!(
        payload,
        json!({
            "iss": "https://gw.test", "aud": "orders", "sub": "anonymous", "jti": jti,
            "iat": NOON - LEEWAY, "nbf": NOON - LEEWAY, "exp": NOON + 45,
        })
    );
}

#[test]
fn every_claim_that_is_known_is_said_and_no_other() {
    let list = "claims: [tenant, vpce, consumer, client_ip, zone, route, scope, client_certificate, { token: groups }, { token: gone }]";
    let token = json!({ "groups": ["a", { "b": 1 }], "secret": 1 });
    let known = Facts {
        tenant: Some("billing"),
        vpc_endpoint: Some("vpce-1"),
        consumer: Some(Consumer { id: "7", name: "alice" }),
        zone: Some("use1-az1"),
        scope: Some("read write"),
        certificate: Some([0xff; 32]),
        token: token.as_object(),
        client: "::ffff:192.0.2.7".parse().unwrap(),
        ..facts()
    };

    assert_eq!(
        said(list, &known),
        json!({
            "iss": "https://gw.test", "aud": "orders", "sub": "7", "tenant": "billing", "vpce": "vpce-1",
            "consumer": "alice", "client_ip": "192.0.2.7", "zone": "use1-az1", "route": "orders-route",
            "scope": "read write", "cnf": { "x5t#S256": "__________________________________________8" },
            "groups": ["a", { "b": 1 }],
        })
    );
    assert_eq!(
        said(list, &facts()),
        json!({
            "iss": "https://gw.test", "aud": "orders", "sub": "anonymous",
            "client_ip": "192.0.2.1", "route": "orders-route",
        })
    );
}

#[test]
fn an_audience_that_is_written_is_said_instead_of_the_upstream() {
    assert_eq!(said("audience: api", &facts())["aud"], "api");
}

#[test]
fn no_two_subjects_are_written_alike() {
    let of = |consumer: Option<&'static str>, tenant, vpc_endpoint| {
        let consumer = consumer.map(|id| Consumer { id, name: id });
        said("", &Facts { consumer, tenant, vpc_endpoint, ..facts() })["sub"].as_str().unwrap().to_owned()
    };

    assert_eq!(of(Some("alice"), Some("billing"), None), "alice");
    assert_eq!(of(None, Some("billing"), Some("vpce-1")), "tenant:billing");
    assert_eq!(of(None, None, Some("vpce-1")), "vpce:vpce-1");
    assert_eq!(of(None, None, None), "anonymous");
    assert_eq!(of(Some("tenant:billing"), None, None), "consumer:tenant:billing");
    assert_eq!(of(Some("consumer:tenant:billing"), None, None), "consumer:consumer:tenant:billing");
    assert_eq!(of(Some("anonymous"), None, None), "consumer:anonymous");
    assert_eq!(of(Some("auth0|7:x"), None, None), "auth0|7:x");
}

#[test]
fn a_bound_token_says_what_request_it_is_for() {
    let query = b"a=1&b=%20";
    let request = Target { query: Some(query), ..facts().request };
    let facts = Facts { request, body: Some(sha256(b"hello")), ..facts() };

    let said = said("bind: [method, path, query, body]", &facts);

    assert_eq!(said["htm"], "POST");
    assert_eq!(said["htu"], "/orders/7");
    assert_eq!(said["qh"], base64url::encode(&sha256(query)));
    assert_eq!(said["bh"], "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ");
}

#[test]
fn with_the_host_the_whole_url_is_bound() {
    assert_eq!(said("bind: [host, path]", &facts())["htu"], "http://a.test/orders/7");
}

#[test]
fn a_body_of_which_nobody_knows_the_hash_is_said_to_be_unsigned() {
    assert_eq!(said("bind: [body]", &facts())["bh"], "UNSIGNED");
    assert_eq!(said("profile: kong_upstream_jwt", &facts())["payloadhash"], "UNSIGNED");
}

#[test]
fn the_plugins_profile_says_exactly_what_the_plugin_does() {
    let consumer = Some(Consumer { id: "7", name: "alice" });
    let facts = Facts { consumer, body: Some(sha256(b"hello")), ..facts() };

    let payload = payload("profile: kong_upstream_jwt", &facts);

    let jti = payload["jti"].as_str().unwrap().to_owned();
    assert_eq!(jti.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(jti.as_bytes()[14] == b'4' && b"89ab".contains(&jti.as_bytes()[19]), "{jti}");
    assert_eq!(
        payload,
        json!({
            "iss": "https://gw.test", "aud": "orders", "iat": NOON - LEEWAY, "exp": NOON + 60, "jti": jti,
            "consumerid": "7", "consumername": "alice",
            "payloadhash": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        })
    );
}

#[test]
fn the_plugins_profile_says_nothing_of_nobody_and_of_no_body() {
    let said = said("profile: kong_upstream_jwt", &Facts { body: Some(sha256(b"")), ..facts() });

    assert_eq!(said, json!({ "iss": "https://gw.test", "aud": "orders", "payloadhash": "" }));
}

#[test]
fn no_token_has_the_id_of_another() {
    let ids = (0..100).map(|_| payload("", &facts())["jti"].to_string());

    assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), 100);
}

proptest! {
    #[test]
    fn whatever_a_client_causes_is_said_as_it_is(text in "\\PC*[\\x00-\\x7f]*", scope in ".*", method in "[ -~]{0,9}") {
        let consumer = Some(Consumer { id: &text, name: &text });
        let request = Target { method: &method, host: &text, ..facts().request };
        let facts = Facts { consumer, scope: Some(&scope), request, ..facts() };

        let said = said("claims: [consumer, scope], bind: [method, path, host]", &facts);

        prop_assert_eq!(&said["consumer"], &text);
        prop_assert_eq!(&said["scope"], &scope);
        prop_assert_eq!(&said["htm"], &method);
        prop_assert_eq!(&said["htu"], &format!("http://{text}/orders/7"));
        prop_assert_eq!(said.as_object().unwrap().len(), 7);
    }

    #[test]
    fn paths_of_any_bytes_are_ascii_and_come_back(path in proptest::collection::vec(any::<u8>(), 0..60)) {
        // What is escaped already is not to be told from what is escaped here.
        let path: Vec<u8> = path.into_iter().filter(|byte| *byte != b'%').collect();
        let facts = Facts { request: Target { path: &path, ..facts().request }, ..facts() };

        let said = said("bind: [path]", &facts);

        let htu = said["htu"].as_str().unwrap();
        prop_assert!(htu.bytes().all(|byte| byte.is_ascii_graphic()));
        let mut bytes = Vec::new();
        let mut rest = htu.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            if *first == b'%' {
                let digits = std::str::from_utf8(&after[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            } else {
                bytes.push(*first);
                rest = after;
            }
        }
        prop_assert_eq!(bytes, path);
    }
}
