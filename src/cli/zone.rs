//! `tollgate zone drain | restore | list`: takes zones out by hand, and back in.

use std::{io, process::ExitCode, time::Duration};

use clap::Subcommand;
use serde_json::Value;

use super::{
    AdminSocket, FAILED, USAGE, client, count, print,
    status::{list, nobody, percent, text},
    tell,
};
use crate::config::types::Name;

/// Takes zones out by hand, and back in.
#[derive(Debug, clap::Args)]
pub struct Zone {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take a zone's endpoints out of this gateway's tiers, in panic too.
    ///
    /// Requests on their way finish; new ones go elsewhere at once. Refused, with
    /// the figures, when the rest would be overloaded: an upstream would have less
    /// than `panic_below` of its weight in the region left, or nothing at all, or
    /// would begin to send to another region. It survives a reload and not a
    /// restart, and says nothing to other gateways: tell each of them.
    Drain {
        /// The availability zone's id, as `use1-az1`.
        zone: Name,
        /// Take it out even if the rest will be overloaded.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        how: How,
    },
    /// Take a zone's endpoints back in.
    ///
    /// Their share rises over `slow_start`; unhealthy ones stay out.
    Restore {
        /// The availability zone's id, as `use1-az1`.
        zone: Name,
        #[command(flatten)]
        how: How,
    },
    /// Show the zones this gateway knows, by upstream.
    List {
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Zone {
    /// Exits 0, 1 when it is refused, 2 for an unknown zone, or 75.
    pub fn run(&self) -> io::Result<ExitCode> {
        let (how, method, path) = match &self.what {
            What::Drain { zone, force, how } => {
                (how, "POST", format!("/zone/drain?zone={zone}{}", if *force { "&force" } else { "" }))
            }
            What::Restore { zone, how } => (how, "POST", format!("/zone/restore?zone={zone}")),
            What::List { how } => (how, "GET", "/zones".to_owned()),
        };
        let answer = match client::ask(&how.socket.socket, method, &path, PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(nobody(&how.socket.socket)),
            Err(why) => return Err(why),
        };
        if how.json && matches!(answer.status, 200 | 409) {
            print(&format!("{}\n", answer.body.trim_end()))?;
            return Ok(ExitCode::from(if answer.status == 200 { 0 } else { FAILED }));
        }
        let told = || serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
        match answer.status {
            200 => print(&self.done(&told())),
            409 => Ok(tell(&format!("refused: {}\n", text(&told(), "refused")), FAILED)),
            404 => Ok(tell(&format!("error: {}", answer.body), USAGE)),
            _ => Ok(tell(&answer.body, FAILED)),
        }
    }

    fn done(&self, told: &Value) -> String {
        let changed = told.get("changed") == Some(&Value::Bool(true));
        let zone = text(told, "zone");
        match &self.what {
            What::List { .. } => table(told),
            What::Drain { .. } if !changed => format!("{zone} is drained already\n"),
            What::Restore { .. } if !changed => format!("{zone} is not drained\n"),
            What::Drain { .. } => format!(
                "{zone} is drained: it gets no new requests until `tollgate zone restore {zone}` or a restart\n{}",
                effects(told)
            ),
            What::Restore { .. } => format!("{zone} is back: its endpoints rise over `slow_start`\n"),
        }
    }
}

/// What is left of each upstream.
fn effects(told: &Value) -> String {
    let line = |effect: &Value| {
        let near = effect.get("near").is_some_and(Value::is_number);
        let near = if near {
            format!(", {} of its weight in the region", percent(effect, "near"))
        } else {
            String::new()
        };
        let why = effect.get("overload").and_then(Value::as_str).map_or("", |_| "  OVERLOADED");
        format!(
            "  {}: {} left in service{near}{why}\n",
            text(effect, "upstream"),
            count(text(effect, "in_service"), "endpoint")
        )
    };
    list(told, "upstreams").iter().map(line).collect()
}

fn table(zones: &Value) -> String {
    let mut out = format!(
        "{:<16} {:<20} {:>9} {:>10} {:>9} {:>8} {:>8} {:>7}\n",
        "ZONE", "UPSTREAM", "ENDPOINTS", "IN SERVICE", "UNHEALTHY", "EJECTED", "DRAINED", "SHARE"
    );
    for zone in zones.as_array().into_iter().flatten() {
        let flag = |key| zone.get(key) == Some(&Value::Bool(true));
        let mark = if flag("own") { "*" } else { "" };
        let name = format!("{}{mark}", text(zone, "zone"));
        let upstreams = list(zone, "upstreams");
        if upstreams.is_empty() {
            out.push_str(&format!("{name:<16} {:<20}\n", if flag("drained") { "- (drained)" } else { "-" }));
        }
        for upstream in upstreams {
            let unhealthy = ["unhealthy", "unproven", "unreachable"]
                .iter()
                .filter_map(|key| upstream.get(*key)?.as_u64())
                .sum::<u64>();
            out.push_str(&format!(
                "{name:<16} {:<20} {:>9} {:>10} {unhealthy:>9} {:>8} {:>8} {:>7}\n",
                text(&upstream, "upstream"),
                text(&upstream, "endpoints"),
                text(&upstream, "in_service"),
                text(&upstream, "ejected"),
                text(&upstream, "drained"),
                percent(&upstream, "share")
            ));
        }
    }
    out + "* the gateway's own zone\n"
}

const PATIENCE: Duration = Duration::from_secs(30);
