//! Endpoints that are found, with a real DNS server: names that change, fail and
//! come later. `files` is about endpoints files, `reloads` about starts and reloads.

mod files;
mod reloads;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    Gateway, Origin, PATIENCE, Request,
    dns::Dns,
    eventually,
    load::{Asks, Load},
};

#[tokio::test]
async fn a_names_addresses_change_under_load_and_nothing_is_lost_of_what_stays() {
    let [a, b, c] = fleet(["a", "b", "c"]).await;
    let dns = Dns::start(&hosts(&[&a, &b])).await;
    let check = "health_check: { path: /__origin/health, interval: 1h }";
    let gateway = gateway(&dns, &a, check).await;
    assert_eq!(endpoints(&gateway).await, [a.address, b.address]);
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }

    dns.set(&hosts(&[&c, &b]));
    eventually(PATIENCE, || async { endpoints(&gateway).await == [b.address, c.address] }).await;
    let before = a.requests().await;
    eventually(PATIENCE, || async { c.requests().await > 50 }).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    // What was on its way to it is all that it got.
    assert!(a.requests().await <= before + 4, "{before}");
    // It stayed, so that nobody had to ask it again.
    assert_eq!(b.stats().await["health_checks"], 1);
    assert_eq!(c.stats().await["health_checks"], 1);
    let log = gateway.stderr();
    let told = "upstream=orders source=orders.internal:";
    assert!(log.contains(&format!("endpoints changed: {told}")), "{log}");
    assert!(log.contains("added=1 removed=1 kept=1"), "{log}");
}

#[tokio::test]
async fn an_answer_in_another_order_is_no_change() {
    let [a] = fleet(["a"]).await;
    // It turns them, from answer to answer.
    let many: String = (10..20).map(|n| format!("127.0.0.{n} orders.internal\n")).collect();
    let dns = Dns::start(&many).await;
    let gateway = gateway(&dns, &a, "").await;

    eventually(PATIENCE, || async { lookups(&gateway, "ok").await >= 4.0 }).await;

    assert_eq!(gateway.stderr().matches("endpoints changed: ").count(), 1, "{}", gateway.stderr());
    assert_eq!(gateway.metric("tollgate_discovery_endpoints", &[]).await, 10.0);
    assert!(gateway.metric("tollgate_discovery_age_seconds", &[]).await < 30.0);
    let table = gateway.ask(&["status"]).await.stdout;
    let line = table.lines().find(|line| line.contains("  orders.internal:")).unwrap();
    assert!(line.contains("10 endpoints  fresh  next look in "), "{line}");
}

#[tokio::test]
async fn whatever_becomes_of_dns_the_last_good_answer_serves_and_requests_do_not_notice() {
    let [a, b] = fleet(["a", "b"]).await;
    let good = hosts(&[&a, &b]);
    let dns = Dns::with(&good, &["--txt-record=orders.internal,still"]).await;
    let gateway = gateway(&dns, &a, "").await;
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }

    // Only the text is left of the name.
    dns.set("127.0.0.9 other.internal");
    stale(&gateway, &["empty"]).await;
    dns.set(&good);
    fresh(&gateway).await;
    dns.signal(libc::SIGSTOP);
    stale(&gateway, &["timeout"]).await;
    quick(&gateway).await;
    dns.signal(libc::SIGCONT);
    fresh(&gateway).await;
    dns.kill();
    stale(&gateway, &["unreachable", "timeout"]).await;
    quick(&gateway).await;
    dns.restart().await;
    fresh(&gateway).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    assert!(load.answered.load(Ordering::Relaxed) > 100);
    let log = gateway.stderr();
    // A line each time that it began, however often it was tried.
    assert_eq!(log.matches("endpoints not found, the last ones stay: ").count(), 3, "{log}");
    assert_eq!(log.matches("endpoints are found again: ").count(), 3, "{log}");
    assert_eq!(log.matches("endpoints changed: ").count(), 1, "{log}");
}

#[tokio::test]
async fn a_name_that_is_gone_keeps_its_endpoints_for_their_time_and_loses_them_then() {
    let [a] = fleet(["a"]).await;
    let dns = Dns::start(&hosts(&[&a])).await;
    let yaml = format!("{}{}", dns.section(", keep: 4s"), upstream(&a, ""));
    let gateway = Gateway::builder().origin("a", &a).yaml(&yaml).start().await;

    dns.set("127.0.0.9 other.internal");
    stale(&gateway, &["nxdomain"]).await;
    assert_eq!(gateway.get("/").await.status, 200);
    eventually(PATIENCE, || async { endpoints(&gateway).await.is_empty() }).await;

    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
    let log = gateway.stderr();
    assert_eq!(log.matches("endpoints dropped, not found for too long: upstream=orders").count(), 1, "{log}");
    assert_eq!(source(&gateway).await["state"], "unknown");
    dns.set(&hosts(&[&a]));
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 }).await;
}

