//! `load`, the generator of `loadtest/`: what it tells of origins and gateways that are
//! slow, gone or good, and its exit codes.

use std::process::Command;

use serde_json::Value;

use crate::support::{
    Gateway, Origin, PATIENCE,
    process::{Exit, Process},
};

/// Runs it to its end: how it ended, and its report.
async fn load(target: &str, options: &str) -> (Exit, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    // So late is no machine that does its tests.
    command.args(["--late", "5s"]).args(options.split_whitespace()).arg(target);
    let exit = Process::spawn(command).wait_exit(PATIENCE).await;
    let report = serde_json::from_str(&exit.stdout).unwrap_or_default();
    (exit, report)
}

#[tokio::test]
async fn what_it_sends_is_what_an_origin_gets() {
    let origin = Origin::start().await;
    let url = format!("http://{}/x", origin.address);

    let (exit, report) =
        load(&url, "--rate 200 --duration 500ms --connections 5 --method POST --body hi").await;

    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!((&report["sent"], &report["statuses"]["200"]), (&100.into(), &100.into()), "{report}");
    assert_eq!(report["latency_us"]["count"], 100);
    let stats = origin.stats().await;
    assert_eq!(stats["requests"], 100);
    assert_eq!(origin.log().await[0]["method"], "POST");
}

#[tokio::test]
async fn who_waits_for_a_connection_waits_in_the_latency_and_an_overload_fails() {
    let origin = Origin::script("delay=100ms").await;
    let url = format!("http://{}/", origin.address);

    // Ten a second fit through one connection; of twenty a second the last one waits as
    // long as all before it take together.
    let (exit, report) = load(&url, "--rate 20 --duration 1s --connections 1 --p99 1s").await;

    let longest = |times: &str| report[times]["max"].as_u64().unwrap();
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(longest("latency_us") >= 1_000_000, "{report}");
    assert!(exit.stderr.contains("load: p99 is "), "{exit:?}");
    let shortest = report["service_us"]["p50"].as_u64().unwrap();
    assert!((100_000..longest("latency_us")).contains(&shortest), "{report}");

    // Who waited longer than the timeout is never sent.
    let (exit, report) = load(&url, "--rate 20 --duration 1s --connections 1 --timeout 300ms").await;

    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(report["unsent"].as_u64().unwrap() > 0, "{report}");
    assert!(exit.stderr.contains("load: the rate was not held: of 20 requests "), "{exit:?}");
}

#[tokio::test]
async fn answers_that_are_cut_or_of_another_status_fail_unless_they_may() {
    let options = "--rate 100 --duration 100ms --connections 2";
    for (origin, why) in [
        (Origin::answers(503).await, "status"),
        (Origin::closes_before_header().await, "cut"),
        (Origin::speaks_nonsense().await, "malformed"),
        (Origin::dead(), "connect"),
    ] {
        let url = format!("http://{}/", origin.address);

        let (exit, report) = load(&url, options).await;

        assert_eq!(exit.code, Some(1), "{why}: {exit:?}");
        assert_eq!(report["failures"][why], 10, "{why}: {report}");
        assert_eq!(load(&url, &format!("{options} --failures 10")).await.0.code, Some(0), "{why}");
    }
    let unavailable = Origin::answers(503).await;
    let url = format!("http://{}/", unavailable.address);
    assert_eq!(load(&url, &format!("{options} --statuses 200,503")).await.0.code, Some(0));
}

#[tokio::test]
async fn a_gateway_believes_whom_it_speaks_for_and_keeps_its_idle_connections() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .yaml(
            r#"
            listeners: [{ name: plain, address: "{plain}", proxy_protocol: { mode: required, trusted: [127.0.0.0/8] } }]
            tenants:
              - { name: billing, vpc_endpoints: [vpce-0123456789abcdef0] }
              - { name: search, vpc_endpoints: [vpce-11111111] }
            upstreams: [{ name: origin, endpoints: [{ address: "{origin}" }] }]
            routes: [{ name: all, to: [{ upstream: origin }] }]
            "#,
        )
        .start()
        .await;
    let url = format!("http://{}/", gateway.plain);
    let options = "--rate 100 --duration 400ms --requests-per-connection 1 --idle 10 --from 10.7.0.0/24";

    let endpoints = "--vpce vpce-0123456789abcdef0 --vpce vpce-11111111";
    let (exit, report) = load(&url, &format!("{options} {endpoints}")).await;

    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!((&report["reopened"], &report["idle"]["open"]), (&40.into(), &10.into()), "{report}");
    for tenant in ["billing", "search"] {
        let counted = gateway.metric("tollgate_tenant_requests_total", &[("tenant", tenant)]).await;
        assert_eq!(counted, 25.0, "{tenant}");
    }
    let line = gateway.line(|line| line["client"] == "10.7.0.50").await;
    assert_eq!(line["tenant"], "search", "{line}");

    // Nobody's endpoint is refused; so are idle connections without a PROXY header.
    let (exit, report) = load(&url, &format!("{options} --vpce vpce-22222222")).await;
    assert_eq!((exit.code, &report["failures"]["status"]), (Some(1), &40.into()), "{exit:?}");
    assert!(exit.stderr.contains("load: 10 of 10 idle connections were refused or ended"), "{exit:?}");
}

#[tokio::test]
async fn a_command_line_that_means_nothing_is_told_and_ends_with_two() {
    for (url, options, what) in [
        ("ftp://localhost/", "--rate 1", "http://"),
        ("http://localhost/", "--rate 0", "0 is not in 1.."),
        ("http://localhost/", "--rate 1 -H nonsense", "write `name: value`"),
        ("https://localhost/", "--rate 1 --ca /nowhere.pem", "--ca /nowhere.pem"),
        ("http://localhost/", "--rate 1 --vpce nonsense", "vpce-"),
    ] {
        let (exit, _) = load(url, options).await;

        assert_eq!(exit.code, Some(2), "{url} {options}: {exit:?}");
        assert!(exit.stderr.contains(what), "{url} {options}: {exit:?}");
    }
}
