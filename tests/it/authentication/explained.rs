//! What `tollgate explain` says of a request whose route depends on who asks: what
//! traffic gets.

use serde_json::{Value, json};

use super::{key, line};
use crate::support::{Gateway, Origin, Request, Response};

/// What a request presents, by its field or by what is assumed of it.
enum Who {
    Key(String),
    Assumed(&'static str),
    Nobody,
}

async fn partners(origins: [&Origin; 2]) -> Gateway {
    let lines = [line(&key(1), "partner-a", ", tenant: billing"), line(&key(2), "partner-b", "")];
    Gateway::builder()
        .origin("ua", origins[0])
        .origin("ub", origins[1])
        .file("keys.yaml", &format!("keys:\n{}", lines.concat()))
        .yaml(
            "authentication: [{ name: partners, api_keys: { files: [keys.yaml] } }]
tenants: [{ name: billing, vpc_endpoints: [vpce-0123456789abcdef0] }]
privatelink: { unknown_endpoint: allow }
upstreams:
  - { name: ua, endpoints: [{ address: \"{ua}\" }] }
  - { name: ub, endpoints: [{ address: \"{ub}\" }] }
  - { name: kept, endpoints: [{ address: \"{ua}\" }, { address: \"{ub}\" }], balance: { consistent_hash: { key: consumer } } }
routes:
  - { name: everyone, match: { path: /x }, to: [{ upstream: ua }], authenticate: [partners] }
  - { name: partner-a, match: { path: /x, consumers: [partner-a] }, to: [{ upstream: ub }], authenticate: [partners] }
  - { name: gold, match: { path: /gold, headers: [{ name: x-gold }] }, to: [{ upstream: ua }], authenticate: [partners] }
  - { name: gold-a, match: { path: /gold, consumers: [partner-a] }, respond: { status: 200 }, authenticate: [partners] }
  - { name: elsewhere, match: { path: /anon }, respond: { status: 200 }, authenticate: { any: [partners, anonymous] } }
  - { name: elsewhere-a, match: { path: /anon, consumers: [partner-a] }, respond: { status: 201 }, authenticate: [partners], allow: { scopes: [never] } }
  - { name: billing, match: { path: /mine, tenants: [billing] }, respond: { status: 200 }, authenticate: [partners] }
  - { name: mine, match: { path: /mine }, respond: { status: 201 }, authenticate: [partners] }
  - { name: kept, match: { path: /kept }, to: [{ upstream: kept }], authenticate: [partners] }
",
        )
        .start()
        .await
}

/// The running gateway's answer and the files'.
async fn told(gateway: &Gateway, path: &str, who: &Who) -> [Value; 2] {
    let mut arguments = vec!["explain", "--json", "--host", "api.example.com", "--path", path];
    let field;
    match who {
        Who::Key(key) => {
            field = format!("X-Api-Key: {key}");
            arguments.extend(["--header", &field]);
        }
        Who::Assumed(name) => arguments.extend(["--consumer", name]),
        Who::Nobody => {}
    }
    let main = gateway.files.main().display().to_string();
    let live = gateway.ask(&arguments).await;
    arguments.extend(["--config", &main]);
    let offline = Gateway::cli(&arguments).await;
    [live, offline].map(|told| {
        assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
        serde_json::from_str(&told.stdout).unwrap()
    })
}

#[tokio::test]
async fn the_route_that_is_named_is_the_one_that_traffic_takes_whoever_asks() {
    let (ua, ub) = (Origin::named("ua").await, Origin::named("ub").await);
    let gateway = partners([&ua, &ub]).await;
    let (a, b) = (key(1).key, key(2).key);

    for path in ["/x", "/gold", "/anon", "/mine", "/kept"] {
        for (presented, asked) in [
            (Some(&a), Who::Key(a.clone())),
            (Some(&a), Who::Assumed("partner-a")),
            (Some(&b), Who::Key(b.clone())),
            (Some(&b), Who::Assumed("partner-b")),
            (None, Who::Nobody),
        ] {
            // Whose tenant somebody is says only the key.
            if path == "/mine" && matches!(asked, Who::Assumed("partner-a")) {
                continue;
            }
            let request = Request::get(path).honest().host("api.example.com");
            let request = presented.iter().fold(request, |request, key| request.header("X-Api-Key", key));
            let answer = gateway.send(&request).await;
            let line = gateway.line_of(&answer).await;

            for told in told(&gateway, path, &asked).await {
                agrees(&told, &answer, &line);
                let is_key = matches!(asked, Who::Key(_));
                let tenant = line.get("tenant").filter(|_| is_key);
                assert!(tenant.is_none_or(|tenant| told["principal"]["tenant"] == *tenant), "{told:#}");
            }
        }
    }
}

/// What is told is what became of the request.
#[track_caller]
fn agrees(told: &Value, answer: &Response, line: &Value) {
    let (verdict, winner) = (&told["verdict"], &told["routing"]["winner"]);
    assert_eq!((&winner["name"], &verdict["flag"]), (&line["route"], &line["flag"]), "{told:#} {line}");
    let losers = told["routing"]["losers"].as_array().unwrap();
    assert!(losers.iter().all(|loser| loser["name"] != winner["name"]), "{told:#}");
    if let Some(status) = verdict["status"].as_u64() {
        assert_eq!(u64::from(answer.status), status, "{told:#}");
        return;
    }
    let hash = &told["upstreams"][0]["hash"];
    if hash.is_null() {
        assert_eq!(verdict["upstreams"], json!([answer.echo().origin()]), "{told:#}");
    } else {
        assert_eq!(hash["endpoint"], line["endpoint"], "{told:#} {line}");
    }
}

#[tokio::test]
async fn who_lost_is_told_of_the_caller_who_is_known() {
    let (ua, ub) = (Origin::named("ua").await, Origin::named("ub").await);
    let gateway = partners([&ua, &ub]).await;
    let table = async |path: &str, consumer: &[&str]| {
        let asked = ["explain", "--host", "api.example.com", "--path", path];
        gateway.ask(&[&asked[..], consumer].concat()).await.stdout
    };

    let of_a = table("/x", &["--consumer", "partner-a"]).await;
    assert!(of_a.contains("\nroute     partner-a by any host, prefix /x"), "{of_a}");
    assert!(of_a.contains("lost      everyone by any host, prefix /x: it asks for less than partner-a"));
    assert!(of_a.contains("\nvouched by any of [partners]; partners: partner-a\n"), "{of_a}");
    let of_b = table("/x", &["--consumer", "partner-b"]).await;
    assert!(of_b.contains("it is of consumer partner-b, not of [partner-a]"), "{of_b}");
    let of_nobody = table("/gold", &[]).await;
    assert!(of_nobody.contains("\nroute     gold-a by any host, prefix /gold"), "{of_nobody}");
    assert!(of_nobody.contains("\nallow/deny none\n"), "{of_nobody}");
    assert!(!of_nobody.contains("open to"), "{of_nobody}");
    // The second route lets them in no further, and it is the one that is told of.
    let refused = table("/anon", &["--consumer", "partner-a"]).await;
    assert!(refused.contains("\nroute     elsewhere-a by"), "{refused}");
    assert!(refused.contains("allow [scope never]; not this request, by `allow.scopes`"), "{refused}");
}

#[tokio::test]
async fn a_preflight_is_told_of_by_the_route_that_answers_it() {
    let gateway = Gateway::builder()
        .yaml(
            "routes:
  - { name: rest, respond: { status: 200 } }
  - { name: pages, match: { path: /p, methods: [PUT] }, respond: { status: 200 }, cors: { origins: ['https://a.test'] } }
",
        )
        .start()
        .await;
    let asked = [
        "explain",
        "--json",
        "--host",
        "h.test",
        "--path",
        "/p",
        "--method",
        "OPTIONS",
        "--header",
        "Origin: https://a.test",
        "--header",
        "Access-Control-Request-Method: PUT",
    ];

    let told: Value = serde_json::from_str(&gateway.ask(&asked).await.stdout).unwrap();

    assert_eq!((&told["verdict"]["status"], &told["request"]["method"]), (&json!(204), &json!("OPTIONS")));
    assert_eq!(told["routing"]["winner"]["name"], "pages", "{told:#}");
    assert_eq!(told["routing"]["losers"][0]["why"], "its path is less specific");
}