#[tokio::test]
async fn an_endpoint_that_is_found_takes_traffic_after_its_first_passed_probe() {
    let [a, b] = fleet(["a", "b"]).await;
    b.set_healthy(false).await;
    let dns = Dns::start(&hosts(&[&a])).await;
    let check = "health_check: { path: /__origin/health, interval: 200ms, timeout: 200ms, unhealthy_interval: 200ms }, \
                 locality: { panic_below: 0% }";
    let gateway = gateway(&dns, &a, check).await;

    dns.set(&hosts(&[&a, &b]));
    eventually(PATIENCE, || async { endpoints(&gateway).await.len() == 2 }).await;
    assert_eq!(split(&gateway, 30).await, BTreeMap::from([("a".to_owned(), 30)]));
    assert_eq!(b.requests().await, 0);
    b.set_healthy(true).await;

    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "b" }).await;
}

#[tokio::test]
async fn a_service_has_the_ports_and_weights_of_its_lowest_priority() {
    let [a, b, far] = [Origin::named("a").await, Origin::named("b").await, Origin::named("far").await];
    let record = |host: &str, origin: &Origin, rest: &str| {
        format!("--srv-host=_orders._tcp.internal,{host}.internal,{},{rest}", origin.address.port())
    };
    let records = [record("one", &a, "10,3"), record("two", &b, "10,0"), record("far", &far, "20,100")];
    let known = "127.0.0.1 one.internal two.internal far.internal";
    let dns = Dns::with(known, &records.each_ref().map(String::as_str)).await;
    let upstream = "upstreams: [{ name: orders, endpoints: [{ address: \"srv:_orders._tcp.internal\", zone: z1 }], \
                    balance: round_robin }]\nroutes: [{ name: all, to: [{ upstream: orders }] }]";
    let gateway = Gateway::builder().yaml(&format!("{}{upstream}", dns.section(""))).start().await;

    let status = gateway.status().await;
    let told = status["upstreams"][0]["endpoints"].as_array().unwrap().iter();
    let mut told: Vec<_> =
        told.map(|e| (e["address"].clone(), e["weight"].clone(), e["zone"].clone())).collect();
    told.sort_by_key(|(_, weight, _)| weight.as_u64());

    let wanted =
        |origin: &Origin, weight: u16| (origin.address.to_string().into(), weight.into(), "z1".into());
    assert_eq!(told, [wanted(&b, 1), wanted(&a, 3)]);
    assert_eq!(split(&gateway, 40).await, BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]));
    assert_eq!(far.requests().await, 0);
}

#[tokio::test]
async fn both_families_and_aliases_count_and_a_refusal_is_none() {
    let [a] = fleet(["a"]).await;
    let port = a.address.port();
    let known = format!("{}::1 orders.internal\n", hosts(&[&a]));
    let dns = Dns::with(&known, &["--cname=alias.internal,orders.internal"]).await;
    let open = dns.section("").replace("127.0.0.0/8", "127.0.0.0/8, \"::1/128\"");
    // It knows nothing of other domains, and nobody to ask.
    let names =
        format!("{{ address: \"Alias.Internal.:{port}\" }}, {{ address: \"orders.example:{port}\" }}");
    let upstream = upstream(&a, "").replace(&format!("{{ address: \"orders.internal:{port}\" }}"), &names);
    let gateway = Gateway::builder().origin("a", &a).yaml(&format!("{open}{upstream}")).start().await;

    let found = endpoints(&gateway).await;

    assert_eq!(found, [a.address, format!("[::1]:{port}").parse().unwrap()]);
    let sources = gateway.status().await["upstreams"][0]["sources"].clone();
    let told = |nth: usize, key: &str| sources[nth][key].as_str().unwrap_or("-").to_owned();
    assert_eq!([told(0, "source"), told(0, "state")], [format!("alias.internal:{port}"), "fresh".to_owned()]);
    assert_eq!([told(1, "state"), told(1, "last_error")], ["unknown", "servfail"]);
}

#[tokio::test]
async fn answers_where_no_endpoint_may_be_are_refused() {
    let [a] = fleet(["a"]).await;
    let dns = Dns::start(&hosts(&[&a])).await;
    let strict = dns.section("").replace("allow: [127.0.0.0/8]", "allow: []");
    let yaml = format!("{strict}{}", upstream(&a, ""));
    let gateway = Gateway::builder().origin("a", &a).yaml(&yaml).start().await;

    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
    assert_eq!(a.requests().await, 0);
    assert!(lookups(&gateway, "refused_address").await >= 1.0);
    let log = gateway.stderr();
    assert!(
        log.contains("endpoints not found: upstream=orders") && log.contains("reason=refused_address"),
        "{log}"
    );
    // Beside one that may be taken, the others are left out.
    let more = "169.254.169.254 orders.internal\n::ffff:169.254.169.254 orders.internal\nfd00:ec2::254 orders.internal\n10.0.0.1 orders.internal";
    dns.set(&format!("{}{more}", hosts(&[&a])));
    let port = a.address.port();
    let only = [SocketAddr::from(([10, 0, 0, 1], port))];
    eventually(PATIENCE, || async { endpoints(&gateway).await == only }).await;
    assert!(gateway.stderr().contains("refused=4 "), "{}", gateway.stderr());
}

