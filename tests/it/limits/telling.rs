//! What operators are told: `tollgate limits` and `tollgate explain`, which take
//! nothing.

use serde_json::Value;

use super::{started, statuses};
use crate::support::{Gateway, Request};

const YAML: &str = "limits:
  - { name: clients, key: [client_address], rate: 1/h, burst: 3, global: true }
  - { name: plans, key: [{ header: x-plan }], rate: 1/h, burst: 2, missing: deny }
  - { name: trial, rate: 1/h, burst: 1, enforce: false }
  - { name: at-once, concurrency: 4 }
routes:
  - { name: plans, match: { path: /plans }, limits: [plans, trial, at-once], to: [{ upstream: origin }] }
  - { name: rest, to: [{ upstream: origin }] }";

#[tokio::test]
async fn each_limit_is_told_with_the_keys_that_have_used_most() {
    let (_origin, gateway) = started(YAML).await;
    for plan in ["gold", "gold", "blue"] {
        let _ = gateway.send(&Request::get("/plans").header("x-plan", plan)).await;
    }

    let told = json(&gateway, &["limits", "--json"]).await;

    let [clients, plans, trial, at_once] = &told.as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!((&clients["rate"], &clients["most"], &clients["keys"]), (&"1/h".into(), &3.into(), &1.into()));
    assert_eq!(
        (&clients["overflowed"], clients["capacity"].as_u64().unwrap() > 1_000_000),
        (&0.into(), true)
    );
    let left: Vec<_> = plans["top"].as_array().unwrap().iter().map(|key| &key["remaining"]).collect();
    assert_eq!((&plans["keys"], left), (&2.into(), vec![&Value::from(0), &Value::from(1)]), "{plans}");
    assert_eq!((&trial["enforced"], &trial["top"][0]["remaining"]), (&false.into(), &0.into()), "{trial}");
    assert_eq!((&at_once["rate"], &at_once["keys"]), (&Value::Null, &0.into()), "{at_once}");
    let one = json(&gateway, &["limits", "--json", "--limit", "plans", "--top", "1"]).await;
    assert_eq!((one.as_array().unwrap().len(), one[0]["top"].as_array().unwrap().len()), (1, 1), "{one}");

    let table = gateway.ask(&["limits"]).await.stdout;
    assert!(table.starts_with("LIMIT  ") && table.contains("NOT ENFORCED"), "{table}");
    let key = plans["top"][0]["key"].as_str().unwrap();
    assert!(table.contains(&format!("  key {key}  0 left  whole in ")), "{table}");
    let nothing = gateway.ask(&["limits", "--limit", "nothing"]).await;
    let told = "error: there is no limit `nothing`; known: at-once, clients, plans, trial\n";
    assert_eq!((nothing.code, nothing.stderr.as_str()), (Some(2), told));
}

#[tokio::test]
async fn a_key_is_told_by_name_and_whom_it_names_when_asked_for() {
    let (_origin, gateway) = started(
        "limits:
  - { name: keys, key: [route, client_address, { header: x-plan }, { header: x-api-key }], rate: 1/h, burst: 2 }
routes: [{ name: all, limits: [keys], to: [{ upstream: origin }] }]",
    )
    .await;
    let request = Request::get("/").header("x-plan", "gold\u{e9}").header("x-api-key", "canary");
    let _ = gateway.send(&request).await;

    let hidden = json(&gateway, &["limits", "--json"]).await.to_string();
    let revealed = json(&gateway, &["limits", "--json", "--reveal"]).await;

    assert!(hidden.contains("\"route=all client_address=#") && !hidden.contains("gold"), "{hidden}");
    let name = revealed[0]["top"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("route=all client_address=127.0.0.1 header x-plan=gold\\xc3\\xa9 "), "{name}");
    assert!(name.contains("x-api-key=#") && !name.contains("canary"), "{name}");
    let table = gateway.ask(&["limits", "--reveal"]).await.stdout;
    assert!(table.contains(&format!("  {name}\n")), "{table}");
}

#[tokio::test]
async fn what_is_explained_is_what_traffic_gets_and_takes_nothing() {
    let (_origin, gateway) = started(YAML).await;
    let explain = async |more: &[&str]| {
        let asked = ["explain", "--json", "--host", "api.example.com", "--path", "/plans"];
        json(&gateway, &[&asked, more].concat()).await
    };
    let gold = &["--header", "x-plan: gold"];

    for _ in 0..9 {
        let told = explain(gold).await;
        let limits = told["limits"].as_array().unwrap();
        let names: Vec<_> = limits.iter().map(|limit| limit["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["at-once", "clients", "plans", "trial"], "{told}");
        let left: Vec<_> = limits.iter().map(|limit| limit["remaining"].as_u64().unwrap()).collect();
        assert_eq!(left, [4, 3, 2, 1], "{told}");
        assert!(limits.iter().all(|limit| limit["says"] == "admits"), "{told}");
    }
    let without = explain(&[]).await;
    assert_eq!(
        (&without["verdict"]["status"], &without["verdict"]["flag"]),
        (&429.into(), &"limit_key_missing".into())
    );
    assert_eq!(gateway.get("/plans").await.flag(), "limit_key_missing");

    for _ in 0..2 {
        assert_eq!(gateway.send(&Request::get("/plans").header("x-plan", "gold")).await.status, 200);
    }
    let told = explain(gold).await;
    assert_eq!(told["verdict"]["flag"], "rate_limited", "{told}");
    let says = |nth: usize| {
        (told["limits"][nth]["says"].as_str().unwrap(), told["limits"][nth]["enforced"].as_bool())
    };
    assert_eq!((says(2), says(3)), (("rate_limited", Some(true)), ("rate_limited", Some(false))), "{told}");
    let hash = told["limits"][2]["key"].clone();
    let limits = json(&gateway, &["limits", "--json", "--limit", "plans"]).await;
    assert_eq!(limits[0]["top"][0]["key"], hash, "{limits}");
    let text = gateway
        .ask(&[&["explain", "--host", "api.example.com", "--path", "/plans"], &gold[..]].concat())
        .await;
    assert!(text.stdout.contains("429 rate_limited: by limit plans: "), "{text:?}");
    assert!(text.stdout.contains("limits    at-once: admits, 4 of 4 left\n"), "{text:?}");
    assert_eq!(statuses(&gateway, &["/", "/"]).await, [200, 429]);
}

async fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let told = gateway.ask(arguments).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    serde_json::from_str(&told.stdout).unwrap()
}
