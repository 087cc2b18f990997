//! `tollgate explain`: where a request would go, and why, from the running gateway
//! or from files alone.

mod table;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{AdminSocket, BAD_CONFIG, FAILED, USAGE, client, offline::Offline, print, tell};
use crate::{
    config::types::{Invalid, VpcEndpointId},
    gateway::explain::{Explanation, Question, explain},
};

/// Says what the gateway would do with a request, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// The request's host, as `api.example.com`.
    #[arg(long)]
    host: String,
    /// Its path and query, as they are sent.
    #[arg(long, default_value = "/")]
    path: String,
    /// Its method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A header field, as `X-Canary: 1`; may be given more than once.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(String, String)>,
    /// Whom the connection is from, after a PROXY header. Default: 127.0.0.1.
    #[arg(long, value_name = "CLIENT_ADDR")]
    from: Option<IpAddr>,
    /// The VPC endpoint that it comes through.
    #[arg(long, value_name = "VPCE_ID")]
    vpc_endpoint: Option<VpcEndpointId>,
    /// Who is taken to be authenticated, where anybody is asked. Without this, and without
    /// claims and scopes, what the header fields present is looked at.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// A claim that its token is taken to have, as `groups=admin`; may be given more than
    /// once, and several of one name are a list.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// A scope that it is taken to have; may be given more than once.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// It comes without TLS. Default: by TLS, where any listener has it.
    #[arg(long)]
    cleartext: bool,
    /// Ask this file instead of a running gateway: its endpoints are taken to be
    /// healthy, a name in DNS stands for one, and no socket is touched. Without it the
    /// gateway is asked, whatever TOLLGATE_CONFIG says.
    #[arg(long, short, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    #[command(flatten)]
    socket: AdminSocket,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Exits 0 whatever becomes of the request; 2 when no client could send it, 75
    /// when no gateway listens, 78 when the files cannot be used.
    pub fn run(&self) -> io::Result<ExitCode> {
        match &self.config {
            Some(file) => self.ask_files(file),
            None => self.ask_gateway(),
        }
    }

    fn question(&self) -> Question {
        Question {
            host: self.host.clone(),
            path: self.path.clone(),
            method: self.method.clone(),
            headers: self.headers.clone(),
            from: self.from,
            vpc_endpoint: self.vpc_endpoint.clone(),
            consumer: self.consumer.clone(),
            claims: self.claims.clone(),
            scopes: self.scopes.clone(),
            cleartext: self.cleartext,
        }
    }

    fn ask_gateway(&self) -> io::Result<ExitCode> {
        let body = serde_json::to_string(&self.question())?;
        let socket = &self.socket.socket;
        let answer = match client::post(socket, "/explain", &body, PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(socket)),
            Err(why) => return Err(why),
        };
        match answer.status {
            200 => self.show(&serde_json::from_str(&answer.body)?),
            400 => Ok(tell(&format!("error: {}\n", answer.body.trim_end()), USAGE)),
            _ => Ok(tell(&answer.body, FAILED)),
        }
    }

    fn ask_files(&self, file: &Path) -> io::Result<ExitCode> {
        let offline = match Offline::load(file) {
            Ok(offline) => offline,
            Err(problems) => return Ok(tell(&format!("{problems}\n"), BAD_CONFIG)),
        };
        match explain(&offline.snapshot, &self.question(), Instant::now()) {
            Ok(mut told) => {
                name(&mut told, &offline);
                self.show(&told)
            }
            Err(why) => Ok(tell(&format!("error: {why}\n"), USAGE)),
        }
    }

    fn show(&self, told: &Explanation) -> io::Result<ExitCode> {
        match self.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(told)?)),
            false => print(&table::draw(told)),
        }
    }
}

/// Shows names instead of the addresses that stand for them, and says so.
fn name(told: &mut Explanation, offline: &Offline) {
    for upstream in &mut told.upstreams {
        let endpoints = upstream.tiers.iter_mut().flat_map(|tier| &mut tier.endpoints);
        let addresses = endpoints.chain(&mut upstream.never).map(|endpoint| &mut endpoint.address);
        let hashed = upstream.hash.as_mut().and_then(|hash| hash.endpoint.as_mut());
        for address in addresses.chain(hashed) {
            let name = offline.name(address);
            name.into_iter().for_each(|name| address.clone_from(name));
        }
        let notes = offline.notes(&upstream.name).into_iter();
        told.notes.extend(notes.map(|note| format!("{}: {note}", upstream.name)));
    }
}

fn field(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        Invalid::new(format!("`{text}` is no header field; write name, colon and value, as `X-Canary: 1`"))
    })?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn claim(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Invalid::new(format!("`{text}` is no claim; write name, `=` and value, as `groups=admin`"))
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

/// 100,000 routes are looked through in well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  Where does this go, and why not to the canary?
    tollgate explain --host api.example.com --path /orders/7 --method POST --header 'X-Canary: 1'
  The same for a tenant behind PrivateLink:
    tollgate explain --host api.example.com --path /orders/7 --vpc-endpoint vpce-0123456789abcdef0
  The same for a consumer, without a key of it:
    tollgate explain --host api.example.com --path /orders/7 --consumer partner-a --scope orders:read
  Before a change is deployed, without a gateway:
    tollgate explain --config tollgate.yaml --host api.example.com --path '/orders/7?v=2'";
