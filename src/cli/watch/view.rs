//! What was seen, as lines: what is wrong first, then zones, endpoints, limits and what
//! was refused lately.

use std::time::Instant;

use serde_json::Value;

use super::{
    fit::{Line, Look, Page, Part},
    seen::Seen,
};
use crate::cli::status::{list, percent, text};

/// The page now.
pub fn page(seen: &Seen, now: Instant) -> Page {
    let silent = silence(seen, now);
    let Some(last) = &seen.now else {
        return Page { head: silent.into_iter().collect(), parts: Vec::new() };
    };
    let mut head = vec![process(last)];
    let marks = marks(last, seen.follows(now));
    head.push(silent.unwrap_or(marks));
    head.push(traffic(seen, last));
    head.extend(latency(last));
    Page { head, parts: vec![zones(last), upstreams(seen, last), limits(seen, last), refusals(last)] }
}

fn silence(seen: &Seen, now: Instant) -> Option<Line> {
    let (gone, why) = seen.silent_for(now)?;
    let what = format!("{why} at {}, for {} s; looking on", seen.socket.display(), gone.as_secs());
    let line = Line::of(Look::Bad, what);
    Some(if seen.now.is_some() { line.and(Look::Soft, "  below is what was") } else { line })
}

fn process(last: &Value) -> Line {
    let zone = last.get("zone").and_then(Value::as_str).map(|zone| format!("  {zone}"));
    let facts = format!(
        "{}  pid {}  up {}  generation {}  config {}",
        zone.unwrap_or_default(),
        text(last, "pid"),
        span(number(last, "uptime_ms") / 1_000),
        text(last, "generation"),
        text(last, "config"),
    );
    Line::of(Look::Strong, format!("tollgate {}", text(last, "version"))).and(Look::Plain, facts)
}

/// What is wrong or about to change; `all in service` when nothing is.
fn marks(last: &Value, follows: Option<u64>) -> Line {
    let mut marks = Vec::new();
    if last.get("draining") == Some(&Value::Bool(true)) {
        let cut = last.get("requests_cut_in_seconds").and_then(Value::as_u64);
        let cut = cut.map(|seconds| format!(", cuts in {}", span(seconds))).unwrap_or_default();
        marks.push((Look::Warn, format!("DRAINING{cut}")));
    }
    if let Some(seconds) = last.get("confirm_within_seconds").and_then(Value::as_u64) {
        marks.push((Look::Warn, format!("UNCONFIRMED, goes back in {seconds} s")));
    }
    let drained = list(last, "drained_zones");
    let drained = drained.iter().filter_map(Value::as_str);
    marks.extend(drained.map(|zone| (Look::Warn, format!("zone {zone} drained"))));
    marks.extend(list(last, "upstreams").iter().flat_map(upstream_marks));
    if last.get("store").and_then(Value::as_str) == Some("down") {
        marks.push((Look::Bad, "store of fleet limits down".to_owned()));
    }
    match number(last, "certificates_not_taken") {
        0 => {}
        n => marks.push((Look::Warn, format!("certificates not taken: {n}"))),
    }
    if let Some(days) =
        last.get("certificate_expires_in_days").and_then(Value::as_i64).filter(|days| *days < 21)
    {
        marks.push((Look::Warn, format!("a certificate ends in {days} days")));
    }
    if marks.is_empty() {
        marks.push((Look::Good, "all in service".to_owned()));
    }
    marks.extend(follows.map(|pid| (Look::Warn, format!("follows pid {pid}"))));
    let between = |nth| if nth == 0 { "" } else { "  " };
    let each = marks.into_iter().enumerate();
    each.fold(Line::default(), |line, (nth, (look, mark))| {
        line.and(Look::Plain, between(nth)).and(look, mark)
    })
}

fn upstream_marks(upstream: &Value) -> Vec<(Look, String)> {
    let name = text(upstream, "name");
    let endpoints = list(upstream, "endpoints");
    let state = |endpoint: &Value| text(endpoint, "state");
    let ready = endpoints.iter().filter(|endpoint| state(endpoint) == "in service").count();
    let out = endpoints
        .iter()
        .filter(|endpoint| !["in service", "drained", "weight 0"].contains(&state(endpoint).as_str()))
        .count();
    let mut marks = Vec::new();
    if upstream.get("panic") == Some(&Value::Bool(true)) {
        marks.push((Look::Bad, format!("{name}: PANIC")));
    }
    match (ready, out) {
        (0, _) => marks.push((Look::Bad, format!("{name}: nothing in service"))),
        (_, 0) => {}
        _ => marks.push((Look::Bad, format!("{name}: {out} of {} out", endpoints.len()))),
    }
    let sources = list(upstream, "sources");
    let stale = sources.iter().filter(|source| text(source, "state") != "fresh");
    marks.extend(
        stale.map(|source| (Look::Warn, format!("{} {}", text(source, "source"), text(source, "state")))),
    );
    marks
}

