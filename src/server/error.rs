//! Why the process does not start.

use std::fmt;

use crate::{
    config::Problems,
    lifecycle::{BindError, NoHandover},
};

/// Why the process did not start. Nothing was half-started.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be used.
    Config(Problems),
    /// A socket cannot be had.
    Bind(BindError),
    /// The access log cannot be written.
    AccessLog(String, std::io::Error),
    /// Two metrics have one name: a fault of the gateway.
    Metrics(prometheus::Error),
    /// BoringSSL gave no context.
    Tls(boring::error::ErrorStack),
    /// The system gives no thread.
    Thread(std::io::Error),
    /// The process before cannot be understood.
    Handover(NoHandover),
    /// What systemd says of sockets cannot be understood.
    Systemd(std::io::Error),
    /// Nobody knows which program this is.
    Program(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Bind(why) => writeln!(f, "error: {why}"),
            Self::AccessLog(path, why) => {
                let hint = match why.kind() {
                    std::io::ErrorKind::NotFound => {
                        "its folder does not exist: make it, or write another file"
                    }
                    _ => "write a file",
                };
                writeln!(f, "error: access_log.path: cannot write `{path}`: {why}; {hint}, `-` or `off`")
            }
            Self::Metrics(why) => writeln!(f, "error: metrics cannot be set up: {why}"),
            Self::Tls(why) => writeln!(f, "error: TLS cannot be set up: {why}"),
            Self::Thread(why) => writeln!(f, "error: no thread to be had: {why}"),
            Self::Handover(why) => writeln!(f, "error: {why}"),
            Self::Systemd(why) => writeln!(f, "error: LISTEN_FDS, LISTEN_PID or LISTEN_FDNAMES: {why}"),
            Self::Program(why) => writeln!(f, "error: this program's path cannot be told: {why}"),
        }
    }
}

impl std::error::Error for StartError {}
