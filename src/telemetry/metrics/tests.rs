//! The whole of a scrape: valid, complete, bounded.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::*;

/// A sample line: name with labels, and value.
fn samples(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').map(|(name, v)| (name, v.parse().unwrap())).unwrap()).collect()
}

/// Metrics of which every family has been used.
fn used() -> Arc<Metrics> {
    let metrics = Metrics::new().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    metrics.series("orders", "orders-v1").record(200, Duration::from_millis(3), 10, 2_000);
    metrics.upstream("orders-v1").attempt(AttemptResult::Ok);
    metrics.upstream("orders-v1").first_byte(Duration::from_millis(2));
    metrics.tenant("billing").record(200);
    metrics.listener("public").handshake("TLSv1.3", true, Some("X25519"));
    metrics.rejection("rate_limited").inc();
    metrics.configuration().taken(1, "0123", now);
    let certificate = "tls/\"api\".pem".to_owned();
    let expiry = |of: &str| vec![CertificateExpiry { of: of.into(), file: certificate.clone(), at: now }];
    metrics.certificates([expiry("public"), expiry("orders-v1"), expiry("public")]);
    metrics.listener("public").client_certificate("revoked");
    metrics
}

#[test]
fn every_sample_belongs_to_a_family_with_help_and_type_and_comes_once() {
    let text = used().render();
    let pattern = r#"^([a-z_]+)(\{([a-z]+="([^"\\]|\\.)*",?)+\})? [0-9.e+-]+$"#;
    let well_formed = regex::Regex::new(pattern).unwrap();
    let (mut helped, mut typed, mut seen) = (HashSet::new(), HashMap::new(), HashSet::new());

    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && words.ends_with('.'), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name) && typed.insert(name.to_owned(), kind).is_none(), "{line}");
        } else {
            let name = &well_formed.captures(line).unwrap_or_else(|| panic!("{line}"))[1];
            let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let family = parts.filter(|f| typed.get(*f) == Some(&"histogram")).unwrap_or(name);
            let kind = typed.get(family).unwrap_or_else(|| panic!("{line}"));
            assert!(name.starts_with("tollgate_") || name.starts_with("process_"), "{line}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "{line}");
        }
    }

    assert_eq!(helped.len(), typed.len());
    let families: HashSet<_> = typed.keys().map(String::as_str).collect();
    for name in [
        "tollgate_requests_total",
        "tollgate_tenant_requests_total",
        "tollgate_request_duration_seconds",
        "tollgate_upstream_first_byte_seconds",
        "tollgate_upstream_attempts_total",
        "tollgate_request_bytes_total",
        "tollgate_response_bytes_total",
        "tollgate_rejections_total",
        "tollgate_connections_open",
        "tollgate_connections_total",
        "tollgate_handshakes_total",
        "tollgate_connections_ended_early_total",
        "tollgate_config_generation",
        "tollgate_config_last_reload_successful",
        "tollgate_config_last_reload_timestamp_seconds",
        "tollgate_config_reloads_total",
        "tollgate_config_info",
        "tollgate_config_rollbacks_total",
        "tollgate_config_unconfirmed",
        "tollgate_certificate_reloads_total",
        "tollgate_certificate_expiry_timestamp_seconds",
        "tollgate_upstream_certificate_expiry_timestamp_seconds",
        "tollgate_revocation_list_expiry_timestamp_seconds",
        "tollgate_client_certificates_total",
        "tollgate_access_log_dropped_total",
        "tollgate_panics_total",
        "tollgate_build_info",
    ] {
        assert!(families.contains(name), "{name}");
    }
}

