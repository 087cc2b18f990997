//! What a service manager gives and hears, played by this test: sockets by
//! `LISTEN_FDS`, messages at `NOTIFY_SOCKET`.

use std::{
    net::TcpListener,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixDatagram, process::CommandExt},
    },
    path::Path,
    process::Command,
    time::Duration,
};

use sendfd::RecvWithFd;

use super::{children, kill, runs};
use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, config::Files, eventually, process::Process,
};

#[tokio::test]
async fn it_says_that_it_serves_leaves_its_sockets_and_names_the_next_process() {
    let manager = Manager::new();
    let origin = Origin::start().await;
    let gateway = super::builder(&origin)
        .env("NOTIFY_SOCKET", &manager.path())
        // Seldom: what is told fills the socket while nobody hears, and then waits.
        .env("WATCHDOG_USEC", "2000000")
        .start()
        .await;
    let told = manager.until("READY=1").await;
    assert!(told.iter().any(|(text, _)| text.contains("STATUS=serving: generation 1 config ")), "{told:?}");
    let stored = told.iter().filter(|(text, _)| text.contains("FDSTORE=1"));
    let addresses: Vec<_> = stored.flat_map(|(_, fds)| fds).map(|fd| local(fd.as_raw_fd())).collect();
    for name in ["plain", "tls", "readiness", "metrics"] {
        assert!(addresses.contains(&gateway.address(name).to_string()), "{name}: {addresses:?}");
    }
    let plain = gateway.address("plain").to_string().replace(':', "_");
    assert!(told.iter().any(|(text, _)| text.contains(&format!("FDNAME=kept-{plain}"))), "{told:?}");
    manager.until("WATCHDOG=1").await;

    let upgraded = gateway.upgrade().await;

    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    let pid = gateway.serving_pid().await;
    let told = manager.until("READY=1").await;
    // Of the old process nothing follows this.
    let main = told.iter().position(|(text, _)| text.contains(&format!("MAINPID={pid}"))).unwrap();
    assert!(told[main..].iter().all(|(text, _)| !text.contains("STOPPING=1")), "{told:?}");
    manager.until("WATCHDOG=1").await;
    terminate(pid);
    manager.until("STOPPING=1").await;
    eventually(PATIENCE, || async { !runs(pid) }).await;
}

// A manager looks after its own children alone: it would not see this one die, nor
// wait for it.
#[tokio::test]
async fn the_next_process_is_no_child_of_one_that_drains() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;
    let mut held = gateway.connect().await;
    held.write("GET / HTTP/1.1\r\n").await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;

    assert_eq!(gateway.upgrade().await.code, Some(0));

    let new = gateway.serving_pid().await;
    assert_ne!(new, gateway.pid());
    assert_eq!(children(gateway.pid()), [0; 0]);
    manager.until(&format!("MAINPID={new}")).await;
    assert_eq!(held.send_raw("Host: api.example.com\r\n\r\n").await.status, 200);
    assert_eq!(gateway.first_ended().await, Some(0));
    assert!(runs(new));
}

// A manager kills what is left when the main process ends.
#[tokio::test]
async fn the_main_process_ends_after_those_before_it() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;
    let mut held = gateway.connect().await;
    held.write("GET / HTTP/1.1\r\n").await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;
    for _ in 0..2 {
        assert_eq!(gateway.upgrade().await.code, Some(0));
        // Who is not heard waits to be.
        manager.until("MAINPID=").await;
        manager.until("READY=1").await;
    }
    let (first, last) = (gateway.pid(), gateway.serving_pid().await);
    assert_ne!(first, last);

    terminate(last);
    let waits = "drained; waiting for the processes before";
    eventually(PATIENCE, || async { gateway.stderr().contains(waits) }).await;
    manager.until(&format!("STATUS=drained; waiting for pids [{first}")).await;

    assert_eq!(held.send_raw("Host: api.example.com\r\n\r\n").await.status, 200);
    eventually(PATIENCE, || async { !runs(last) }).await;
    assert!(!runs(first));
}

#[tokio::test]
async fn how_the_next_process_ended_is_told_though_it_is_a_grandchild() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;

    let (told, ()) = tokio::join!(gateway.upgrade(), async {
        eventually(PATIENCE, || async { gateway.stderr().contains("the new process can serve") }).await;
        let between = children(gateway.pid())[0];
        kill(children(between)[0]);
    });

    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains("signal: 9"), "{told:?}");
    assert_eq!(children(gateway.pid()), [0; 0]);
    assert_eq!(gateway.upgrade().await.code, Some(0));
}

