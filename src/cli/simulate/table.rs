//! A simulated split as a table of at most 100 columns.

use crate::{
    snapshot::Report,
    upstream::{EndpointSplit, Simulation, Split, ZoneSplit},
};

/// The whole answer.
pub fn of(report: &Report) -> String {
    let zone = report.zone.as_deref().unwrap_or("an unknown zone");
    let mut out = format!("seen from {zone}\n");
    report.upstreams.iter().for_each(|upstream| out.push_str(&one(upstream, report.requests)));
    out
}

fn one(upstream: &Simulation, requests: u32) -> String {
    let mut out = format!("\nUPSTREAM {}\n", upstream.upstream);
    out.push_str(&split("before", &upstream.before));
    upstream.at_once.iter().for_each(|at_once| out.push_str(&split("at once", at_once)));
    out.push_str(&split("after", &upstream.after));
    let rps = if upstream.zones.iter().any(|zone| zone.rps.is_some()) { "RPS" } else { "" };
    let head = ["ZONE", "TIER", "ENDPOINT", "WEIGHT", "BEFORE", "AFTER", "LOAD", rps, "STATE"];
    out.push_str(&row(&head.map(str::to_owned)));
    for zone in &upstream.zones {
        out.push_str(&row(&zone_cells(zone)));
        let is_there = |e: &&EndpointSplit| e.zone.as_deref().unwrap_or("-") == zone.zone;
        upstream.endpoints.iter().filter(is_there).for_each(|e| out.push_str(&row(&endpoint_cells(e))));
    }
    upstream.notes.iter().for_each(|note| out.push_str(&format!("  note: {note}\n")));
    if requests > 0 {
        let off = upstream.drawn_off * 100.0;
        out.push_str(&format!("  {requests} requests drawn: no endpoint more than {off:.1} points off\n"));
    }
    out
}

fn split(when: &str, split: &Split) -> String {
    let tiers: Vec<_> =
        split.tiers.iter().map(|tier| format!("{} {}", tier.tier, percent(tier.share))).collect();
    let panic = if split.panic { "  PANIC" } else { "" };
    let unserved =
        if split.unserved > 0.0 { format!("  unserved {}", percent(split.unserved)) } else { String::new() };
    let dead =
        if split.to_dead > 0.0 { format!("  to_dead {}", percent(split.to_dead)) } else { String::new() };
    format!(
        "  {when:<8} {}{panic}{unserved}{dead}\n  {:<8} max_share {}  max_zone_share {}  spill {}  region_spill {}  max_load {:.2}\n",
        tiers.join(", "),
        "",
        percent(split.max_share),
        percent(split.max_zone_share),
        percent(split.spill),
        percent(split.region_spill),
        split.max_load
    )
}

fn zone_cells(zone: &ZoneSplit) -> [String; 9] {
    [
        zone.zone.clone(),
        String::new(),
        format!("all {}", zone.endpoints),
        zone.weight.to_string(),
        percent(zone.before),
        percent(zone.after),
        String::new(),
        zone.rps.map_or(String::new(), |rps| format!("{rps:.1}")),
        String::new(),
    ]
}

fn endpoint_cells(endpoint: &EndpointSplit) -> [String; 9] {
    [
        String::new(),
        endpoint.tier.clone(),
        endpoint.address.clone(),
        endpoint.weight.to_string(),
        percent(endpoint.before),
        percent(endpoint.after),
        format!("{:.2}", endpoint.load),
        endpoint.rps.map_or(String::new(), |rps| format!("{rps:.1}")),
        endpoint.state.clone(),
    ]
}

fn row([zone, tier, endpoint, weight, before, after, load, rps, state]: &[String; 9]) -> String {
    let line = format!(
        "  {zone:<12} {tier:<10} {endpoint:<24} {weight:>6} {before:>7} {after:>7} {load:>6} {rps:>8} {state}"
    );
    line.trim_end().to_owned() + "\n"
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}
