//! The command line: one verb a file, and what every verb shares.
//!
//! Exit codes: 0 done, 1 failed at run time, 2 usage (mostly clap's own), 75 not now
//! (nothing listens at the socket, a reload is under way or waits to be confirmed,
//! nothing is there to confirm or to go back to), 78 the configuration cannot be used.

mod apikey;
mod changes;
mod check;
mod client;
mod confirm;
mod drain;
mod explain;
mod http;
mod jwt;
mod keys;
mod limits;
mod offline;
mod prove;
mod reload;
mod rollback;
mod run;
mod simulate;
mod status;
mod time;
mod upgrade;
mod watch;
mod zone;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

/// An API gateway for EC2 fleets behind a Network Load Balancer.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, after_help = FIRST_STEPS, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve in the foreground until a signal ends it.
    ///
    /// HUP reloads the configuration, TERM and QUIT finish open requests and
    /// end, INT ends at once, USR1 opens the access log anew (for logrotate), USR2
    /// hands over to the program that is installed now.
    Run {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Look for everything that is wrong with a configuration; exit 0 or 78.
    ///
    /// Reads the files, their certificates and keys; touches no socket. Says what a
    /// start or a reload would say of them, but not whether an address is free; that the
    /// folder of a socket or log is missing is a note. A bad `endpoints_file` is an error
    /// here, though a gateway would serve without it.
    Check(check::Check),
    /// Make the running gateway take its files as they are now.
    ///
    /// Waits, then prints what changed, or every problem and exits 78: then the
    /// gateway goes on with what it had. With --dry-run it says the same and does
    /// nothing. With --confirm it goes back by itself, whatever becomes of this command
    /// and of you, unless `tollgate confirm` follows; until then nothing else is
    /// reloaded.
    Reload(reload::Reload),
    /// Keep a configuration that was reloaded with --confirm.
    Confirm(confirm::Confirm),
    /// Bring back the configuration that served before the last change.
    ///
    /// As it was read then, with its certificates, keys and secrets; what was learned of
    /// endpoints and limits since stays. The files on the disk stay as they are. Rolling
    /// back twice is as if nothing had been: the two change places.
    Rollback(rollback::Rollback),
    /// Replace the running gateway by the program that is installed now.
    ///
    /// The gateway starts it with its own arguments and sockets, and finishes its work
    /// once the new process can serve: no connection is refused, and none is cut before
    /// the drain's ceiling. When the new one cannot serve it is ended, the old one goes
    /// on, and this exits 1. Takes what a reload cannot: addresses of listeners,
    /// `admin`, `runtime`, `access_log`. The same as USR2, and waits.
    Upgrade(upgrade::Upgrade),
    /// Make the running gateway finish its work and end.
    ///
    /// The same as TERM, and says how many connections are left. Behind a Network
    /// Load Balancer deregister the target first: one that turns unhealthy instead
    /// has its connections reset, unless the target group says otherwise.
    Drain(drain::Drain),
    /// Show what the running gateway does.
    Status(status::Status),
    /// Show what would become of the traffic if something failed.
    ///
    /// From the same tables and picks as the data path's: of the running gateway as
    /// it is now, or with --config of a file, every endpoint healthy. Changes
    /// nothing. Shares are told once hold-down and slow start are over.
    Simulate(simulate::Simulate),
    /// Take a zone out of this gateway by hand, and back in.
    Zone(zone::Zone),
    /// Say where a request would go, and why.
    ///
    /// Which route takes it and why the others do not, who may use it, what the
    /// route does, and the endpoints that the upstream would pick from: from the
    /// running gateway, by the functions that decide for traffic, or from files.
    Explain(explain::Explain),
    /// Show what the running gateway's limits hold now.
    ///
    /// Rates, keys in use, how often memory was too small, and the keys that have
    /// used most: as their hashes, which `tollgate explain` tells of a request.
    Limits(limits::Limits),
    /// Make, list and export the keys of signers, and see what they do.
    Keys(keys::Keys),
    /// Make API keys, and the lines that files of keys hold of them.
    #[command(name = "apikey")]
    ApiKey(apikey::ApiKey),
    /// Look at a token as a careful upstream would.
    Jwt(jwt::Jwt),
    /// Find out whether an upstream really verifies the tokens that it gets.
    ///
    /// Sends one request up to 37 times to the upstream's own address, each time with
    /// another token: good ones, and ones that are expired, forged, for another
    /// upstream or path, sent twice and so on. Exits 1 when one of them gets in, or a
    /// good one does not. Only the token differs: choose a --path that reads.
    ///
    /// Good tokens are signed with the signer's own key, so that this runs where the
    /// gateway's files are, as its user. Signed with it too are bad tokens that are of
    /// no use elsewhere; forgeries are signed with keys made for this run.
    #[command(after_help = PROVE)]
    Prove(prove::Prove),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print completions for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version,
}