#[tokio::test]
async fn a_hundred_answers_are_a_hundred_endpoints_up_to_the_ceiling() {
    let [a] = fleet(["a"]).await;
    let many: String = (0..100).map(|n| format!("127.0.1.{n} orders.internal\n")).collect();
    let dns = Dns::start(&many).await;
    let gateway = gateway(&dns, &a, "").await;

    assert_eq!(endpoints(&gateway).await.len(), 100);
    gateway.write_config(&format!("{}{}", dns.section(", max_addresses: 30"), upstream(&a, "")));
    assert_eq!(gateway.reload().await.code, Some(0));

    eventually(PATIENCE, || async { endpoints(&gateway).await.len() == 30 }).await;
    assert!(gateway.stderr().contains("beyond_max_addresses=70"), "{}", gateway.stderr());
}

#[tokio::test]
async fn a_reload_that_allows_less_takes_away_what_was_found_there() {
    let [a] = fleet(["a"]).await;
    let dns = Dns::start(&hosts(&[&a])).await;
    let gateway = gateway(&dns, &a, "").await;
    assert_eq!(gateway.get("/").await.status, 200);

    let strict = dns.section("").replace("allow: [127.0.0.0/8]", "allow: []");
    gateway.write_config(&format!("{strict}{}", upstream(&a, "")));
    assert_eq!(gateway.reload().await.code, Some(0));

    eventually(PATIENCE, || async { endpoints(&gateway).await.is_empty() }).await;
    eventually(PATIENCE, || async { source(&gateway).await["last_error"] == "refused_address" }).await;
    assert_eq!(gateway.get("/").await.status, 503);
}

/// Origins at 127.0.0.2 and so on, with one port.
async fn fleet<const N: usize>(names: [&str; N]) -> [Origin; N] {
    let mut origins = Vec::new();
    let mut port = 0;
    for (nth, name) in (2..).zip(names) {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, nth), port));
        let origin = Origin::builder().name(name).listen(address).start().await;
        port = origin.address.port();
        origins.push(origin);
    }
    origins.try_into().unwrap_or_else(|_| unreachable!())
}

fn hosts(origins: &[&Origin]) -> String {
    origins.iter().map(|origin| format!("{} orders.internal\n", origin.address.ip())).collect()
}

/// With the upstream `orders` of `orders.internal`, at the port of this origin.
async fn gateway(dns: &Dns, origin: &Origin, more: &str) -> Gateway {
    let yaml = format!("{}{}", dns.section(""), upstream(origin, more));
    Gateway::builder().origin("a", origin).yaml(&yaml).start().await
}

fn upstream(origin: &Origin, more: &str) -> String {
    let port = origin.address.port();
    format!(
        "upstreams: [{{ name: orders, endpoints: [{{ address: \"orders.internal:{port}\" }}], {more} }}]\n\
         routes: [{{ name: all, to: [{{ upstream: orders }}] }}]"
    )
}

/// Of the first upstream, in order.
async fn endpoints(gateway: &Gateway) -> Vec<SocketAddr> {
    let status = gateway.status().await;
    let endpoints = status["upstreams"][0]["endpoints"].as_array().unwrap().iter();
    endpoints.map(|endpoint| endpoint["address"].as_str().unwrap().parse().unwrap()).collect()
}

/// The first of the first upstream.
async fn source(gateway: &Gateway) -> Value {
    gateway.status().await["upstreams"][0]["sources"][0].clone()
}

async fn stale(gateway: &Gateway, errors: &[&str]) {
    eventually(PATIENCE, || async {
        let source = source(gateway).await;
        source["state"] == "stale" && errors.iter().any(|error| source["last_error"] == *error)
    })
    .await;
    assert_eq!(gateway.metric("tollgate_discovery_stale", &[]).await, 1.0);
}

async fn fresh(gateway: &Gateway) {
    eventually(PATIENCE, || async { source(gateway).await["state"] == "fresh" }).await;
}

/// Nobody waits for a resolver that is silent for a second.
async fn quick(gateway: &Gateway) {
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

async fn lookups(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("tollgate_discovery_lookups_total", &[("result", result)]).await
}

async fn split(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut split = BTreeMap::new();
    for _ in 0..requests {
        *split.entry(gateway.get("/").await.echo().origin().to_owned()).or_insert(0) += 1;
    }
    split
}
