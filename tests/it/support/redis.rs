//! A real store: `redis-server`, alone or as a cluster, with what a test needs of it.
//!
//! Owns starting it where nobody else listens, asking it, and the ways in which it
//! fails. Always holds: it keeps nothing on disk, and ends with this value.

use std::{net::SocketAddr, process::Command, sync::Mutex};

use tempfile::TempDir;

use super::{
    PATIENCE,
    certs::Issued,
    eventually,
    port::Port,
    process::{Exit, Process},
};

/// A running server.
pub struct Redis {
    /// Where it is asked.
    pub address: SocketAddr,
    process: Mutex<Process>,
    folder: TempDir,
    options: Vec<String>,
    /// What `redis-cli` needs to be let in.
    login: Vec<String>,
    _ports: Vec<Port>,
}

impl Redis {
    /// Without anything special.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more of its options, as `--maxmemory 1mb`, a word each.
    pub async fn with(options: &[&str]) -> Self {
        Self::build(options, &[]).await
    }

    /// That lets in who knows this password.
    pub async fn with_password(password: &str) -> Self {
        Self::build(&["--requirepass", password], &["-a", password, "--no-auth-warning"]).await
    }

    /// That speaks TLS alone and shows this certificate.
    pub async fn with_tls(issued: &Issued, authority: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let chain = write("chain.pem", &issued.chain);
        let key = write("key.pem", &issued.key);
        let ca = write("ca.pem", authority);
        let port = Port::reserve();
        let number = port.address.port().to_string();
        let options =
            ["--port", "0", "--tls-port", &number, "--tls-cert-file", &chain, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
        let login = ["--tls", "--cacert", &ca, "--sni", "redis.internal"];
        Self::run(folder, vec![port], &[&options[..], &more].concat(), &login).await
    }

    async fn build(options: &[&str], login: &[&str]) -> Self {
        let port = Port::reserve();
        let number = port.address.port().to_string();
        Self::run(tempfile::tempdir().unwrap(), vec![port], &[&["--port", &number], options].concat(), login)
            .await
    }

    async fn run(folder: TempDir, ports: Vec<Port>, options: &[&str], login: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let (options, login) = (owned(options), owned(login));
        let process = Mutex::new(spawn(&folder, &options));
        let redis = Self { address: ports[0].address, process, folder, options, login, _ports: ports };
        redis.is_there().await;
        redis
    }

    async fn is_there(&self) {
        eventually(PATIENCE, || async { self.try_cli(&["PING"]).await.stdout.contains("PONG") }).await;
    }

    /// What it answers to a command; panics when it does not.
    pub async fn cli(&self, words: &[&str]) -> String {
        let told = self.try_cli(words).await;
        assert_eq!(told.code, Some(0), "{words:?}: {told:?}");
        told.stdout.trim().to_owned()
    }

    async fn try_cli(&self, words: &[&str]) -> Exit {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]);
        command.args(&self.login).args(words);
        Exit::of(command).await
    }

    /// Sends it a signal: STOP makes it hang, CONT go on.
    pub fn signal(&self, signal: i32) {
        self.process.lock().unwrap().signal(signal);
    }

    /// Ends it without a word; `restart` starts it again, with nothing in it.
    pub async fn kill(&self) {
        self.signal(libc::SIGKILL);
        eventually(PATIENCE, || async { self.process.lock().unwrap().ended().is_some() }).await;
    }

    /// Starts it again at the same address.
    pub async fn restart(&self) {
        let process = spawn(&self.folder, &self.options);
        *self.process.lock().unwrap() = process;
        self.is_there().await;
    }

    /// The section `fleet` with this store, and more of the store's keys.
    pub fn section(&self, more: &str) -> String {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        format!("fleet: {{ store: {{ addresses: [\"{}\"]{more} }} }}", self.address)
    }
}

/// Servers that share their keys.
pub struct RedisCluster {
    /// At least three.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Three of them.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let (port, bus) = (Port::reserve(), Port::reserve());
            let (number, bus_number) = (port.address.port().to_string(), bus.address.port().to_string());
            let options = [
                "--port",
                &number,
                "--cluster-port",
                &bus_number,
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
            ];
            nodes.push(Redis::run(tempfile::tempdir().unwrap(), vec![port, bus], &options, &[]).await);
        }
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes");
        let created = Exit::of(create).await;
        assert_eq!(created.code, Some(0), "{created:?}");
        for node in &nodes {
            let is_whole = async || node.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok");
            eventually(PATIENCE, is_whole).await;
        }
        Self { nodes }
    }

    /// The section `fleet` with one of its nodes, by which the others are found.
    pub fn section(&self, more: &str) -> String {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        format!("fleet: {{ store: {{ cluster: true, addresses: [\"{}\"]{more} }} }}", self.nodes[0].address)
    }
}

fn spawn(folder: &TempDir, options: &[String]) -> Process {
    let installed = Command::new("redis-server").arg("--version").output();
    assert!(
        installed.is_ok(),
        "there is no redis-server here: install it, as `make test` does (.ci/packages redis-server)"
    );
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
    command.arg("--dir").arg(folder.path()).args(options);
    Process::spawn(command)
}