#[tokio::test]
async fn a_grandchild_that_takes_too_long_is_ended() {
    let manager = Manager::new();
    // A metadata service that never answers: a start takes two seconds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::start().await;
    let gateway = super::builder(&origin)
        .env("NOTIFY_SOCKET", &manager.path())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{}", silent.local_addr().unwrap()))
        .yaml("location: { zone: imds }")
        .start()
        .await;

    let (told, grandchild) = tokio::join!(gateway.ask(&["upgrade", "--timeout", "1"]), async {
        eventually(PATIENCE, || async {
            let between = children(gateway.pid()).first().copied();
            between.and_then(|between| children(between).first().copied())
        })
        .await
    });

    assert!(told.stderr.contains("could not serve within 1 s, and was ended"), "{told:?}");
    assert!(!runs(grandchild));
    assert_eq!(children(gateway.pid()), [0; 0]);
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_that_failed_stands_in_the_status() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;
    std::fs::remove_file(gateway.files.path("tollgate")).unwrap();

    assert_eq!(gateway.upgrade().await.code, Some(1));

    let told = manager.until("STATUS=upgrade refused, the old process serves: cannot start").await;
    assert!(told.iter().all(|(text, _)| !text.contains("MAINPID=")), "{told:?}");
}

#[tokio::test]
async fn sockets_come_by_their_address_and_a_strange_one_is_told() {
    let files = serving();
    let [ours, strange] = [files.address("plain").to_string(), "127.0.0.1:0".to_owned()]
        .map(|address| TcpListener::bind(address).unwrap());
    let waiting = std::net::TcpStream::connect(files.address("plain")).unwrap();

    let process = activated(&files, &[&strange, &ours], "tollgate.socket:kept-old");

    // Who connected before there was a gateway is served by it.
    waiting.set_nonblocking(true).unwrap();
    let waiting = tokio::net::TcpStream::from_std(waiting).unwrap();
    let answer = Http1::over(crate::support::stream::Stream::Plain(waiting)).send(&Request::get("/")).await;
    assert_eq!(answer.status, 200);
    let address = strange.local_addr().unwrap();
    let words = format!("a socket that no listener has is closed: address={address}");
    assert!(process.stderr().contains(&words), "{}", process.stderr());
}

#[tokio::test]
async fn a_socket_for_another_address_of_the_port_says_what_to_write() {
    let files = serving();
    let port = files.address("plain").port();
    let everywhere = TcpListener::bind(("0.0.0.0", port)).unwrap();

    let process = activated(&files, &[&everywhere], "tollgate.socket");

    let exit = process.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains(&format!("is for 0.0.0.0:{port}: in the socket unit write")), "{exit:?}");
}

#[tokio::test]
async fn a_drain_leaves_the_socket_units_door_open() {
    let files = serving();
    let socket = TcpListener::bind(files.address("plain")).unwrap();
    let process = activated(&files, &[&socket], "tollgate.socket");
    let mut kept = eventually(PATIENCE, || async {
        let mut http = Http1::open(files.address("plain")).await;
        http.try_send(&Request::get("/")).await.is_ok().then_some(http)
    })
    .await;

    process.signal(libc::SIGTERM);
    while kept.send(&Request::get("/")).await.header("connection") != Some("close") {}
    let exit = process.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");

    // Who comes now waits for the next process.
    let address = files.address("plain");
    let waits = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).unwrap();
    let process = activated(&files, &[&socket], "tollgate.socket");
    waits.set_nonblocking(true).unwrap();
    let waits = tokio::net::TcpStream::from_std(waits).unwrap();
    let answer = Http1::over(crate::support::stream::Stream::Plain(waits)).send(&Request::get("/")).await;
    assert_eq!(answer.status, 200);
    drop(process);
}

