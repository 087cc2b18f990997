//! API keys: who has one gets in as its consumer, and the key goes nowhere else.

use super::{key, line, with_keys};
use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, eventually, proxy_header::nlb};

const ROUTE: &str = "routes: [{ name: all, to: [{ upstream: origin }], authenticate: [partners] }]";

fn with(key: &str) -> Request {
    Request::get("/orders").header("X-Api-Key", key)
}

#[tokio::test]
async fn a_key_lets_its_consumer_in_and_goes_no_further() {
    let (origin, good) = (Origin::start().await, key(1));
    let gateway = with_keys(&origin, &line(&good, "partner-a", ""), "", ROUTE).start().await;

    let answer = gateway.send(&with(&good.key)).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.echo().header("x-api-key"), None, "the upstream has no use for it");
    let line = gateway.line_of(&answer).await;
    assert_eq!(
        (&line["consumer"], &line["authenticator"], line.get("credential")),
        (&"partner-a".into(), &"partners".into(), None),
        "{line}"
    );
    assert!(!line.to_string().contains(&good.key[8..]) && !gateway.stderr().contains(&good.key[8..]));
    let vouched = [("authenticator", "partners"), ("outcome", "vouched")];
    assert_eq!(gateway.metric("tollgate_authentications_total", &vouched).await, 1.0);
}

#[tokio::test]
async fn whoever_has_no_good_key_is_told_how_to_come_in_and_not_why_not() {
    let origin = Origin::start().await;
    let (good, gone, old, stranger) = (key(1), key(2), key(3), key(4));
    let lines = [
        line(&good, "partner-a", ""),
        line(&gone, "partner-b", ", revoked: true"),
        line(&old, "partner-c", ", expires: 2020-01-01"),
    ];
    let gateway = with_keys(&origin, &lines.concat(), "", ROUTE).start().await;
    let mut client = gateway.connect().await;

    for (request, word) in [
        (Request::get("/"), None),
        (with(&stranger.key), Some("unknown")),
        (with(&good.key[..40]), Some("malformed")),
        (with(&good.digest.to_string()), Some("unknown")),
        (with(&gone.key), Some("revoked")),
        (with(&old.key), Some("expired")),
        (with(&good.key).header("X-Api-Key", &good.key), Some("malformed")),
        (with(""), Some("malformed")),
    ] {
        let answer = client.send(&request).await;

        assert_eq!((answer.status, answer.flag().as_str()), (401, "unauthenticated"), "{word:?}");
        assert_eq!(answer.header("www-authenticate"), Some("ApiKey realm=\"api.example.com\""));
        let same = r#""detail":"Say who you are, with credentials that are good.""#;
        assert!(answer.text().contains(same), "{}", answer.text());
        let line = gateway.line_of(&answer).await;
        assert_eq!(line.get("credential").and_then(|word| word.as_str()), word, "{line}");
        assert_eq!((line.get("consumer"), &line["attempts"]), (None, &0.into()), "{line}");
    }

    assert_eq!(client.send(&with(&good.key)).await.status, 200, "the connection goes on");
    let metrics = gateway.metrics().await;
    for (outcome, count) in [
        ("nothing", 1.0),
        ("unknown", 2.0),
        ("malformed", 3.0),
        ("revoked", 1.0),
        ("expired", 1.0),
        ("vouched", 1.0),
    ] {
        let labels = [("authenticator", "partners"), ("outcome", outcome)];
        assert_eq!(metrics.metric("tollgate_authentications_total", &labels), count, "{outcome}");
    }
    assert_eq!(metrics.metric("tollgate_rejections_total", &[("flag", "unauthenticated")]), 8.0);
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn a_key_may_be_a_bearers_and_go_on_where_it_is_meant_to() {
    let (origin, good) = (Origin::start().await, key(1));
    let lines = line(&good, "partner-a", "");
    let gateway = with_keys(&origin, &lines, ", header: Authorization, forward: true", ROUTE).start().await;
    let with = |value: &str| Request::get("/").header("Authorization", value);

    let answer = gateway.send(&with(&format!("bearer {}", good.key))).await;
    assert_eq!(answer.status, 200);
    assert!(answer.echo().header("authorization").unwrap().ends_with(&good.key));
    for (value, challenge) in [
        ("Basic dTpw", "Bearer realm=\"api.example.com\", error=\"invalid_token\""),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer realm=\"api.example.com\", error=\"invalid_token\""),
        (&*good.key, "Bearer realm=\"api.example.com\", error=\"invalid_token\""),
    ] {
        let answer = gateway.send(&with(value)).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge)), "{value}");
    }
    let answer = gateway.get("/").await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api.example.com\""));
}

