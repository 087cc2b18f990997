//! A real DNS server: dnsmasq, with the names of a file.
//!
//! Owns starting it where nobody else listens, changing what it says, and the
//! ways in which it stops saying anything. Time to live: a second.

use std::{net::SocketAddr, process::Command, sync::Mutex};

use super::{PATIENCE, eventually, port::Port, process::Process};

/// A server that knows `…internal` and nothing else.
pub struct Dns {
    /// Where it is asked.
    pub address: SocketAddr,
    process: Mutex<Process>,
    folder: tempfile::TempDir,
    more: Vec<String>,
    _port: Port,
}

impl Dns {
    /// Knows these hosts, as `127.0.0.2 orders.internal`, a line each.
    pub async fn start(hosts: &str) -> Self {
        Self::with(hosts, &[]).await
    }

    /// The same with more of dnsmasq's options.
    pub async fn with(hosts: &str, more: &[&str]) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let more: Vec<_> = more.iter().map(|&option| option.to_owned()).collect();
        std::fs::write(folder.path().join(HOSTS), hosts).unwrap();
        let process = run(port.address, &folder, &more).await;
        Self { address: port.address, process: Mutex::new(process), folder, more, _port: port }
    }

    /// From now on it knows these hosts.
    pub fn set(&self, hosts: &str) {
        std::fs::write(self.folder.path().join(HOSTS), hosts).unwrap();
        self.signal(libc::SIGHUP);
    }

    /// Sends it a signal: STOP makes it hang, CONT go on.
    pub fn signal(&self, signal: i32) {
        self.process.lock().unwrap().signal(signal);
    }

    /// Ends it; `restart` starts it again.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Starts it again at the same address.
    pub async fn restart(&self) {
        let process = run(self.address, &self.folder, &self.more).await;
        *self.process.lock().unwrap() = process;
    }

    /// The section that asks it, quickly, and lets loopback in; `more` of its keys.
    pub fn section(&self, more: &str) -> String {
        let address = self.address;
        format!(
            "discovery: {{ resolvers: [\"{address}\"], allow: [127.0.0.0/8], max_ttl: 1s, timeout: 1s{more} }}\n"
        )
    }
}

async fn run(address: SocketAddr, folder: &tempfile::TempDir, more: &[String]) -> Process {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="])
        .args(["--log-facility=-", "--user=root", "--group=root", "--bind-interfaces", "--local-ttl=1"])
        .args(["--local=/internal/", "--listen-address=127.0.0.1", &format!("--port={}", address.port())])
        .arg(format!("--addn-hosts={}", folder.path().join(HOSTS).display()))
        .args(more);
    let process = Process::spawn(command);
    eventually(PATIENCE, || async {
        assert!(process.ended().is_none(), "dnsmasq: {}", process.stderr());
        process.stderr().contains("started, version")
    })
    .await;
    process
}

const HOSTS: &str = "hosts";