#[tokio::test]
async fn what_a_dead_process_left_with_the_manager_serves_on() {
    let manager = Manager::new();
    let files = serving();
    let first = spawn(&files, &[("NOTIFY_SOCKET", &manager.path())]);
    let told = manager.until("READY=1").await;
    let kept: Vec<OwnedFd> = told.into_iter().flat_map(|(_, fds)| fds).collect();
    first.signal(libc::SIGKILL);
    first.wait_exit(PATIENCE).await;
    let waits = std::net::TcpStream::connect(files.address("plain")).unwrap();

    let names = vec!["kept-x"; kept.len()].join(":");
    let fds: Vec<&OwnedFd> = kept.iter().collect();
    let _second = activated(&files, &fds, &names);

    waits.set_nonblocking(true).unwrap();
    let waits = tokio::net::TcpStream::from_std(waits).unwrap();
    let answer = Http1::over(crate::support::stream::Stream::Plain(waits)).send(&Request::get("/")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_reload_is_told_and_a_refused_one_too() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;
    manager.until("READY=1").await;

    gateway.write_config("requests: { max_header_fields: 50 }");
    assert_eq!(gateway.reload().await.code, Some(0));
    manager.until("RELOADING=1").await;
    let told = manager.until("READY=1").await;
    assert!(told.iter().any(|(text, _)| text.contains("STATUS=serving: generation 2")), "{told:?}");

    gateway.write_config("requests: { max_header_field: 50 }");
    assert_eq!(gateway.reload().await.code, Some(78));
    let told = manager.until("STATUS=reload refused").await;
    assert!(told.iter().any(|(text, _)| text.contains("READY=1")), "{told:?}");
}

fn terminate(pid: u32) {
    // SAFETY: a plain system call; the process is one that this test's gateway started.
    unsafe { libc::kill(pid.try_into().unwrap(), libc::SIGTERM) };
}

async fn start_under(manager: &Manager) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = super::builder(&origin).env("NOTIFY_SOCKET", &manager.path()).start().await;
    (origin, gateway)
}

#[tokio::test]
async fn who_is_told_something_while_it_begins_does_not_end_of_it() {
    let files = serving();
    for _ in 0..5 {
        let process = spawn(&files, &[]);
        eventually(PATIENCE, || async { process.stderr().contains("listening: ") }).await;

        // At once: it serves before it listens to signals.
        process.signal(libc::SIGHUP);
        process.signal(libc::SIGUSR1);

        eventually(PATIENCE, || async { process.stderr().contains("snapshot published: generation=2") })
            .await;
        assert!(process.ended().is_none());
    }
}

#[tokio::test]
async fn who_is_told_to_end_while_it_begins_drains_first() {
    for signal in [libc::SIGTERM, libc::SIGQUIT, libc::SIGTERM, libc::SIGQUIT] {
        let files = serving();
        let process = spawn(&files, &[]);
        eventually(PATIENCE, || async { process.stderr().contains("listening: ") }).await;

        // At once: it takes connections before it listens to signals.
        process.signal(signal);

        let exit = process.wait_exit(PATIENCE).await;
        assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
        assert!(exit.stderr.contains("draining: "), "{exit:?}");
    }
}

// Who waits in the sockets' queues while endpoints are asked is served first.
#[tokio::test]
async fn who_connected_before_a_gateway_served_that_is_told_to_end_is_answered() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let files = serving();
    files.write_main(&format!(
        "upstreams: [{{ name: silent, health_check: {{ path: / }}, endpoints: [{{ address: \"{}\" }}] }}]\n\
         routes: [{{ name: hello, match: {{ path: / }}, respond: {{ status: 200 }} }}, \
         {{ name: silent, match: {{ path: /silent }}, to: [{{ upstream: silent }}] }}]",
        silent.local_addr().unwrap()
    ));
    let process = spawn(&files, &[]);
    let address = files.address("plain");
    let waits = eventually(PATIENCE, || async { std::net::TcpStream::connect(address).ok() }).await;
    assert!(!process.stderr().contains("listening: "), "{}", process.stderr());

    process.signal(libc::SIGTERM);

    waits.set_nonblocking(true).unwrap();
    let waits = tokio::net::TcpStream::from_std(waits).unwrap();
    let answer = Http1::over(crate::support::stream::Stream::Plain(waits)).send(&Request::get("/")).await;
    assert_eq!(answer.status, 200);
    let exit = process.wait_exit(PATIENCE).await;
    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
}