#[tokio::test]
async fn a_file_of_keys_is_taken_as_it_changes_and_a_broken_one_changes_nothing() {
    let (origin, old, new) = (Origin::start().await, key(1), key(2));
    let gateway = with_keys(&origin, &line(&old, "partner-a", ""), "", ROUTE).start().await;
    let mut client = gateway.connect().await;
    assert_eq!(client.send(&with(&old.key)).await.status, 200);

    gateway.files.write("keys.yaml", &format!("keys:\n{}", line(&new, "partner-a", "")));

    eventually(PATIENCE, async || gateway.send(&with(&new.key)).await.status == 200).await;
    // On the connection that was open, too.
    assert_eq!(client.send(&with(&old.key)).await.status, 401);
    assert!(gateway.stderr().contains("authentication read again: name=partners generation=1"));

    gateway.files.write("keys.yaml", &format!("keys:\n- {{ consumer: partner-a, sha256: {} }}\n", new.key));
    eventually(PATIENCE, async || {
        let status = gateway.status().await.to_string();
        status.contains("this is not the SHA-256 of a key")
    })
    .await;
    assert_eq!(client.send(&with(&new.key)).await.status, 200);
    assert!(!gateway.stderr().contains(&new.key[8..]));
    // A reload takes nothing beside a broken file of keys.
    gateway.write_config("routes: [{ name: hello, respond: { status: 200 } }]\nauthentication: [{ name: partners, api_keys: { files: [keys.yaml] } }]");
    let refused = gateway.reload().await;
    assert!(refused.code == Some(78) && refused.stderr.contains("keys.yaml"), "{refused:?}");
    assert_eq!(client.send(&with(&new.key)).await.status, 200);
}

#[tokio::test]
async fn a_key_brings_its_tenant_and_is_not_good_through_anothers_endpoint() {
    let (origin, billing) = (Origin::start().await, key(1));
    let sections = "tenants: [{ name: billing, vpc_endpoints: [vpce-0a1b2c3d] }, { name: search, vpc_endpoints: [vpce-11111111] }]\n\
         listeners: [{ name: plain, address: '{plain}', proxy_protocol: { mode: optional, trusted: [127.0.0.0/8] } }]\n\
         routes: [{ name: all, to: [{ upstream: origin }], authenticate: [partners], allow: { tenants: [billing] } }]";
    let lines = line(&billing, "batch", ", tenant: billing");
    let gateway = with_keys(&origin, &lines, "", sections).start().await;

    let answer = gateway.send(&with(&billing.key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.line_of(&answer).await["tenant"], "billing");
    for (endpoint, status, word) in [("vpce-0a1b2c3d", 200, None), ("vpce-11111111", 403, None)] {
        let mut client = Http1::open(gateway.plain).await;
        client.write(nlb("10.0.0.5:1000", endpoint)).await.unwrap();
        let answer = client.send(&with(&billing.key)).await;
        assert_eq!(answer.status, status, "{endpoint}");
        let line = gateway.line_of(&answer).await;
        assert_eq!(line.get("credential").and_then(|word| word.as_str()), word, "{line}");
    }
}

#[tokio::test]
async fn the_command_makes_a_key_and_the_line_that_lets_it_in() {
    let made =
        Gateway::cli(&["apikey", "new", "--consumer", "partner-a", "--scope", "orders:read", "--json"]).await;
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let (key, line) = (made["key"].as_str().unwrap(), made["line"].as_str().unwrap());
    let origin = Origin::start().await;
    let gateway = with_keys(&origin, &format!("  {line}\n"), "", ROUTE).start().await;

    assert_eq!(gateway.send(&with(key)).await.status, 200);
    assert!(key.starts_with("tgk_") && !line.contains(key));
}
