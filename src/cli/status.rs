//! `tollgate status`: what the running gateway does, as a table or JSON.

use std::{io, path::Path, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, USAGE, client, print, tell, time, watch};

/// Shows what the running gateway does.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
    /// Print the configuration that serves now, with every default.
    #[arg(long, conflicts_with = "json")]
    config: bool,
    /// Look again so often (2s), until Ctrl-C: rates, endpoints, limits and
    /// what was refused lately.
    ///
    /// On a terminal one screen that is drawn anew; else, or with TERM=dumb, one block of
    /// text each time, or with --json one line of JSON. Goes on looking when the gateway
    /// is gone, and finds the one that follows it.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", conflicts_with = "config")]
    #[arg(value_parser = time::up_to_an_hour)]
    watch: Option<u16>,
}

impl Status {
    /// Exits 0 or 75; while it watches, 0 alone.
    pub fn run(&self) -> io::Result<ExitCode> {
        if let Some(seconds) = self.watch {
            let every = Duration::from_secs(seconds.into());
            return watch::run(&self.socket.socket, every, self.json);
        }
        let path = if self.config { "/config" } else { "/status" };
        let answer = match client::ask(&self.socket.socket, "GET", path, Duration::from_secs(10)) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        if answer.status != 200 {
            return Ok(tell(&answer.body, FAILED));
        }
        if self.json || self.config {
            return print(&format!("{}\n", answer.body.trim_end()));
        }
        print(&table(&serde_json::from_str(&answer.body)?))
    }
}

/// Shows what the gateway answers at a path: as it came, or as a table. Exits 0, 1 when
/// it refuses, 2 for a name that nothing has, or 75.
pub fn show(
    socket: &Path,
    path: &str,
    patience: Duration,
    table: Option<fn(&Value) -> String>,
) -> io::Result<ExitCode> {
    let answer = match client::ask(socket, "GET", path, patience) {
        Ok(answer) => answer,
        Err(why) if client::is_absent(&why) => return Ok(nobody(socket)),
        Err(why) => return Err(why),
    };
    let code = if answer.status == 404 { USAGE } else { FAILED };
    match (answer.status, table) {
        (200, None) => print(&format!("{}\n", answer.body.trim_end())),
        (200, Some(table)) => print(&table(&serde_json::from_str(&answer.body)?)),
        _ => Ok(tell(&format!("error: {}\n", answer.body.trim_end()), code)),
    }
}

/// Says that no gateway listens at the socket.
pub fn nobody(socket: &Path) -> ExitCode {
    let text = format!(
        "error: no gateway listens at {}; start one with `tollgate run`, or name its socket with --socket\n",
        socket.display()
    );
    tell(&text, NOT_NOW)
}

/// What may take long to end, and when it is cut in a drain.
fn streams_line(status: &Value) -> String {
    let seconds = |key| status.get(key).and_then(Value::as_u64);
    let mut line = format!("websockets {}  streams {}", text(status, "websockets"), text(status, "streams"));
    if let (Some(requests), Some(streams)) =
        (seconds("requests_cut_in_seconds"), seconds("streams_cut_in_seconds"))
    {
        line.push_str(&format!("  requests cut in {requests} s  streams cut in {streams} s"));
    }
    line + "\n"
}

