//! Who is asked, and for what: everything that is the same for all connections.
//!
//! Owns the address, TLS and the bytes of the request.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use boring::ssl::{SslConnector, SslMethod, SslVerifyMode};
use http::Uri;

use crate::senders::Senders;

/// What a request is, as the command line says it.
#[derive(clap::Args, Debug)]
pub struct Request {
    /// Whom to ask, and for what, as https://gateway.example.com/orders
    pub url: Uri,
    /// Method
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// One more header field, as `x-api-key: 1`; again for another one
    #[arg(long = "header", short = 'H')]
    pub headers: Vec<String>,
    /// Body
    #[arg(long, default_value = "")]
    pub body: String,
    /// Who may have signed the certificate, PEM; default: the system's authorities
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Any certificate will do
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
}

/// Ready to be asked.
pub struct Target {
    /// The first that the name has.
    pub address: SocketAddr,
    /// Name of the server, and how its certificate is verified; `None` on cleartext.
    pub tls: Option<(String, SslConnector)>,
    /// A whole request.
    pub request: Vec<u8>,
    /// Whether answers have no body, whatever their fields say.
    pub head: bool,
    /// What connections begin with.
    pub senders: Senders,
}

impl Target {
    /// Looks the name up and reads the authorities; errors say which option to mend.
    pub fn new(asked: &Request, senders: Senders) -> io::Result<Self> {
        let Some(host) = asked.url.host() else { return Err(bad("the URL names no host")) };
        let secure = match asked.url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("the URL begins with neither http:// nor https://")),
        };
        let port = asked.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        // An IPv6 address stands in brackets there, which a look-up does not take.
        let name = host.trim_matches(['[', ']']);
        let address = (name, port).to_socket_addrs()?.next().ok_or_else(|| bad("the host has no address"))?;
        let tls = secure.then(|| connector(asked).map(|connector| (name.to_owned(), connector)));
        Ok(Self {
            address,
            tls: tls.transpose()?,
            request: bytes(asked)?,
            head: asked.method == "HEAD",
            senders,
        })
    }
}

fn connector(asked: &Request) -> io::Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    builder.set_alpn_protos(b"\x08http/1.1")?;
    if let Some(ca) = &asked.ca {
        builder.set_ca_file(ca).map_err(|error| bad(format!("--ca {}: {error}", ca.display())))?;
    }
    if asked.insecure {
        builder.set_verify(SslVerifyMode::NONE);
    }
    Ok(builder.build())
}

fn bytes(asked: &Request) -> io::Result<Vec<u8>> {
    let target = asked.url.path_and_query().map_or("/", |target| target.as_str());
    let host = asked.url.authority().map_or("", |authority| authority.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\n", asked.method);
    for field in &asked.headers {
        if !field.contains(':') || field.contains(['\r', '\n']) {
            return Err(bad(format!("--header {field:?} is no field; write `name: value`")));
        }
        head += &format!("{field}\r\n");
    }
    if !asked.body.is_empty() {
        head += &format!("content-length: {}\r\n", asked.body.len());
    }
    Ok([head.as_bytes(), b"\r\n", asked.body.as_bytes()].concat())
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}
