//! TLS towards the store, on the one TLS stack that there is.
//!
//! Always holds: a certificate that does not verify for the host's name ends the
//! connection, before a password is sent.

use std::fmt;

use boring::{error::ErrorStack, ssl::SslConnector, x509::X509};
use tokio::net::TcpStream;
use tokio_boring::SslStream;

use crate::{outward::connector, telemetry::metrics::ExchangeResult};

/// Whom to trust, and under which name.
pub struct Tls {
    connector: SslConnector,
    /// Instead of the host that is connected to.
    server_name: Option<String>,
}

impl Tls {
    /// Trusts these authorities; `None` are the system's.
    pub(super) fn new(server_name: Option<&str>, authorities: Option<&[X509]>) -> Result<Self, ErrorStack> {
        let connector = connector(authorities)?;
        Ok(Self { connector, server_name: server_name.map(str::to_owned) })
    }

    /// Shakes hands with the store at this host.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<SslStream<TcpStream>, ExchangeResult> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let failed = |why: &dyn fmt::Display| {
            log::debug!("no TLS with the store: name={name} error={why}");
            ExchangeResult::Tls
        };
        let terms = self.connector.configure().map_err(|why| failed(&why))?;
        tokio_boring::connect(terms, name, stream).await.map_err(|why| failed(&why))
    }
}
