//! What all connections share: who this origin is, its counters, its log, its
//! health and its default script.
//!
//! Owns the state that control paths read and change. Memory is bounded: the log
//! keeps the last 1000 requests, and of each target the first 2 KiB.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::{
    request::Request,
    script::{Script, ScriptProblem},
};

/// One origin: a name, a zone, and what it has seen.
pub struct Origin {
    /// Told in every echo.
    pub name: String,
    /// Told in every echo.
    pub zone: String,
    /// Whether answers say `server: origin`.
    pub server_header: bool,
    /// Whether `/__origin/health` answers 200.
    pub healthy: AtomicBool,
    /// For requests that bring no script.
    pub default_script: ArcSwap<Script>,
    /// Counted since the start.
    pub counters: Counters,
    log: Mutex<VecDeque<Logged>>,
    file: Option<File>,
}

/// Counted since the start. `requests` has everything but control paths, and
/// with `/__origin/fast`; `bytes_in` is request bodies.
#[derive(Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub connections: AtomicU64,
    pub open_connections: AtomicU64,
    pub bytes_in: AtomicU64,
    pub health_checks: AtomicU64,
}

/// One line of `/__origin/log`.
#[derive(Serialize)]
struct Logged {
    method: String,
    target: String,
    #[serde(rename = "x-request-id")]
    request_id: Option<String>,
    #[serde(rename = "x-amzn-vpce-id", skip_serializing_if = "Option::is_none")]
    vpc_endpoint: Option<String>,
    connection: u64,
}

impl Origin {
    /// A healthy origin that has seen nothing.
    pub fn new(name: String, zone: String, script: Script, server_header: bool) -> Self {
        Self {
            name,
            zone,
            server_header,
            healthy: AtomicBool::new(true),
            default_script: ArcSwap::from_pointee(script),
            counters: Counters::default(),
            log: Mutex::default(),
            file: None,
        }
    }

    /// Also writes each request to this file, before anything is answered: what
    /// it got is known even when it is killed.
    pub fn with_log_file(self, file: Option<File>) -> Self {
        Self { file, ..self }
    }

    /// Counts a new connection and numbers it, from 1.
    pub fn connected(self: &Arc<Self>) -> Connected {
        let id = self.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.counters.open_connections.fetch_add(1, Ordering::Relaxed);
        Connected { id, origin: Arc::clone(self) }
    }

    /// Counts a request and keeps it for the log.
    pub fn note(&self, request: &Request, connection: u64) {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let field = |name| request.header(name).map(|text| text.chars().take(LOGGED_TARGET).collect());
        let logged = Logged {
            method: request.method.clone(),
            target: request.target.chars().take(LOGGED_TARGET).collect(),
            request_id: field("x-request-id"),
            vpc_endpoint: field("x-amzn-vpce-id"),
            connection,
        };
        if let Some(mut file) = self.file.as_ref() {
            // One call a line: lines of several threads do not mix in a file opened to append.
            let mut line = serde_json::to_vec(&logged).unwrap_or_default();
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOGGED_REQUESTS {
            log.pop_front();
        }
        log.push_back(logged);
    }

    /// The script of this request: its own, else the default.
    pub fn script(&self, request: &Request) -> Result<Arc<Script>, ScriptProblem> {
        match request.script() {
            Some(text) => text.parse().map(Arc::new),
            None => Ok(self.default_script.load_full()),
        }
    }

    /// The last requests, oldest first, as JSON lines.
    pub fn log_lines(&self) -> Vec<u8> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for logged in log.iter() {
            // Writing to memory does not fail, and these are strings and a number.
            let _ = serde_json::to_writer(&mut lines, logged);
            lines.push(b'\n');
        }
        lines
    }
}

/// A connection that is open for as long as this lives.
pub struct Connected {
    /// Which connection of the process, from 1.
    pub id: u64,
    origin: Arc<Origin>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.origin.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

const LOGGED_REQUESTS: usize = 1000;
const LOGGED_TARGET: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_file_has_a_request_before_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = File::options().create(true).append(true).open(&path).unwrap();
        let origin = Origin::new(String::new(), String::new(), Script::default(), false);

        origin.with_log_file(Some(file)).note(&Request { target: "/7".into(), ..Request::default() }, 1);

        assert!(std::fs::read_to_string(path).unwrap().contains(r#""target":"/7""#));
    }

    #[test]
    fn the_log_keeps_the_last_thousand() {
        let origin = Origin::new(String::new(), String::new(), Script::default(), false);

        for number in 0..1005 {
            origin.note(&Request { target: format!("/{number}"), ..Request::default() }, 1);
        }

        let lines = String::from_utf8(origin.log_lines()).unwrap();
        assert_eq!(lines.lines().count(), 1000);
        assert!(lines.starts_with(r#"{"method":"","target":"/5","x-request-id":null,"connection":1}"#));
    }

    #[test]
    fn a_dropped_connection_is_no_longer_open() {
        let origin = Arc::new(Origin::new(String::new(), String::new(), Script::default(), false));

        let first = origin.connected();
        let second = origin.connected();
        drop(first);

        assert_eq!(second.id, 2);
        assert_eq!(origin.counters.open_connections.load(Ordering::Relaxed), 1);
    }
}