// To open a pipe waits for somebody who reads from it; nobody does.
#[tokio::test]
async fn a_start_that_hangs_can_be_ended() {
    let files = Files::new();
    files.write_main("access_log: { path: access.log }\nroutes: [{ name: hello, respond: { status: 200 } }]");
    assert!(Command::new("mkfifo").arg(files.path("access.log")).status().unwrap().success());
    let process = spawn(&files, &[]);
    eventually(PATIENCE, || async { held_back(process.pid) == "0000000000004a07" }).await;

    process.signal(libc::SIGTERM);

    let exit = process.wait_exit(PATIENCE).await;
    assert_eq!(exit.signal, Some(libc::SIGTERM), "{exit:?}");
}

// One of another version may not know which signals wait.
#[tokio::test]
async fn the_next_program_begins_with_no_signal_held_back() {
    let manager = Manager::new();
    let (_origin, gateway) = start_under(&manager).await;
    let text = "#!/bin/sh\nwhile :; do sleep 1; done\n";
    super::install_text(&gateway.files.path("tollgate"), text.as_bytes());

    let (told, ()) = tokio::join!(gateway.ask(&["upgrade", "--timeout", "2"]), async {
        let next = eventually(PATIENCE, || async { children(gateway.pid()).first().copied() }).await;
        // A shell that starts a program holds all of them back for a moment.
        eventually(PATIENCE, || async { held_back(next) == "0000000000000000" }).await;
    });

    assert_eq!(told.code, Some(1), "{told:?}");
}

/// The signals that wait for a process, as the system writes them.
fn held_back(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
    found.unwrap_or_default().to_owned()
}

/// Files of a gateway that answers by itself.
fn serving() -> Files {
    let files = Files::new();
    files.write_main("routes: [{ name: hello, respond: { status: 200 } }]");
    files
}

fn spawn(files: &Files, environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("run").arg("--config").arg(files.main());
    command.envs(environment.iter().copied());
    Process::spawn(command)
}

/// Starts a gateway as a service manager does: the sockets from number 3 on.
fn activated(files: &Files, sockets: &[&impl AsRawFd], names: &str) -> Process {
    let count = sockets.len();
    // The shell knows its own number, which becomes the gateway's.
    let text = "LISTEN_PID=$$ exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", text, env!("CARGO_BIN_EXE_tollgate")]).arg(files.main());
    command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    // Far from 3 and from the pipe that tells of a failed exec.
    let high: Vec<RawFd> = sockets.iter().map(|socket| duplicate(socket.as_raw_fd(), 500)).collect();
    let place = move || {
        for (at, fd) in (3..).zip(&high) {
            // SAFETY: a plain system call; what stands at these numbers is closed by
            // the exec anyway, but for the pipe, which is moved away first.
            unsafe { libc::dup2(*fd, at) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls alone.
    unsafe { command.pre_exec(place) };
    Process::spawn(command)
}

fn duplicate(fd: RawFd, at_least: RawFd) -> RawFd {
    // SAFETY: a plain system call.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, at_least) };
    assert!(copy >= 0);
    copy
}

fn local(fd: RawFd) -> String {
    // SAFETY: a copy of its own, closed when it is dropped.
    let socket = unsafe { socket2::Socket::from_raw_fd(duplicate(fd, 0)) };
    socket.local_addr().unwrap().as_socket().unwrap().to_string()
}

/// Hears what a service tells.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

type Told = (String, Vec<OwnedFd>);

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { folder, socket }
    }

    fn path(&self) -> String {
        Path::new(self.folder.path()).join("notify").display().to_string()
    }

    /// Everything that was told, up to what has these words.
    async fn until(&self, words: &str) -> Vec<Told> {
        let mut told = Vec::new();
        eventually(PATIENCE, || {
            while let Some(one) = self.hear() {
                let last = one.0.contains(words);
                told.push(one);
                if last {
                    return std::future::ready(true);
                }
            }
            std::future::ready(false)
        })
        .await;
        told
    }

    fn hear(&self) -> Option<Told> {
        let (mut text, mut fds) = ([0; 4096], [0; 8]);
        let (read, count) = self.socket.recv_with_fd(&mut text, &mut fds).ok()?;
        // SAFETY: the kernel made these descriptors for us in this very call.
        let fds = fds[..count].iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
        Some((String::from_utf8_lossy(&text[..read]).into_owned(), fds.collect()))
    }
}
