//! The gateway under test: the real binary, in a folder of its own.
//!
//! Owns starting it, asking it over its private ways, and the short ways to
//! send it a request. It ends with this value.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;

use super::{
    PATIENCE, Tls,
    certs::Issued,
    client::Http1,
    config::Files,
    eventually,
    http2::Http2,
    metrics::Metrics,
    origin::Origin,
    process::{Exit, Process},
    request::Request,
    response::Response,
    stream::Stream,
    tls::HandshakeFailed,
};

/// A running gateway.
pub struct Gateway {
    process: Process,
    /// Its configuration, to be changed.
    pub files: Files,
    /// The listener `plain`.
    pub plain: SocketAddr,
    /// The listener `public`, with TLS, if there is one.
    pub tls: SocketAddr,
}

impl Gateway {
    /// With something to say about its configuration.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder {
            files: Files::new(),
            yaml: String::new(),
            environment: Vec::new(),
            open_files: None,
            installed: false,
        }
    }

    /// Sends everything to one origin, `origin` as an upstream.
    pub async fn in_front_of(origin: &Origin) -> Self {
        Self::builder().origin("origin", origin).start().await
    }

    /// As [`in_front_of`](Self::in_front_of), with more keys of the upstream, as
    /// `timeouts: { read: 1s }`.
    pub async fn with_upstream(origin: &Origin, more: &str) -> Self {
        let upstream = format!("{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], {more} }}");
        Self::builder().origin("origin", origin).yaml(&format!("upstreams: [{upstream}]")).start().await
    }

    /// With one upstream `shop` of these endpoints, and more of its keys.
    pub async fn shop(endpoints: &[&Origin], more: &str) -> Self {
        let mut builder = Self::builder();
        let mut list = Vec::new();
        for (nth, origin) in endpoints.iter().enumerate() {
            builder = builder.origin(&format!("endpoint{nth}"), origin);
            list.push(format!("{{ address: \"{{endpoint{nth}}}\" }}"));
        }
        let upstream = format!("{{ name: shop, endpoints: [{}], {more} }}", list.join(", "));
        let routes = "routes: [{ name: all, to: [{ upstream: shop }] }]";
        builder.yaml(&format!("upstreams: [{upstream}]\n{routes}")).start().await
    }

    /// In front of one origin with a TLS listener, more of the upstream's keys, and
    /// more sections.
    pub async fn https(origin: &Origin, more: &str, sections: &str) -> Self {
        let certificate = super::certs::server(&super::certs::authority(), &["api.example.com"]);
        let upstream = format!("{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], {more} }}");
        let builder = Self::builder().origin("origin", origin).certificate(&certificate);
        builder.yaml(&format!("{sections}\nupstreams: [{upstream}]")).start().await
    }

    /// Runs `tollgate check` on this text alone, without default sections.
    pub async fn check(yaml: &str) -> Exit {
        let files = Files::new();
        files.write("tollgate.yaml", yaml);
        let main = files.main();
        Self::cli(&["check", &main.display().to_string()]).await
    }

    /// Runs any verb.
    pub async fn cli(arguments: &[&str]) -> Exit {
        Self::cli_in(arguments, &[]).await
    }

    /// Runs any verb with these variables.
    pub async fn cli_in(arguments: &[&str], variables: &[(&str, &str)]) -> Exit {
        let mut command = Command::new(BINARY);
        command.args(arguments).envs(variables.iter().copied());
        Exit::of(command).await
    }

    /// One request on a connection of its own; panics without an answer.
    pub async fn send(&self, request: &Request) -> Response {
        self.connect().await.send(request).await
    }

    /// A GET on a connection of its own; panics without an answer.
    pub async fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target)).await
    }

    /// A connection to the listener `plain`.
    pub async fn connect(&self) -> Http1 {
        Http1::open(self.plain).await
    }

    /// An HTTP/1 connection to the listener `public`.
    pub async fn connect_tls(&self, tls: &Tls) -> Result<Http1, HandshakeFailed> {
        Ok(Http1::over(tls.connect(self.tls).await?))
    }

    /// An HTTP/2 connection to the listener `public`.
    pub async fn connect_http2(&self, tls: &Tls) -> Result<Http2, HandshakeFailed> {
        Http2::open(self.tls, tls).await
    }

    /// Any address of its configuration, by its placeholder's name.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.files.address(name)
    }

    /// Puts another main file in place; `reload` takes it.
    pub fn write_config(&self, yaml: &str) {
        self.files.write_main(yaml);
    }

    /// Runs `tollgate reload`.
    pub async fn reload(&self) -> Exit {
        self.ask(&["reload"]).await
    }

    /// Runs `tollgate status --json`.
    pub async fn status(&self) -> Value {
        let told = self.ask(&["status", "--json"]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        serde_json::from_str(&told.stdout).unwrap()
    }

    /// Runs a verb that speaks with this gateway over its socket.
    pub async fn ask(&self, arguments: &[&str]) -> Exit {
        let socket = self.files.path("admin.sock").display().to_string();
        Self::cli(&[arguments, &["--socket", &socket]].concat()).await
    }

    /// Asks over the operator's socket, as `POST` and `/reload`.
    pub async fn admin(&self, method: &str, path: &str) -> Response {
        let socket = tokio::net::UnixStream::connect(self.files.path("admin.sock")).await.unwrap();
        Http1::over(Stream::Unix(socket)).send(&Request::new(method, path).honest()).await
    }

    /// Scrapes the metrics page.
    pub async fn metrics(&self) -> Metrics {
        let page = Http1::open(self.address("metrics")).await.send(&Request::get("/metrics").honest()).await;
        assert_eq!(page.status, 200, "{}", page.text());
        Metrics::parse(&page.text())
    }

    /// Scrapes one metric: the sum over all samples that have these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().await.metric(name, labels)
    }

    /// Asks the readiness listener.
    pub async fn readiness(&self, path: &str) -> Response {
        Http1::open(self.address("readiness")).await.send(&Request::get(path).honest()).await
    }

    /// Every access-log line that was written until now.
    pub fn access_log(&self) -> Vec<Value> {
        let written = self.process.stdout();
        // The last line may still be on its way.
        let whole = written.rfind('\n').map_or("", |end| &written[..end]);
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        whole.lines().map(parse).collect()
    }

    /// The access-log line of an answer; waits until it is written.
    pub async fn line_of(&self, answer: &Response) -> Value {
        let id = answer.header("x-request-id").expect("an answer without x-request-id").to_owned();
        self.line(|line| line["request_id"] == id.as_str()).await
    }

    /// The first access-log line like this; waits until it is written.
    pub async fn line(&self, like: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, || async { self.access_log().into_iter().find(|line| like(line)) }).await
    }

    /// What it wrote to standard output until now: the access log.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// What it wrote to standard error until now.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Sends a signal, as `libc::SIGTERM`.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&self, deadline: Duration) -> Exit {
        self.process.wait_exit(deadline).await
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }

    /// Runs `tollgate upgrade`.
    pub async fn upgrade(&self) -> Exit {
        self.ask(&["upgrade"]).await
    }

    /// The process that answers commands now: another one after an upgrade.
    pub async fn serving_pid(&self) -> u32 {
        self.status().await["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// Waits until the process that the test started has ended; what follows it may go
    /// on. Returns its exit code.
    pub async fn first_ended(&self) -> Option<i32> {
        eventually(PATIENCE, || async { self.process.ended() }).await.code()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The memory it holds now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many files and sockets it holds open.
    pub fn open_fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// A gateway to start.
pub struct GatewayBuilder {
    /// Its folder.
    pub files: Files,
    yaml: String,
    environment: Vec<(String, String)>,
    open_files: Option<u64>,
    installed: bool,
}

impl GatewayBuilder {
    /// The main file. Sections that it lacks get defaults, and `{plain}` and
    /// the like are filled in; see `support/config.rs`.
    pub fn yaml(self, text: &str) -> Self {
        Self { yaml: text.to_owned(), ..self }
    }

    /// A file in `conf.d/`.
    pub fn fragment(mut self, name: &str, text: &str) -> Self {
        self.files.write_fragment(name, text);
        self
    }

    /// `{name}` stands for this origin; without `upstreams` it is one.
    pub fn origin(mut self, name: &str, origin: &Origin) -> Self {
        self.files.origin(name, origin);
        self
    }

    /// `{name}` stands for a free address.
    pub fn port(mut self, name: &str) -> Self {
        self.files.port(name);
        self
    }

    /// A TLS listener with this certificate, beside the cleartext one.
    pub fn certificate(mut self, issued: &Issued) -> Self {
        self.files.certificate(issued);
        self
    }

    /// The files `NAME.pem` and `NAME.key`.
    pub fn pair(self, name: &str, issued: &Issued) -> Self {
        self.files.pair(name, issued);
        self
    }

    /// A TLS listener with this section, in one line, beside the cleartext one.
    pub fn tls(mut self, section: &str) -> Self {
        self.files.tls(section);
        self
    }

    /// Any other file in its folder.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.files.write(name, text);
        self
    }

    /// A private key in its folder.
    pub fn key(self, name: &str, text: &str) -> Self {
        self.files.write_key(name, text);
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its program is a file of its own, `tollgate` in its folder, so that another one
    /// can be put there. What follows it ends with this value, too.
    pub fn installed(self) -> Self {
        install(&self.files.path("tollgate"));
        Self { installed: true, ..self }
    }

    /// It may have so many files open.
    pub fn open_files(self, most: u64) -> Self {
        Self { open_files: Some(most), ..self }
    }

    /// Starts it and waits until it is ready; panics when it ends instead.
    pub async fn start(self) -> Gateway {
        self.try_start().await.unwrap_or_else(|exit| panic!("the gateway ended: {exit:?}"))
    }

    /// As [`start`](Self::start), when it may end instead.
    pub async fn try_start(self) -> Result<Gateway, Exit> {
        let process = self.spawn();
        let (plain, tls) = (self.files.address("plain"), self.files.address("tls"));
        let gateway = Gateway { process, files: self.files, plain, tls };
        eventually(PATIENCE, || async { !gateway.is_running() || gateway.is_ready().await }).await;
        if gateway.is_running() { Ok(gateway) } else { Err(gateway.wait_exit(PATIENCE).await) }
    }

    /// Starts it and waits until it has ended; panics when it goes on.
    pub async fn run_to_end(&self) -> Exit {
        let process = self.spawn();
        process.wait_exit(PATIENCE).await
    }

    /// Runs `tollgate check` on what `start` would run.
    pub async fn check(&self, arguments: &[&str]) -> Exit {
        self.files.write_main(&self.yaml);
        let main = self.files.main().display().to_string();
        Gateway::cli(&[&["check", &main], arguments].concat()).await
    }

    fn spawn(&self) -> Process {
        self.files.write_main(&self.yaml);
        let program = if self.installed { self.files.path("tollgate") } else { BINARY.into() };
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(self.files.main());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(most) = self.open_files {
            super::process::limit_open_files(&mut command, most);
        }
        if self.installed { Process::spawn_leader(command) } else { Process::spawn(command) }
    }
}

impl Gateway {
    async fn is_ready(&self) -> bool {
        let Ok(stream) = super::stream::connect(self.address("readiness")).await else { return false };
        let mut http = Http1::over(super::stream::Stream::Plain(stream));
        let answer = http.try_send(&Request::get("/readyz").honest()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }
}

/// Puts the binary under test at this path, whatever was there: as a package does, by a
/// new file that is renamed.
pub fn install(path: &std::path::Path) {
    let new = path.with_extension("new");
    // Not on another file system.
    if fs::hard_link(BINARY, &new).is_err() {
        install_text(&new, &fs::read(BINARY).unwrap());
    }
    fs::rename(&new, path).unwrap();
}

/// Puts a program of this text at this path, by a new file that is renamed. Another
/// process writes it: one that this process forked meanwhile, for another test, would
/// hold it open for writing, and nobody could run it (`ETXTBSY`).
pub fn install_text(path: &std::path::Path, text: &[u8]) {
    let mut writer = std::process::Command::new("sh")
        .args(["-c", r#"cat >"$0.text" && chmod 755 "$0.text" && mv "$0.text" "$0""#])
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut writer.stdin.take().unwrap(), text).unwrap();
    assert!(writer.wait().unwrap().success());
}

const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");
