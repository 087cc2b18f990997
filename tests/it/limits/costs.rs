//! What requests take of a limit by their route, alone or with their method.

use super::{started, statuses};
use crate::support::{Gateway, Request};

#[tokio::test]
async fn a_route_can_cost_more_than_another_and_the_first_entry_that_holds_says() {
    let (_origin, gateway) = started(LIMITS).await;
    let post = async |target: &str| gateway.send(&Request::post(target, "a")).await.status;

    // Of 20: 8 for the export, 5 for a POST to the reports, 2 for a GET of them, and 1.
    assert_eq!(statuses(&gateway, &["/export", "/reports", "/rest"]).await, [200, 200, 200]);
    assert_eq!([post("/reports").await, post("/rest").await], [200, 200]);
    // 17 are gone.
    assert_eq!([post("/reports").await, post("/export").await], [429, 429]);
    assert_eq!(statuses(&gateway, &["/reports", "/rest", "/rest"]).await, [200, 200, 429]);
    assert_eq!(statuses(&gateway, &["/free", "/free", "/free"]).await, [200, 200, 200]);
}

#[tokio::test]
async fn explain_tells_what_a_request_takes() {
    let (_origin, gateway) = started(LIMITS).await;
    let cost = async |method: &str, path: &str| {
        let told = explain(&gateway, method, path).await;
        told["limits"][0]["cost"].as_u64().unwrap_or_else(|| panic!("{told}"))
    };

    let costs = [
        cost("GET", "/export").await,
        cost("POST", "/reports").await,
        cost("GET", "/reports").await,
        cost("POST", "/rest").await,
        cost("GET", "/free").await,
    ];

    assert_eq!(costs, [8, 5, 2, 1, 0]);
    let text = gateway.ask(&["explain", "--host", "a.test", "--method", "POST", "--path", "/reports"]).await;
    assert!(text.stdout.contains("takes 5"), "{text:?}");
}

#[tokio::test]
async fn a_reload_that_moves_routes_about_keeps_what_each_takes() {
    let (_origin, gateway) = started(LIMITS).await;

    gateway.write_config(&LIMITS.replace(
        "routes:\n",
        "routes:\n  - { name: first, match: { path: /first }, respond: { status: 200 } }\n",
    ));
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(statuses(&gateway, &["/export", "/export", "/export"]).await, [200, 200, 429]);
}

async fn explain(gateway: &Gateway, method: &str, path: &str) -> serde_json::Value {
    let told =
        gateway.ask(&["explain", "--json", "--host", "a.test", "--method", method, "--path", path]).await;
    serde_json::from_str(&told.stdout).unwrap_or_else(|why| panic!("{why}: {told:?}"))
}

const LIMITS: &str = "limits:
  - name: dear
    rate: 1/h
    burst: 20
    global: true
    costs:
      - { routes: [reports], methods: [POST, PUT], cost: 5 }
      - { routes: [reports], cost: 2 }
      - { routes: [export, other-export], cost: 8 }
      - { routes: [free], cost: 0 }
routes:
  - { name: export, match: { path: /export }, to: [{ upstream: origin }] }
  - { name: other-export, match: { path: /other }, to: [{ upstream: origin }] }
  - { name: reports, match: { path: /reports }, to: [{ upstream: origin }] }
  - { name: free, match: { path: /free }, to: [{ upstream: origin }] }
  - { name: rest, to: [{ upstream: origin }] }";