/// Which configuration.
#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// The main file; `conf.d/*.yaml` beside it are read too. TOLLGATE_CONFIG sets the
    /// default.
    #[arg(id = "config", long = "config", short = 'c', short_alias = 'p', value_name = "FILE")]
    #[arg(default_value_os_t = usual("TOLLGATE_CONFIG", "/etc/tollgate/tollgate.yaml"))]
    file: PathBuf,
}

/// Which running gateway.
#[derive(Clone, Debug, clap::Args)]
struct AdminSocket {
    /// The gateway's `admin.socket`. TOLLGATE_SOCKET sets the default.
    #[arg(long, default_value_os_t = usual("TOLLGATE_SOCKET", "/run/tollgate/admin.sock"))]
    socket: PathBuf,
}

/// What a variable says, or else this. Not left to clap: it takes a variable for an
/// argument, that then clashes with others.
fn usual(variable: &str, path: &str) -> PathBuf {
    std::env::var_os(variable).filter(|set| !set.is_empty()).map_or_else(|| path.into(), PathBuf::from)
}

/// Runs the verb that the arguments name.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Run { file } => run::run(&file.file),
        Verb::Check(check) => check.run(),
        Verb::Reload(reload) => reload.run(),
        Verb::Upgrade(upgrade) => upgrade.run(),
        Verb::Confirm(confirm) => confirm.run(),
        Verb::Rollback(rollback) => rollback.run(),
        Verb::Drain(drain) => drain.run(),
        Verb::Status(status) => status.run(),
        Verb::Simulate(simulate) => simulate.run(),
        Verb::Zone(zone) => zone.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Limits(limits) => limits.run(),
        Verb::Keys(keys) => keys.run(),
        Verb::ApiKey(apikey) => apikey.run(),
        Verb::Jwt(jwt) => jwt.run(),
        Verb::Prove(prove) => prove.run(),
        Verb::Schema => schema(),
        Verb::Completions { shell } => completions(shell),
        Verb::Version => print(&format!("tollgate {}\n", env!("CARGO_PKG_VERSION"))),
    };
    done.unwrap_or_else(|why| match why.kind() {
        // `tollgate schema | head` is no failure.
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => tell(&format!("error: {why}\n"), FAILED),
    })
}

fn schema() -> io::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&crate::config::schema())?;
    print(&format!("{text}\n"))
}

fn completions(shell: clap_complete::Shell) -> io::Result<ExitCode> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tollgate", &mut out);
    io::stdout().write_all(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the verb's result.
fn print(text: &str) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Tells the operator what went wrong.
fn tell(text: &str, code: u8) -> ExitCode {
    // Nobody is left to tell that standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// As `1 route` and `2 routes`.
fn count(number: impl std::fmt::Display, thing: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_NOW: u8 = 75;
const BAD_CONFIG: u8 = 78;

const FIRST_STEPS: &str = "\
First steps:
  tollgate check /etc/tollgate/tollgate.yaml    what is wrong, and what to write instead
  tollgate run                                  serve it
  tollgate reload --dry-run                     after a change: what it would do
  tollgate reload                               what changed, or why not; `rollback` undoes it
  tollgate status                               what it does now; `--watch` looks on
  tollgate explain --host api.example.com --path /orders
                                                where a request goes, and why";

const PROVE: &str = "\
Examples:
  tollgate prove 10.0.1.10:8080 --route orders --path /orders/7
  tollgate prove https://orders.internal:8443 --ca mesh-ca.pem --signer default --upstream orders
  tollgate prove 10.0.1.10:8080 --route orders --method POST --path /echo --body '{}' --json

What counts: 400, 401 and 403 refuse, and so does any answer but success that a good token
does not get; 429, 5xx and silence are failures. What the signer does not bind is not sent.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_every_verb_go_together() {
        Arguments::command().debug_assert();
    }
}
