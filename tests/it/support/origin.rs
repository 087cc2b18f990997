//! Upstreams: the real `origin` binary, named by how it misbehaves.
//!
//! Owns starting and asking it. Its script language is in `origin --help`.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{
    PATIENCE,
    certs::{Authority, Issued},
    client::Http1,
    eventually,
    port::Port,
    process::Process,
    request::Request,
    response::Response,
};

/// An upstream's endpoint. It ends with its last clone; a gateway keeps one.
#[derive(Clone)]
pub struct Origin {
    /// Cleartext: HTTP/1, and HTTP/2 with prior knowledge.
    pub address: SocketAddr,
    /// With TLS; ALPN picks the protocol.
    pub tls_address: Option<SocketAddr>,
    running: Arc<Mutex<Running>>,
}

enum Running {
    Process { process: Process, files: Option<tempfile::TempDir> },
    Nothing { _port: Port },
    FullQueue { _sockets: Vec<Socket> },
    Task { _task: JoinSet<()> },
}

impl Origin {
    /// Echoes every request as JSON.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Echoes and says this name.
    pub async fn named(name: &str) -> Self {
        Self::builder().name(name).start().await
    }

    /// Does this with every request that brings no script of its own.
    pub async fn script(script: &str) -> Self {
        Self::builder().script(script).start().await
    }

    /// Answers everything with this status.
    pub async fn answers(status: u16) -> Self {
        Self::script(&format!("status={status}")).await
    }

    /// Reads requests and never says anything.
    pub async fn never_answers() -> Self {
        Self::script("never_answers").await
    }

    /// Resets the connection once it has read a request's header.
    pub async fn resets_before_header() -> Self {
        Self::script("reset_before_header").await
    }

    /// Closes the connection once it has read a request's header.
    pub async fn closes_before_header() -> Self {
        Self::script("close_before_header").await
    }

    /// Resets the connection once it has written its answer's header.
    pub async fn resets_after_header() -> Self {
        Self::script("reset_after_header").await
    }

    /// Answers with what is not HTTP.
    pub async fn speaks_nonsense() -> Self {
        Self::script(&format!("raw={}", boring::base64::encode_block(b"SSH-2.0-OpenSSH_9.6\r\n"))).await
    }

    /// An address where nothing listens.
    pub fn dead() -> Self {
        let port = Port::reserve();
        Self { address: port.address, tls_address: None, running: shared(Running::Nothing { _port: port }) }
    }

    /// An address that neither accepts nor refuses: its queue is full.
    pub fn never_accepts() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        // The queue takes one more than asked for; some to be sure.
        for _ in 0..4 {
            let waits = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            waits.set_nonblocking(true).unwrap();
            // Under way: that is all that is wanted of it.
            let _ = waits.connect(&address);
            sockets.push(waits);
        }
        let running = shared(Running::FullQueue { _sockets: sockets });
        Self { address: address.as_socket().unwrap(), tls_address: None, running }
    }

    /// Answers one request on each connection as if it were kept, and closes it
    /// once the next one came: as a pool meets endpoints that were restarted.
    pub async fn forgets_connections() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(answer_once_each(listener));
        Self { address, tls_address: None, running: shared(Running::Task { _task: task }) }
    }

    /// With more than one thing to say.
    pub fn builder() -> OriginBuilder {
        OriginBuilder { command: Command::new(env!("CARGO_BIN_EXE_origin")), files: None }
    }

    /// The last requests it received, oldest first: `method`, `target`,
    /// `x-request-id`, `connection`.
    pub async fn log(&self) -> Vec<Value> {
        let log = self.control(&Request::get("/__origin/log")).await;
        log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many requests it received; attempts of the gateway, that is.
    pub async fn requests(&self) -> u64 {
        self.stats().await["requests"].as_u64().unwrap()
    }

    /// Its counters: `requests`, `connections`, `open_connections`, `bytes_in`,
    /// `health_checks`.
    pub async fn stats(&self) -> Value {
        self.control(&Request::get("/__origin/stats")).await.json()
    }

    /// Changes what it does with requests that bring no script.
    pub async fn set_script(&self, script: &str) {
        let encoded: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.control(&Request::new("POST", &format!("/__origin/script?set={encoded}"))).await;
    }

    /// Changes what `/__origin/health` answers.
    pub async fn set_healthy(&self, healthy: bool) {
        let state = if healthy { "up" } else { "down" };
        self.control(&Request::new("POST", &format!("/__origin/health?state={state}"))).await;
    }

    /// Ends it; its address stays its own, and nothing listens there.
    pub async fn stop(&self) {
        let nobody = Running::Nothing { _port: Port::reserve() };
        let running = std::mem::replace(&mut *self.running.lock().unwrap(), nobody);
        if let Running::Process { process, .. } = running {
            process.signal(libc::SIGKILL);
            process.wait_exit(PATIENCE).await;
            *self.running.lock().unwrap() = Running::Nothing { _port: Port::take(self.address) };
        }
    }

    /// Shows another certificate from now on.
    pub fn renew(&self, certificate: &Issued) {
        let running = self.running.lock().unwrap();
        let Running::Process { files: Some(files), .. } = &*running else { panic!("no TLS") };
        for (name, text) in [("cert", &certificate.chain), ("key", &certificate.key)] {
            // Never half of a file.
            std::fs::write(files.path().join("next"), text).unwrap();
            std::fs::rename(files.path().join("next"), files.path().join(name)).unwrap();
        }
    }

    async fn control(&self, request: &Request) -> Response {
        let answer = Http1::open(self.address).await.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }
}

