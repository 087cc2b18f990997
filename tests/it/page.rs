//! The page beside the metrics, in a headless Chromium.

use serde_json::json;

use crate::{
    support::{Gateway, PATIENCE, Request, browser::Browser, eventually, within},
    zones::Fleet,
};

#[tokio::test]
async fn the_page_shows_an_endpoint_that_dies_and_where_its_traffic_goes() {
    let fleet = Fleet::start([2, 1, 0]).await;
    let gateway = fleet.gateway("z1", QUICK).await;
    let browser = Browser::open(&address(&gateway)).await;
    browser.shows("#chips", "all in service").await;
    browser.shows("[data-zone=z1]", "2 of 2 in service").await;
    browser.shows("[data-zone=z1]", "100.0%").await;
    browser.shows("[data-zone=z2]", "0.0%").await;
    let dead = &fleet.zones[0][0];
    let row = format!("[data-endpoint=\"{}\"]", dead.address);
    browser.shows(&row, "in service").await;
    browser.shows(&row, "50.0%").await;

    dead.stop().await;

    browser.shows("#chips", "shop: 1 of 4 endpoints out").await;
    browser.shows(&row, "unhealthy").await;
    browser.shows(&row, "0.0%").await;
    browser.shows("[data-zone=z1]", "1 of 2 in service").await;
    // Half of its weight over the 72 % below which a zone spills; the rest goes next door.
    browser.shows("[data-zone=z1]", "69.4%").await;
    browser.shows("[data-zone=z2]", "30.6%").await;
    assert_eq!(browser.complaints().await, [json!(null); 0]);

    gateway.signal(libc::SIGKILL);
    browser.shows("#chips", "no answer for ").await;
    assert_eq!(browser.run("return document.body.className").await, "gone");
}

#[tokio::test]
async fn rates_limits_and_refusals_are_on_it() {
    let yaml = "
        limits: [{ name: one, key: [client_address], rate: 1/h }]
        routes: [{ name: hello, limits: [one], respond: { status: 200 } }]";
    let gateway = Gateway::builder().yaml(yaml).start().await;
    let browser = Browser::open(&address(&gateway)).await;
    browser.shows("#no-refusals", "Nothing was refused").await;

    let told = within(PATIENCE, || async {
        gateway.get("/").await;
        let rate = browser.text("#refused").await;
        rate.parse::<f64>().is_ok_and(|rate| rate > 0.0)
    });
    told.await.unwrap();

    browser.shows("[data-flag=rate_limited]", "429").await;
    browser.shows("[data-flag=rate_limited]", "hello").await;
    browser.shows("[data-limit=one]", "100.0%").await;
    browser.shows("#routes", "hello").await;
    browser.shows("#latency-more", "ms p99 · p50 ").await;
    let sparks = "return document.querySelectorAll('#spark path').length";
    eventually(PATIENCE, || async { browser.run(sparks).await == 3 }).await;
    let sent = browser.text("[data-flag=rate_limited]").await;
    gateway.send(&Request::get("/")).await;
    eventually(PATIENCE, || async { browser.text("[data-flag=rate_limited]").await != sent }).await;
    assert_eq!(browser.complaints().await, [json!(null); 0]);
}

#[tokio::test]
async fn names_are_text_whatever_they_are_and_a_phone_has_room_for_all() {
    let fleet = Fleet::start([1, 1, 0]).await;
    let gateway = fleet.gateway("z1", "").await;
    let browser = Browser::open(&address(&gateway)).await;
    browser.shows("#chips", "all in service").await;

    // As a gateway with such names would answer, if one could be configured.
    browser.run(EVIL).await;
    browser.shows("#upstreams", "<img src=x onerror=").await;
    browser.shows("#chips", "<script>").await;
    assert_eq!(browser.run("return document.images.length + document.scripts.length").await, 1);
    assert_eq!(browser.run("return window.broken === undefined").await, true);
    assert_eq!(browser.complaints().await, [json!(null); 0]);
    let refused = browser.run(MARKUP).await;
    assert_eq!(refused, "TypeError", "the policy lets a script make markup of text");

    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    browser.tools("Emulation.setDeviceMetricsOverride", phone).await;
    let width = "return document.documentElement.scrollWidth";
    eventually(PATIENCE, || async { browser.run(width).await == 360 }).await;

    let back = "return getComputedStyle(document.body).backgroundColor";
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.tools("Emulation.setEmulatedMedia", feature).await;
        backs.push(browser.run(back).await);
    }
    assert_eq!(backs, ["rgb(244, 245, 247)", "rgb(18, 21, 27)"]);
}

fn address(gateway: &Gateway) -> String {
    format!("http://{}/", gateway.address("metrics"))
}

const QUICK: &str =
    "health_check: { path: /, interval: 1s, unhealthy_after: 2 }, locality: { hold_down: 100ms }";

const EVIL: &str = "
    const ask = window.fetch;
    window.fetch = async (...a) => {
        const now = await (await ask(...a)).json();
        const evil = '<img src=x onerror=\"window.broken = 1\">';
        now.upstreams[0].name = evil;
        now.upstreams[0].endpoints[0].address = evil;
        now.drained_zones = ['<script>window.broken = 1</script>'];
        now.traffic.recent_refusals = [{ flag: evil, status: 429, listener: evil, count: 1, last_seconds_ago: 1 }];
        return { ok: true, json: async () => now };
    };";
const MARKUP: &str = "
    try { document.body.innerHTML = '<b>x</b>'; return 'let in'; } catch (why) { return why.name; }";
