//! `tollgate prove`: whether an upstream really verifies the tokens that it gets.
//!
//! Sends one request many times to the upstream's own address, each time with another
//! token, and compares what is let in with what should be. Always holds: the request
//! is the operator's own each time (only its token differs), and nothing but the
//! address that was given is reached.

mod mint;
mod must;
mod probe;
mod probes;
mod report;
mod request;
mod setting;

use std::{io, process::ExitCode, time::Duration};

use mint::Mint;
use probes::PROBES;
use report::{Report, Row};
use request::Sender;
use setting::Setting;

use super::{
    FAILED, USAGE,
    http::{Client, Url},
    print, tell, time,
};

/// Finds out whether an upstream verifies its tokens.
#[derive(Debug, clap::Args)]
pub struct Prove {
    /// The upstream's own address, as `10.0.1.10:8080` or `https://orders.internal:8443`;
    /// not a gateway's, which would sign by itself.
    address: Url,
    #[command(flatten)]
    setting: setting::Arguments,
    #[command(flatten)]
    request: request::Arguments,
    /// The upstream does not remember which tokens it saw: then a bound token that
    /// comes twice may be let in.
    #[arg(long)]
    allow_replay: bool,
    /// Whom to trust for https: a PEM file. Default: the system's authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// The name in the upstream's certificate, if it is not the address's.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// For each step of each request.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = time::duration)]
    timeout: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Prove {
    /// Exits 0 when everything is as it should be, else 1; 2 for a name that nothing
    /// has, 78 for a configuration or keys that cannot be used.
    pub fn run(&self) -> io::Result<ExitCode> {
        let setting = match Setting::new(&self.setting) {
            Ok(setting) => setting,
            Err(refused) => return Ok(tell(&refused.text, refused.code)),
        };
        let client = Client {
            ca: self.ca.clone(),
            server_name: self.server_name.clone(),
            patience: self.timeout.max(Duration::from_millis(1)),
        };
        let request = match self.request.fill(&self.address, &setting) {
            Ok(request) => request,
            Err(why) => return Ok(tell(&format!("error: {why}\n"), USAGE)),
        };
        let mint = Mint::new(&setting, request.clone(), self.allow_replay)?;
        let sender = Sender { client, url: &self.address, request: &request };
        let report = match self.probe(&setting, &mint, &sender) {
            Ok(report) => report,
            Err(why) => return Ok(tell(&format!("error: {}: {why}\n", self.address), FAILED)),
        };
        if self.json {
            print(&format!("{:#}\n", serde_json::to_value(&report)?))?;
        } else {
            print(&report.table())?;
        }
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    /// Each probe, in order. Where a good token is not let in, refusals prove nothing:
    /// then nothing more is sent.
    fn probe(&self, setting: &Setting, mint: &Mint<'_>, sender: &Sender<'_>) -> io::Result<Report> {
        let mut rows: Vec<Row> = Vec::with_capacity(PROBES.len());
        for probe in PROBES {
            let good = rows.first().and_then(Row::status);
            let row = probe.run(mint, sender, good)?;
            let is_hopeless = rows.is_empty() && !row.ok;
            rows.push(row);
            if is_hopeless {
                break;
            }
        }
        Ok(Report::new(self.address.to_string(), setting.signer.name.to_string(), rows))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_says_how_many_probes_there_are() {
        let mut arguments = crate::cli::Arguments::command();
        let help = arguments.find_subcommand_mut("prove").unwrap().render_long_help().to_string();

        let sent: usize = PROBES.iter().map(|probe| if probe.is_replay { 2 } else { 1 }).sum();
        assert!(help.contains(&format!("up to {sent} times")), "{help}");
    }
}