/// An origin to start.
pub struct OriginBuilder {
    command: Command,
    files: Option<tempfile::TempDir>,
}

impl OriginBuilder {
    /// Told in every echo.
    pub fn name(self, name: &str) -> Self {
        self.argument("--name", name)
    }

    /// Told in every echo.
    pub fn zone(self, zone: &str) -> Self {
        self.argument("--zone", zone)
    }

    /// What it does with requests that bring no script.
    pub fn script(self, script: &str) -> Self {
        self.argument("--script", script)
    }

    /// Where it listens for cleartext, instead of a free port.
    pub fn listen(self, address: SocketAddr) -> Self {
        self.argument("--listen", &address.to_string())
    }

    /// Also accepts TLS, with this certificate.
    pub fn tls(self, certificate: &Issued) -> Self {
        self.argument("--listen-tls", "127.0.0.1:0")
            .file("--cert", &certificate.chain)
            .file("--key", &certificate.key)
    }

    /// It speaks TLS 1.1 at most.
    pub fn old_tls(mut self) -> Self {
        self.command.arg("--old-tls");
        self
    }

    /// Over TLS it agrees on HTTP/1 alone.
    pub fn http1_only(mut self) -> Self {
        self.command.arg("--http1-only");
        self
    }

    /// TLS clients must show a certificate of this authority.
    pub fn client_ca(self, authority: &Authority) -> Self {
        self.file("--client-ca", &authority.pem().unwrap())
    }

    /// Starts it and waits until it listens.
    pub async fn start(mut self) -> Origin {
        self.command.arg("--exit-with-stdin");
        let process = Process::spawn(self.command);
        let listening = async |word: &str| {
            let find = || process.stdout().lines().find_map(|line| line.strip_prefix(word)?.parse().ok());
            eventually(PATIENCE, || async {
                assert!(process.ended().is_none(), "origin: {}", process.stderr());
                // The whole line: half an address can be an address.
                process.stdout().ends_with('\n').then(find).flatten()
            })
            .await
        };
        let address = listening("listening: ").await;
        let tls_address = match self.files.is_some() {
            true => Some(listening("listening-tls: ").await),
            false => None,
        };
        Origin { address, tls_address, running: shared(Running::Process { process, files: self.files }) }
    }

    fn argument(mut self, name: &str, value: &str) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        let files = self.files.get_or_insert_with(|| tempfile::tempdir().unwrap());
        let path = files.path().join(name.trim_start_matches('-'));
        std::fs::write(&path, text).unwrap();
        self.command.arg(name).arg(path);
        self
    }
}

fn shared(running: Running) -> Arc<Mutex<Running>> {
    Arc::new(Mutex::new(running))
}

async fn answer_once_each(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.read(&mut request).await;
        });
    }
}
