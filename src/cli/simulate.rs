//! `tollgate simulate`: what would become of the traffic if something failed.
//!
//! Owns where the answer comes from (the running gateway, or a file) and what it
//! has to hold; the answer itself is the data path's own. Always holds: the same
//! question of the same state gets the same answer.

mod assertion;
mod offline;
mod table;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use assertion::Assertion;

use super::{AdminSocket, FAILED, USAGE, client, print, status::nobody, tell};
use crate::{
    config::types::{EndpointAddress, Name},
    snapshot::{Question, Report},
    upstream::Simulation,
};

/// Shows what would become of the traffic if something failed.
#[derive(Debug, clap::Args)]
pub struct Simulate {
    #[command(flatten)]
    socket: AdminSocket,
    /// Ask this file instead of the running gateway: every endpoint is healthy, a name
    /// in DNS stands for one endpoint, and an `endpoints_file` is read. Without it the
    /// gateway is asked, whatever TOLLGATE_CONFIG says.
    #[arg(long, short, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// One upstream alone.
    #[arg(long)]
    upstream: Option<Name>,
    /// A zone whose endpoints all fail, as `use1-az1`; may be given again.
    #[arg(long, value_name = "ZONE")]
    zone_down: Vec<Name>,
    /// A region whose endpoints all fail; may be given again.
    #[arg(long, value_name = "REGION")]
    region_down: Vec<Name>,
    /// An endpoint that fails, as `10.0.1.10:8080`; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    endpoint_down: Vec<EndpointAddress>,
    /// A zone that is taken out by hand; may be given again.
    #[arg(long, value_name = "ZONE")]
    zone_drain: Vec<Name>,
    /// Looks from this zone instead of the gateway's own.
    #[arg(long, value_name = "ZONE")]
    from_zone: Option<Name>,
    /// Requests per second to each upstream: shows how many each endpoint gets.
    #[arg(long)]
    rps: Option<f64>,
    /// How many requests are drawn, to prove the shares.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    requests: u32,
    /// What has to hold afterwards, as `max_share<0.6`, `spill<=30%`, `panic==0`, of
    /// every upstream shown; else the exit code is 1. Figures: max_share,
    /// max_zone_share, spill, region_spill, panic, max_load, unserved, to_dead.
    #[arg(long, value_name = "EXPRESSION")]
    assert: Vec<Assertion>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Simulate {
    /// Exits 0; 1 when an assertion does not hold, 2 for what nothing is called, 75
    /// when no gateway listens, 78 for a file that cannot be used.
    pub fn run(&self) -> io::Result<ExitCode> {
        let mut report = match &self.config {
            Some(file) => match offline::ask(file, &self.question()) {
                Ok(report) => report,
                Err(refused) => return Ok(tell(&refused.to_string(), refused.code())),
            },
            None => match self.ask()? {
                Ok(report) => report,
                Err(code) => return Ok(code),
            },
        };
        report.upstreams.iter_mut().for_each(|upstream| self.scale(upstream));
        let broken = self.broken(&report);
        if self.json {
            let told = serde_json::json!({ "report": report, "broken": broken });
            print(&format!("{told:#}\n"))?;
        } else {
            print(&table::of(&report))?;
        }
        let lines: String = broken.iter().map(|line| format!("does not hold: {line}\n")).collect();
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { tell(&lines, FAILED) })
    }

    fn question(&self) -> Question {
        let names = |list: &[Name]| list.iter().map(ToString::to_string).collect();
        Question {
            upstream: self.upstream.as_ref().map(ToString::to_string),
            zones_down: names(&self.zone_down),
            regions_down: names(&self.region_down),
            endpoints_down: self.endpoint_down.iter().map(ToString::to_string).collect(),
            zones_drained: names(&self.zone_drain),
            from_zone: self.from_zone.as_ref().map(ToString::to_string),
            requests: self.requests,
        }
    }

    /// The running gateway's answer, or the exit code of who got none.
    fn ask(&self) -> io::Result<Result<Report, ExitCode>> {
        let path = format!("/simulate?{}", self.question().query());
        let answer = match client::ask(&self.socket.socket, "POST", &path, PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(Err(nobody(&self.socket.socket))),
            Err(why) => return Err(why),
        };
        Ok(match answer.status {
            200 => Ok(serde_json::from_str(&answer.body)?),
            404 => Err(tell(&format!("error: {}", answer.body), USAGE)),
            _ => Err(tell(&answer.body, FAILED)),
        })
    }

    fn scale(&self, upstream: &mut Simulation) {
        let Some(rps) = self.rps else { return };
        let scaled = |share: f64| Some((share * rps * 10.0).round() / 10.0);
        upstream.zones.iter_mut().for_each(|zone| zone.rps = scaled(zone.after));
        upstream.endpoints.iter_mut().for_each(|endpoint| endpoint.rps = scaled(endpoint.after));
    }

    /// Each assertion that does not hold, with the upstream and the figure.
    fn broken(&self, report: &Report) -> Vec<String> {
        let of = |upstream: &Simulation| -> Vec<String> {
            let figure =
                |assertion: &Assertion| Some((assertion.clone(), upstream.after.figure(assertion.figure)?));
            let figures =
                self.assert.iter().filter_map(figure).filter(|(assertion, value)| !assertion.holds(*value));
            figures
                .map(|(assertion, value)| format!("{}: {}", upstream.upstream, assertion.broken_by(value)))
                .collect()
        };
        report.upstreams.iter().flat_map(of).collect()
    }
}

/// A million draws of a hundred upstreams take half a minute.
const PATIENCE: Duration = Duration::from_secs(120);