fn traffic(seen: &Seen, last: &Value) -> Line {
    let class =
        |class: &'static str| seen.rate(move |value| number(at(value, &["traffic", "requests"]), class));
    let (refused, failed) = (seen.rate(|value| all(at(value, &["traffic", "refusals"]))), class("5xx"));
    let warn = |rate: Option<f64>, look| if rate > Some(0.0) { look } else { Look::Plain };
    let some = |key| Some(number(last, key)).filter(|n| *n > 0).map(|n| format!("  {key} {n}"));
    let streams = ["websockets", "streams"].map(|key| some(key).unwrap_or_default()).concat();
    let open = format!("  connections {}{streams}", text(last, "connections"));
    let requests = seen.rate(|value| all(at(value, &["traffic", "requests"])));
    Line::of(Look::Strong, format!("requests {}/s", rate(requests)))
        .and(warn(refused, Look::Warn), format!("  refused {}/s", rate(refused)))
        .and(warn(failed, Look::Bad), format!("  5xx {}/s", rate(failed)))
        .and(Look::Plain, format!("  4xx {}/s", rate(class("4xx"))))
        .and(Look::Plain, open)
}

/// As `latency p50 0.4 ms  p95 2.1 ms  p99 12 ms  of 60 s`; nothing where no request came.
fn latency(last: &Value) -> Option<Line> {
    let latency = last.get("latency").filter(|latency| latency.is_object())?;
    let one = |key| latency.get(key).and_then(Value::as_f64).map(|ms| rate(Some(ms)));
    let (half, most, nearly_all) = (one("p50_ms")?, one("p95_ms")?, one("p99_ms")?);
    let over = span(number(latency, "over_seconds"));
    let took = format!("latency p50 {half} ms  p95 {most} ms  p99 {nearly_all} ms  of {over}");
    Some(Line::of(Look::Plain, took))
}

fn zones(last: &Value) -> Part {
    let zone = |zone: &Value| {
        let upstreams = list(zone, "upstreams");
        let sum = |key| upstreams.iter().map(|upstream| number(upstream, key)).sum::<u64>();
        let (ready, all) = (sum("in_service"), sum("endpoints"));
        let drained = zone.get("drained") == Some(&Value::Bool(true));
        let own = if zone.get("own") == Some(&Value::Bool(true)) { "*" } else { "" };
        let (look, state) = match (drained, ready == all) {
            (true, _) => (Look::Warn, "drained".to_owned()),
            (false, good) => {
                (if good { Look::Good } else { Look::Bad }, format!("{ready} of {all} in service"))
            }
        };
        let share =
            |upstream: &Value| format!("{} {}", text(upstream, "upstream"), percent(upstream, "share"));
        let shares: Vec<_> = upstreams.iter().map(share).collect();
        let line = Line::of(Look::Plain, format!("  {:<22} ", text(zone, "zone") + own));
        let line = line.and(look, format!("{state:<20} ")).and(Look::Plain, shares.join("  "));
        Line { dull: !drained && ready == all, ..line }
    };
    Part {
        title: title("ZONE                     STATE                SHARE"),
        lines: list(last, "zones").iter().map(zone).collect(),
    }
}

fn upstreams(seen: &Seen, last: &Value) -> Part {
    let each = list(last, "upstreams");
    let lines = each.iter().flat_map(|upstream| {
        let endpoints = list(upstream, "endpoints");
        let lines: Vec<_> = endpoints.iter().map(endpoint).collect();
        std::iter::once(upstream_line(seen, upstream)).chain(lines)
    });
    let title = title("UPSTREAM, ENDPOINT       ZONE             SHARE              STATE     IN FLIGHT");
    Part { title, lines: lines.collect() }
}

fn upstream_line(seen: &Seen, upstream: &Value) -> Line {
    let name = text(upstream, "name");
    let of = |value: &Value, key: &str| {
        let upstreams = at(value, &["traffic", "upstreams"]).as_array();
        let own = upstreams.and_then(|all| all.iter().find(|one| text(one, "upstream") == name));
        own.and_then(|own| own.get(key)).cloned().unwrap_or_default()
    };
    let requests = seen.rate(|value| all(&of(value, "requests")));
    let failed = seen.rate(|value| number(&of(value, "requests"), "5xx"));
    let broken = seen.rate(|value| {
        let attempts = of(value, "attempts");
        all(&attempts).saturating_sub(number(&attempts, "ok"))
    });
    let retries = seen.rate(|value| of(value, "retries").as_u64().unwrap_or_default());
    let look = if failed > Some(0.0) || broken > Some(0.0) { Look::Bad } else { Look::Plain };
    let rates = format!(
        "  {}/s  5xx {}/s  failed attempts {}/s  retries {}/s",
        rate(requests),
        rate(failed),
        rate(broken),
        rate(retries)
    );
    Line::of(Look::Strong, format!("  {name}")).and(look, rates)
}