fn table(status: &Value) -> String {
    let mut out = format!(
        "tollgate {}  pid {}  up {} s  generation {}  config {}\nconnections {}  routes {}  zone {}{}\n",
        text(status, "version"),
        text(status, "pid"),
        text(status, "uptime_seconds"),
        text(status, "generation"),
        text(status, "config_hash").get(..12).unwrap_or("-"),
        text(status, "connections"),
        text(status, "routes"),
        text(status, "zone"),
        if status.get("draining") == Some(&Value::Bool(true)) { "  DRAINING" } else { "" }
    );
    if let Some(seconds) = status.get("confirm_within_seconds").and_then(Value::as_u64) {
        out.push_str(&format!("UNCONFIRMED  goes back in {seconds} s unless `tollgate confirm` follows\n"));
    }
    if let Some(former) = status.get("former").filter(|former| former.is_object()) {
        let (generation, hash) = (text(former, "generation"), text(former, "config_hash"));
        let hash = hash.get(..12).unwrap_or("-");
        out.push_str(&format!("rollback to  generation {generation}  config {hash}\n"));
    }
    out.push_str(&streams_line(status));
    let drained = list(status, "drained_zones");
    if !drained.is_empty() {
        let names: Vec<_> = drained.iter().filter_map(Value::as_str).collect();
        out.push_str(&format!("drained zones {}\n", names.join(", ")));
    }
    out.push_str(&status.get("fleet").map(fleet_lines).unwrap_or_default());
    out.push_str(&format!("\n{:<24} {:<24} TLS\n", "LISTENER", "ADDRESS"));
    for listener in list(status, "listeners") {
        let tls = if listener.get("tls") == Some(&Value::Bool(true)) { "yes" } else { "no" };
        out.push_str(&format!("{:<24} {:<24} {tls}\n", text(&listener, "name"), text(&listener, "address")));
    }
    list(status, "upstreams").iter().for_each(|upstream| out.push_str(&upstream_table(upstream)));
    let certificates = list(status, "certificates");
    if !certificates.is_empty() {
        out.push_str(&format!("\n{:<24} {:<38} EXPIRES IN\n", "LISTENER", "CERTIFICATE"));
    }
    for certificate in certificates {
        out.push_str(&format!(
            "{:<24} {:<38} {} days\n",
            text(&certificate, "listener"),
            text(&certificate, "name"),
            text(&certificate, "expires_in_days")
        ));
    }
    out.push_str(&ends(status, "upstream_certificates", "UPSTREAM", "expires_in_seconds"));
    out.push_str(&ends(status, "revocation_lists", "LISTENER", "renewal_in_seconds"));
    for misfit in list(status, "certificates_not_taken") {
        let (problem, seconds) = (text(&misfit, "problem"), text(&misfit, "for_seconds"));
        out.push_str(&format!("NOT TAKEN for {seconds} s: {problem}\n"));
    }
    list(status, "key_sets").iter().for_each(|set| out.push_str(&key_set_line(set)));
    out
}

/// As `KEY SET idp  2 keys  stale  age 40 s  last error timeout  https://login.test/jwks`.
fn key_set_line(set: &Value) -> String {
    let age = set.get("age_seconds").and_then(Value::as_u64);
    let age = age.map(|age| format!("  age {age} s")).unwrap_or_default();
    let error = set.get("last_error").and_then(Value::as_str);
    let error = error.map(|error| format!("  last error {error}")).unwrap_or_default();
    let (name, keys, state) = (text(set, "authenticator"), text(set, "keys"), text(set, "state"));
    format!("KEY SET {name}  {keys} keys  {state}{age}{error}  {}\n", text(set, "from"))
}

/// What ends within hours, as a mesh's certificates do.
fn ends(status: &Value, key: &str, of: &str, seconds: &str) -> String {
    let rows = list(status, key);
    if rows.is_empty() {
        return String::new();
    }
    let what = if seconds == "renewal_in_seconds" {
        ("REVOKED CERTIFICATES", "DUE IN")
    } else {
        ("SHOWS", "EXPIRES IN")
    };
    let mut out = format!("\n{of:<24} {:<38} {}\n", what.0, what.1);
    for row in rows {
        let left = row.get(seconds).and_then(Value::as_i64).unwrap_or_default();
        let name = text(&row, &of.to_ascii_lowercase());
        out.push_str(&format!("{name:<24} {:<38} {}\n", text(&row, "name"), left_of(left)));
    }
    out
}

