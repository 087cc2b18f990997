//! An open-loop load generator: so many requests a second, whatever the answers do.
//!
//! Owns the command line, the order of a run and its exit code. [`schedule`] says when
//! a request is due, [`drive`] sends it, [`report`] judges. A closed loop (wrk, ab)
//! asks less while it is answered late and so never sees the queue that its users
//! would stand in; here latency counts from the instant that a request was due at.
//!
//! What other generators do not do, and a gateway behind an NLB needs: connections
//! begin with a PROXY protocol header of whose client and VPC endpoint it is, and
//! thousands may do nothing beside.

use std::{io, process::ExitCode, sync::Arc};

use clap::Parser;
use ipnet::Ipv4Net;
use tollgate::config::types::{Span, VpcEndpointId};

use crate::{
    drive::Plan,
    idle::Held,
    report::{Gates, Report},
    schedule::Schedule,
    senders::Senders,
    target::{Request, Target},
};

mod connection;
mod drive;
mod histogram;
mod idle;
#[path = "../origin/limits.rs"]
mod limits;
mod report;
mod schedule;
mod senders;
mod tally;
mod target;

/// Sends requests at a fixed rate, prints one line of JSON, and exits with 1 when the
/// rate was not held, a request failed or took too long.
#[derive(Parser)]
#[command(name = "load")]
struct Arguments {
    #[command(flatten)]
    request: Request,
    /// Requests a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how long they are due
    #[arg(long, default_value = "10s")]
    duration: Span,
    /// The most that may be under way; all are opened before the first request
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// A connection is opened anew after so many; with 1 its handshake is in the latency; 0: never
    #[arg(long, default_value_t = 0)]
    requests_per_connection: u64,
    /// For a request; one that was not sent for so long after it was due never is
    #[arg(long, default_value = "10s")]
    timeout: Span,
    /// The rate is held while 99 of 100 are sent no later than this after they were due
    #[arg(long, default_value = "100ms")]
    late: Span,
    /// Threads that read and write; one does some 10,000 requests a second
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[command(flatten)]
    from: From,
    /// Connections beside, that ask once and then do nothing
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Those never say anything, not even once, and may be ended for it
    #[arg(long, requires = "idle")]
    silent: bool,
    #[command(flatten)]
    gates: Limits,
}

/// PROXY protocol, version 2.
#[derive(clap::Args)]
struct From {
    /// Connections say that they are from its addresses in turn, as 10.1.0.0/16
    #[arg(long, value_name = "NETWORK")]
    from: Option<Ipv4Net>,
    /// And through this VPC endpoint; several take turns
    #[arg(long = "vpce", value_name = "ID")]
    endpoints: Vec<VpcEndpointId>,
}

/// What has to hold.
#[derive(clap::Args)]
struct Limits {
    /// The statuses that are good answers
    #[arg(long, value_delimiter = ',', default_value = "200")]
    statuses: Vec<u16>,
    /// So many requests may have none
    #[arg(long, default_value_t = 0)]
    failures: u64,
    /// Half of the requests may take so long
    #[arg(long)]
    p50: Option<Span>,
    /// 99 of 100
    #[arg(long)]
    p99: Option<Span>,
    /// 999 of 1000
    #[arg(long)]
    p999: Option<Span>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    limits::raise_open_files();
    match run(arguments) {
        Ok(report) if report.passed => ExitCode::SUCCESS,
        Ok(report) => {
            report.wrong.iter().for_each(|what| eprintln!("load: {what}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does it and prints what was seen; an error is one of the command line's.
fn run(arguments: Arguments) -> io::Result<Report> {
    let limit = |most: Option<Span>| most.map(Span::duration);
    let gates = Gates {
        p50: limit(arguments.gates.p50),
        p99: limit(arguments.gates.p99),
        p999: limit(arguments.gates.p999),
        failures: arguments.gates.failures,
    };
    let endpoints = arguments.from.endpoints.iter().map(ToString::to_string).collect();
    let plan = Arc::new(Plan {
        target: Target::new(&arguments.request, Senders::new(arguments.from.from, endpoints))?,
        schedule: Schedule::new(arguments.rate, arguments.duration.duration()),
        connections: arguments.connections.max(1),
        requests_per_connection: arguments.requests_per_connection,
        timeout: arguments.timeout.duration(),
        late: arguments.late.duration(),
        statuses: arguments.gates.statuses,
    });
    let threads = arguments.threads.max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let report = runtime.block_on(async {
        let held = Held::open(&plan, arguments.idle, arguments.silent).await;
        let tally = drive::drive(&plan).await;
        Report::new(plan.schedule, &tally, held.close(), &gates)
    });
    println!("{}", serde_json::to_string(&report)?);
    Ok(report)
}