fn endpoint(endpoint: &Value) -> Line {
    let state = text(endpoint, "state");
    let look = match state.as_str() {
        "in service" => Look::Good,
        "weight 0" => Look::Soft,
        "drained" | "unproven" => Look::Warn,
        _ => Look::Bad,
    };
    let ejected = endpoint.get("ejected_seconds").and_then(Value::as_f64);
    let told = ejected.map(|left| format!("{state} {left:.0} s")).unwrap_or(state);
    let share = endpoint.get("share").and_then(Value::as_f64).unwrap_or_default();
    let line = Line::of(
        Look::Plain,
        format!("    {:<20} {:<12} ", text(endpoint, "address"), text(endpoint, "zone")),
    );
    let line =
        line.and(Look::Soft, bar(share)).and(Look::Plain, format!(" {:>6}  ", percent(endpoint, "share")));
    let line = line
        .and(look, format!("{told:<14} "))
        .and(Look::Plain, format!("{:>4}", text(endpoint, "in_flight")));
    Line { dull: look == Look::Good, ..line }
}

fn limits(seen: &Seen, last: &Value) -> Part {
    let limit = |limit: &Value| {
        let name = text(limit, "name");
        let decided = |value: &Value, words: &[&str]| {
            let counts = at(value, &["traffic", "limits", &name]);
            words.iter().map(|word| number(counts, word)).sum::<u64>()
        };
        let taken = seen.rate(|value| decided(value, &["admitted", "store_allowed"]));
        let refused = seen.rate(|value| decided(value, &REFUSALS));
        let look = if refused > Some(0.0) { Look::Warn } else { Look::Plain };
        let most = list(limit, "top");
        let fullest =
            most.first().map(|key| format!("{} left  {}", text(key, "remaining"), text(key, "key")));
        let allows = limit.get("rate").and_then(Value::as_str).map(str::to_owned);
        let allows = allows.unwrap_or_else(|| format!("{} at once", text(limit, "most")));
        let marks = match (limit.get("enforced"), limit.get("store_up")) {
            (Some(Value::Bool(false)), _) => "  not enforced",
            (_, Some(Value::Bool(false))) => "  store down",
            _ => "",
        };
        let line = Line::of(Look::Plain, format!("  {name:<18} {allows:>11} {:>8} ", rate(taken)));
        let line = line.and(look, format!("{:>10} ", rate(refused)));
        let fullest = fullest.unwrap_or_else(|| "-".to_owned());
        let line =
            line.and(Look::Plain, format!("{:>7}  {fullest}", text(limit, "keys"))).and(Look::Warn, marks);
        Line { dull: look == Look::Plain && marks.is_empty(), ..line }
    };
    let title = title("LIMIT                     ALLOWS  TAKEN/S  REFUSED/S    KEYS  FULLEST KEY");
    Part { title, lines: list(last, "limits").iter().map(limit).collect() }
}

fn refusals(last: &Value) -> Part {
    let traffic = at(last, &["traffic"]);
    let refusal = |refusal: &Value| {
        let status = number(refusal, "status");
        let look = if status >= 500 { Look::Bad } else { Look::Warn };
        let status = if status == 0 { "-".to_owned() } else { status.to_string() };
        let part = |key: &str| {
            let name = refusal.get(key).and_then(Value::as_str);
            name.map(|name| format!("  {key} {name}")).unwrap_or_default()
        };
        let ago = span(number(refusal, "last_seconds_ago"));
        Line::of(Look::Plain, format!("  {:<10} {:>8}x  ", format!("{ago} ago"), text(refusal, "count")))
            .and(look, format!("{status:<3} {}", text(refusal, "flag")))
            .and(Look::Plain, ["route", "limit", "upstream", "listener"].map(part).concat())
    };
    Part {
        title: title("REFUSED LATELY"),
        lines: list(traffic, "recent_refusals").iter().map(refusal).collect(),
    }
}

fn title(text: &str) -> Line {
    Line::of(Look::Strong, text)
}

/// What stands at this place; null where there is none.
fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// All counts of an object together.
fn all(counts: &Value) -> u64 {
    counts.as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
}

fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// As `90 s`, `15 min`, `3 h` or `12 d`.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    "#".repeat(filled) + &".".repeat(BAR - filled)
}

const BAR: usize = 10;
const REFUSALS: [&str; 4] = ["refused", "missing_denied", "store_denied", "would_refuse"];