/// As `3 days`, `5 h`, `40 s`, or `over`.
fn left_of(seconds: i64) -> String {
    match seconds {
        ..=0 => "over".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// As `fleet  3 gateways` and `store  redis.internal:6379  up 12 s  exchange 0.4 ms`.
fn fleet_lines(fleet: &Value) -> String {
    let gateways = fleet.get("gateways").and_then(Value::as_u64);
    let mut out = gateways.map(|gateways| format!("fleet  {gateways} gateways\n")).unwrap_or_default();
    if let Some(store) = fleet.get("store").filter(|store| store.is_object()) {
        out.push_str(&store_line(store));
    }
    out
}

pub(super) fn store_line(store: &Value) -> String {
    let took = store.get("exchange_ms").and_then(Value::as_f64);
    let took = took.map(|took| format!("  exchange {took:.1} ms")).unwrap_or_default();
    let error = store.get("error").and_then(Value::as_str);
    let error = error.map(|error| format!("  last error {error}")).unwrap_or_default();
    let (addresses, state) = (text(store, "addresses"), text(store, "state"));
    format!("store  {addresses}  {state} {} s{took}{error}\n", text(store, "for_seconds"))
}

fn upstream_table(upstream: &Value) -> String {
    let panic = if upstream.get("panic") == Some(&Value::Bool(true)) { "  PANIC" } else { "" };
    let tiers = list(upstream, "tiers");
    let tier = |tier: &Value| format!("{} {}", text(tier, "tier"), percent(tier, "share"));
    let mut out = format!(
        "\nUPSTREAM {}  {}  ejections {}{panic}\n",
        text(upstream, "name"),
        tiers.iter().map(tier).collect::<Vec<_>>().join(", "),
        text(upstream, "ejections")
    );
    list(upstream, "sources").iter().for_each(|source| out.push_str(&source_line(source)));
    out.push_str(&format!(
        "  {:<24} {:<12} {:<12} {:>6} {:>7} {:<12} {:>8} IN FLIGHT\n",
        "ENDPOINT", "ZONE", "TIER", "WEIGHT", "SHARE", "STATE", "EJECTED"
    ));
    for endpoint in list(upstream, "endpoints") {
        let ejected = endpoint.get("ejected_seconds").and_then(Value::as_f64);
        out.push_str(&format!(
            "  {:<24} {:<12} {:<12} {:>6} {:>7} {:<12} {:>8} {}\n",
            text(&endpoint, "address"),
            text(&endpoint, "zone"),
            text(&endpoint, "tier"),
            text(&endpoint, "weight"),
            percent(&endpoint, "share"),
            text(&endpoint, "state"),
            ejected.map_or("-".to_owned(), |left| format!("{left:.0} s")),
            text(&endpoint, "in_flight")
        ));
    }
    out
}

/// As `orders.internal:8080  3 endpoints  stale 12 s  next look in 4 s  last error timeout`.
fn source_line(source: &Value) -> String {
    let endpoints = source.get("endpoints").and_then(Value::as_u64).unwrap_or_default();
    let since = source.get("failing_seconds").and_then(Value::as_u64);
    let since = since.map(|seconds| format!(" {seconds} s")).unwrap_or_default();
    let next = source.get("next_look_seconds").and_then(Value::as_f64).unwrap_or_default();
    let error = source.get("last_error").and_then(Value::as_str);
    let error = error.map(|error| format!("  last error {error}")).unwrap_or_default();
    let (name, state) = (text(source, "source"), text(source, "state"));
    format!("  {name}  {endpoints} endpoints  {state}{since}  next look in {next:.0} s{error}\n")
}

pub(super) fn percent(value: &Value, key: &str) -> String {
    let share = value.get(key).and_then(Value::as_f64).unwrap_or_default();
    format!("{:.1}%", share * 100.0)
}

pub(super) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn list(value: &Value, key: &str) -> Vec<Value> {
    value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}
