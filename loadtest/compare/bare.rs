//! The yardstick of `make compare`: a proxy with nothing in it but Pingora.
//!
//! Owns what a bare proxy does: thread count and read buffer of Tollgate, stock
//! `Service` and listeners, no module, no filter, one upstream address. Does not own
//! how it is built (`bare_pingora.rs`, `bare_stock.rs`) nor what is measured;
//! `compare.py` starts it, loads it and stops it with SIGINT.
//! What Pingora does not do by itself is never done here.

use std::{error::Error, net::SocketAddr, path::PathBuf};

use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use pingora::{
    listeners::{ListenerConfig, tls::TlsSettings},
    protocols::l4::stream::L4BufferSettings,
    server::{Server, configuration::ServerConf},
    tls::ssl::{SslOptions, SslSessionCacheMode, SslVersion},
    upstreams::peer::HttpPeer,
};
use pingora_proxy_published::{ProxyHttp, Session, http_proxy_service};

/// An empty proxy in front of one upstream address.
#[derive(Parser)]
struct Arguments {
    /// Where cleartext HTTP/1.1 is accepted.
    #[arg(long)]
    listen: String,
    /// Where TLS 1.3 is accepted; needs `--cert` and `--key`.
    #[arg(long, requires_all = ["cert", "key"])]
    listen_tls: Option<String>,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Where every request goes, cleartext.
    #[arg(long)]
    upstream: SocketAddr,
    /// Whether TLS clients get session tickets.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    tickets: Switch,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// The proxy: an address.
struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    // Pingora adds a compression module by default; a gateway leaves it out.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Serves until SIGINT; an error is one of the command line's.
pub fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let conf =
        ServerConf { threads: 1, upstream_keepalive_pool_size: UPSTREAM_POOL, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let bare = Bare { upstream: arguments.upstream };
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_listener(listener(&arguments.listen));
    if let Some(address) = &arguments.listen_tls {
        service.add_listener(listener(address).tls(tls(&arguments)?));
    }
    server.add_service(service);
    server.run_forever()
}

fn listener(address: &str) -> ListenerConfig {
    ListenerConfig::tcp(address).l4_buffer(L4BufferSettings::default().read(L4_READ_BUFFER))
}

/// TLS 1.3 without ALPN; without tickets and session cache unless asked.
fn tls(arguments: &Arguments) -> Result<TlsSettings, Box<dyn Error>> {
    let cert = text(arguments.cert.as_deref())?;
    let key = text(arguments.key.as_deref())?;
    let mut settings = TlsSettings::intermediate(cert, key)?;
    settings.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    if arguments.tickets == Switch::Off {
        settings.set_options(SslOptions::NO_TICKET);
        settings.set_session_cache_mode(SslSessionCacheMode::OFF);
    }
    Ok(settings)
}

fn text(path: Option<&std::path::Path>) -> Result<&str, Box<dyn Error>> {
    path.and_then(std::path::Path::to_str).ok_or_else(|| "--cert and --key need paths in UTF-8".into())
}

/// As in Tollgate: 4 KiB make an idle TLS connection 31 KiB instead of 51, at no CPU cost.
const L4_READ_BUFFER: usize = 4096;
/// Room for every connection of the generator (64), so that none is reopened.
const UPSTREAM_POOL: usize = 512;
