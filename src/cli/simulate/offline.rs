//! Asks a file what would be: the snapshot that a start would build, with every
//! endpoint healthy.
//!
//! Nothing is looked up: a name in DNS stands for one endpoint, whose address is
//! made up here and shown as the name.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Instant,
};

use crate::{
    cli::{BAD_CONFIG, USAGE},
    config::{Config, Problems, Unknown, types::EndpointAddress},
    live::LiveState,
    snapshot::{Question, Report, Snapshot},
    telemetry::Metrics,
    upstream::{EndpointSource, FoundSet, Health},
};

/// Why there is no answer.
pub enum Refused {
    /// The file cannot be used.
    Problems(Problems),
    /// Nothing in it is called so.
    Unknown(Unknown),
}

impl Refused {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Problems(_) => BAD_CONFIG,
            Self::Unknown(_) => USAGE,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.iter().try_for_each(|problem| writeln!(f, "{problem}")),
            Self::Unknown(why) => writeln!(f, "error: {why}"),
        }
    }
}

/// What would be with this file.
pub fn ask(file: &Path, question: &Question) -> Result<Report, Refused> {
    let Ok(metrics) = Metrics::new() else { return Err(Refused::Problems(Problems::default())) };
    let (live, mut names) = (LiveState::default(), BTreeMap::new());
    let learn = |config: &Config| names = stand_ins(config, &live);
    let built = Snapshot::load(file, 0, &live, &metrics, learn);
    let (snapshot, _) = built.map_err(Refused::Problems)?;
    let endpoints = || snapshot.upstreams.iter().flat_map(|upstream| upstream.endpoints());
    endpoints().for_each(|endpoint| endpoint.assume(Health::Healthy));
    let address = |text: &String| names.iter().find(|(_, name)| *name == text).map(|(at, _)| at.to_string());
    let endpoints_down = question.endpoints_down.iter().map(|text| address(text).unwrap_or(text.clone()));
    let question = Question { endpoints_down: endpoints_down.collect(), ..question.clone() };
    let mut report = snapshot.simulate(&question, Instant::now()).map_err(Refused::Unknown)?;
    name(&mut report, &snapshot, &names);
    Ok(report)
}

/// An address for each name.
fn stand_ins(config: &Config, live: &LiveState) -> BTreeMap<SocketAddr, String> {
    let mut names = BTreeMap::new();
    let written = config.upstreams.iter().flat_map(|upstream| &upstream.spec.endpoints);
    for address in written.map(|endpoint| &endpoint.address) {
        let Some(source) = EndpointSource::of(address) else { continue };
        if live.found.knows(&source) {
            continue;
        }
        let port = if let EndpointAddress::Host(_, port) = address { *port } else { 0 };
        let nth = u32::try_from(names.len()).unwrap_or_default();
        let at = SocketAddr::from((Ipv4Addr::from(NOWHERE | nth), port));
        live.found.learn(&source, FoundSet::Addresses(vec![at]));
        names.insert(at, address.to_string());
    }
    names
}

/// Shows names instead of the addresses that stand for them, and says so.
fn name(report: &mut Report, snapshot: &Snapshot, names: &BTreeMap<SocketAddr, String>) {
    for upstream in &mut report.upstreams {
        let mut named = 0;
        for endpoint in &mut upstream.endpoints {
            let name = endpoint.address.parse().ok().and_then(|at: SocketAddr| names.get(&at));
            let Some(name) = name else { continue };
            endpoint.address.clone_from(name);
            named += 1;
        }
        if named > 0 {
            let note = format!("names in DNS are not looked up here ({named}): each stands for one endpoint");
            upstream.notes.push(note);
        }
        let spec = snapshot.config().upstreams.iter().find(|u| u.spec.name.as_str() == upstream.upstream);
        if spec.is_some_and(|u| u.spec.endpoints_file.is_some()) {
            upstream.notes.push("`endpoints_file` was not read: ask the running gateway".to_owned());
        }
        if snapshot.place().zone.is_none() && report.zone.is_none() {
            upstream.notes.push("the own zone is not known here: name one with --from-zone".to_owned());
        }
    }
}

/// 240.0.0.0/4 is nobody's (RFC 1112).
const NOWHERE: u32 = 0xf000_0000;
