//! The scriptable upstream that the demo, the tests and the load tests use.
//!
//! Owns the command line, the listeners and the end of the process. What is
//! answered is decided per request by a [`script::Script`]; without one, every
//! request is answered with what was received of it.
//!
//! Always holds: stdout carries one `listening…` line per listener and nothing
//! else, and no client can end the process.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{origin::Origin, script::Script};

mod accept;
mod answer;
mod body;
mod control;
mod echo;
mod http1;
mod http2;
mod limits;
mod origin;
mod pause;
mod payload;
mod request;
mod script;
mod text;
mod tls;
mod websocket;
mod wire;

/// A scriptable upstream for the tests of Tollgate: echoes what it received, or
/// misbehaves as the `x-origin` header, the `origin` query parameter or
/// `--script` asks.
#[derive(Parser)]
#[command(name = "origin", after_help = script::STEPS_HELP)]
struct Arguments {
    /// Where to accept cleartext HTTP/1 and HTTP/2 with prior knowledge; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to accept TLS; ALPN picks h2 or http/1.1
    #[arg(long, requires_all = ["cert", "key"])]
    listen_tls: Option<SocketAddr>,
    /// Certificate chain, PEM, leaf first
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Private key of the leaf, PEM
    #[arg(long)]
    key: Option<PathBuf>,
    /// Certificate authorities, PEM; with it, TLS clients must bring a certificate
    #[arg(long)]
    client_ca: Option<PathBuf>,
    /// TLS 1.0 and 1.1 alone
    #[arg(long)]
    old_tls: bool,
    /// TLS agrees on http/1.1 alone
    #[arg(long)]
    http1_only: bool,
    /// Told in every answer
    #[arg(long, default_value = "origin")]
    name: String,
    /// Told in every answer
    #[arg(long, default_value = "")]
    zone: String,
    /// The script of requests that bring none
    #[arg(long, default_value = "")]
    script: Script,
    /// Append a JSON line to this file for each request, as soon as its header is read
    #[arg(long)]
    log: Option<PathBuf>,
    /// Send `server: origin`
    #[arg(long)]
    server_header: bool,
    /// End when stdin is closed, so that a test's child never outlives the test
    #[arg(long)]
    exit_with_stdin: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    limits::raise_open_files();
    let served = tokio::runtime::Builder::new_multi_thread().enable_all().build().and_then(|runtime| {
        let ended = runtime.block_on(serve(arguments));
        runtime.shutdown_background();
        ended
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("origin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the listeners, announces them, and serves until told to end.
async fn serve(arguments: Arguments) -> io::Result<()> {
    let log = arguments.log.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
    let origin = Origin::new(arguments.name, arguments.zone, arguments.script, arguments.server_header);
    let origin = Arc::new(origin.with_log_file(log));
    let clear = listen(arguments.listen)?;
    announce("listening", &clear)?;
    tokio::spawn(accept::cleartext(clear, Arc::clone(&origin)));
    if let (Some(address), Some(chain), Some(key)) = (arguments.listen_tls, arguments.cert, arguments.key) {
        let protocols = if arguments.http1_only { tls::HTTP1 } else { tls::BOTH };
        let (client_ca, old) = (arguments.client_ca, arguments.old_tls);
        let acceptors = tls::Acceptors::new(tls::Terms { chain, key, client_ca, protocols, old })?;
        let secure = listen(address)?;
        announce("listening-tls", &secure)?;
        tokio::spawn(accept::tls(secure, acceptors, origin));
    }
    until_told_to_end(arguments.exit_with_stdin).await
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn announce(word: &str, listener: &TcpListener) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{word}: {}", listener.local_addr()?)?;
    out.flush()
}

async fn until_told_to_end(exit_with_stdin: bool) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed(), if exit_with_stdin => {}
    }
    Ok(())
}

/// Waits for the end of stdin. On a thread of its own: a read of a terminal or
/// pipe cannot be cancelled.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        loop {
            match io::stdin().read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(_) => break,
            }
        }
        // The receiver is gone only when the process is already ending.
        let _ = closed.send(());
    });
    let _ = wait.await;
}

/// Load tests open thousands of connections at once; the kernel caps it at somaxconn.
const BACKLOG: u32 = 8192;