#[test]
fn a_request_is_counted_by_class_time_and_bytes() {
    let metrics = Metrics::new().unwrap();
    let [stable, canary] = ["stable", "canary"].map(|upstream| metrics.series("orders", upstream));

    for status in [0, 101, 200, 204, 304, 404, 503, 999] {
        let took = if status == 101 { Duration::from_secs(3600) } else { Duration::from_millis(20) };
        stable.record(status, took, 1, 100);
    }
    canary.record(200, Duration::from_secs(61), 5, 7);
    let text = metrics.render();

    let at = samples(&text);
    let by_class = |s| {
        at[format!("tollgate_requests_total{{route=\"orders\",upstream=\"stable\",status=\"{s}\"}}").as_str()]
    };
    assert_eq!(["none", "1xx", "2xx", "3xx", "4xx", "5xx"].map(by_class), [1.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
    let duration = "tollgate_request_duration_seconds";
    let stable = "{route=\"orders\",upstream=\"stable\"";
    assert_eq!(at[format!("{duration}_bucket{stable},le=\"0.01\"}}").as_str()], 0.0);
    assert_eq!(at[format!("{duration}_bucket{stable},le=\"0.025\"}}").as_str()], 7.0);
    assert_eq!(at[format!("{duration}_bucket{stable},le=\"+Inf\"}}").as_str()], 7.0);
    assert_eq!(at[format!("{duration}_count{stable}}}").as_str()], 7.0);
    assert_eq!(at[format!("{duration}_sum{stable}}}").as_str()], 0.14);
    assert_eq!(at["tollgate_request_bytes_total{route=\"orders\"}"], 13.0);
    assert_eq!(at["tollgate_response_bytes_total{route=\"orders\"}"], 807.0);
}

#[test]
fn the_same_names_are_the_same_series() {
    let metrics = Metrics::new().unwrap();

    assert!(Arc::ptr_eq(&metrics.series("a", "b"), &metrics.series("a", "b")));
    assert!(!Arc::ptr_eq(&metrics.series("a", "b"), &metrics.series("a", "c")));
    assert!(Arc::ptr_eq(&metrics.upstream("b"), &metrics.upstream("b")));
    assert!(Arc::ptr_eq(&metrics.listener("l"), &metrics.listener("l")));
}

#[test]
fn what_a_reload_removed_vanishes_and_what_it_left_goes_on() {
    let metrics = Metrics::new().unwrap();
    let pairs = [
        ("kept", "v1"),
        ("kept", "v2"),
        ("gone", "v3"),
        ("gone", NO_NAME),
        ("kept", NO_NAME),
        (NO_NAME, NO_NAME),
    ];
    for (route, upstream) in pairs {
        metrics.series(route, upstream).record(200, Duration::ZERO, 0, 0);
        metrics.upstream(upstream).attempt(AttemptResult::Reset);
    }

    metrics.retain(&[("kept", "v1")]);
    metrics.series("kept", "v1").record(200, Duration::ZERO, 0, 0);
    let text = metrics.render();

    assert!(!["gone", "v2", "v3"].iter().any(|name| text.contains(name)), "{text}");
    let at = samples(&text);
    assert_eq!(at["tollgate_requests_total{route=\"kept\",upstream=\"v1\",status=\"2xx\"}"], 2.0);
    assert_eq!(at["tollgate_requests_total{route=\"kept\",upstream=\"-\",status=\"2xx\"}"], 1.0);
    assert_eq!(at["tollgate_requests_total{route=\"-\",upstream=\"-\",status=\"2xx\"}"], 1.0);
    assert_eq!(at["tollgate_upstream_attempts_total{upstream=\"v1\",result=\"reset\"}"], 1.0);
}

#[test]
fn tenants_are_counted_by_class_until_a_reload_removes_them() {
    let metrics = Metrics::new().unwrap();
    let [kept, gone] = ["kept", "gone"].map(|name| metrics.tenant(name));
    metrics.tenant("unused");

    [0, 200, 204, 403, 999].into_iter().for_each(|status| kept.record(status));
    gone.record(200);
    let before = metrics.render();
    metrics.retain_tenants(&["kept", "unused"]);
    let after = metrics.render();

    let by_class = |s| {
        samples(&after)[format!("tollgate_tenant_requests_total{{tenant=\"kept\",status=\"{s}\"}}").as_str()]
    };
    assert_eq!(["none", "1xx", "2xx", "3xx", "4xx", "5xx"].map(by_class), [1.0, 0.0, 2.0, 0.0, 1.0, 1.0]);
    assert!(before.contains("tenant=\"gone\"") && !before.contains("unused"), "{before}");
    assert!(!after.contains("gone"), "{after}");
    assert!(Arc::ptr_eq(&kept, &metrics.tenant("kept")));
}

#[test]
fn a_series_that_was_never_used_does_not_show() {
    let metrics = Metrics::new().unwrap();

    for nth in 0..1_000 {
        metrics.series(&format!("route-{nth}"), "v1");
    }

    assert!(!metrics.render().contains("route-"));
}

#[test]
fn a_connection_is_open_until_it_is_dropped() {
    let metrics = Metrics::new().unwrap();
    let public = metrics.listener("public");

    let held: Vec<_> = (0..3).map(|_| public.open()).collect();
    let other = public.open();
    std::thread::spawn(move || drop(other)).join().unwrap();
    public.ended_early(EarlyEnd::Probe);
    let text = metrics.render();

    let at = samples(&text);
    assert_eq!(at["tollgate_connections_open{listener=\"public\"}"], held.len() as f64);
    assert_eq!(at["tollgate_connections_total{listener=\"public\"}"], 4.0);
    let ended = |word| {
        at[format!("tollgate_connections_ended_early_total{{listener=\"public\",reason=\"{word}\"}}")
            .as_str()]
    };
    assert_eq!(EarlyEnd::ALL.map(|reason| ended(reason.word())).iter().sum::<f64>(), 1.0);
    assert_eq!(ended("probe"), 1.0);
}

#[test]
fn a_handshake_counts_under_its_own_names_and_strange_ones_under_other() {
    let metrics = Metrics::new().unwrap();
    let public = metrics.listener("public");

    public.handshake("TLSv1.3", false, Some("X25519MLKEM768"));
    public.handshake("TLSv1.2", true, Some("P-256"));
    public.handshake("TLSv1.2", true, None);
    public.handshake("DTLSv1", false, Some("brainpool"));
    let text = metrics.render();

    let seen: HashSet<_> = text.lines().filter_map(|l| l.strip_prefix("tollgate_handshakes_total")).collect();
    let expected = [
        r#"{listener="public",version="TLSv1.3",resumed="false",curve="X25519MLKEM768"} 1"#,
        r#"{listener="public",version="TLSv1.2",resumed="true",curve="P-256"} 1"#,
        r#"{listener="public",version="TLSv1.2",resumed="true",curve="other"} 1"#,
        r#"{listener="public",version="other",resumed="false",curve="other"} 1"#,
    ];
    assert_eq!(seen, HashSet::from(expected));
}

#[test]
fn a_refused_reload_shows_while_the_generation_stays() {
    let metrics = Metrics::new().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);

    metrics.configuration().taken(6, "old", now);
    metrics.configuration().taken(7, &"0123456789abcdef".repeat(4), now);
    metrics.configuration().refused(now + Duration::from_secs(60));
    let text = metrics.render();

    let at = samples(&text);
    assert_eq!(at["tollgate_config_generation"], 7.0);
    assert_eq!(at["tollgate_config_info{hash=\"0123456789ab\"}"], 1.0);
    assert_eq!(text.matches("tollgate_config_info{").count(), 1);
    assert_eq!(at["tollgate_config_last_reload_successful"], 0.0);
    assert_eq!(at["tollgate_config_last_reload_timestamp_seconds"], 1_800_000_060.0);
    assert_eq!(at["tollgate_config_reloads_total{result=\"ok\"}"], 2.0);
    assert_eq!(at["tollgate_config_reloads_total{result=\"refused\"}"], 1.0);
}

#[test]
fn certificates_are_replaced_as_a_whole() {
    let metrics = Metrics::new().unwrap();
    let expiry = |certificate: &str, s| CertificateExpiry {
        of: "public".into(),
        file: certificate.into(),
        at: UNIX_EPOCH + Duration::from_secs(s),
    };

    metrics.certificates([vec![expiry("old.pem", 1)], vec![], vec![]]);
    metrics.certificates([vec![expiry("new.pem", 9), expiry("new.pem", 5)], vec![], vec![]]);
    let text = metrics.render();

    assert!(!text.contains("old.pem"));
    let series = "tollgate_certificate_expiry_timestamp_seconds{listener=\"public\",certificate=\"new.pem\"}";
    assert_eq!(text.lines().filter(|l| l.starts_with(series)).collect::<Vec<_>>(), [format!("{series} 5")]);
}

#[test]
fn the_words_of_a_closed_set_are_distinct_and_in_order() {
    let words: HashSet<_> = EarlyEnd::ALL.iter().map(|e| e.word()).collect();

    assert_eq!(words.len(), EarlyEnd::ALL.len());
    assert!(EarlyEnd::ALL.iter().enumerate().all(|(nth, e)| *e as usize == nth));
    assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    assert!(AttemptResult::ALL.iter().enumerate().all(|(nth, r)| *r as usize == nth));
}
