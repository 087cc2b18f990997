//! TLS towards the store, on the one TLS stack that there is.
//!
//! Always holds: a certificate that does not verify for the host's name ends the
//! connection, before a password is sent.

use std::fmt;

use boring::{
    error::ErrorStack,
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};
use tokio::net::TcpStream;
use tokio_boring::SslStream;

use crate::telemetry::metrics::ExchangeResult;

/// Whom to trust, and under which name.
pub struct Tls {
    connector: SslConnector,
    /// Instead of the host that is connected to.
    server_name: Option<String>,
}

impl Tls {
    /// Trusts these authorities; `None` are the system's.
    pub(super) fn new(server_name: Option<&str>, authorities: Option<&[X509]>) -> Result<Self, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        match authorities {
            Some(authorities) => {
                let mut store = X509StoreBuilder::new()?;
                authorities.iter().try_for_each(|authority| store.add_cert(authority.clone()))?;
                builder.set_cert_store(store.build());
            }
            None => trust_system(&mut builder),
        }
        Ok(Self { connector: builder.build(), server_name: server_name.map(str::to_owned) })
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

/// Where a distribution keeps its authorities differs; BoringSSL knows one place of
/// them, which stays.
fn trust_system(builder: &mut SslConnectorBuilder) {
    let places = openssl_probe::probe();
    if let Some(file) = places.cert_file
        && let Err(why) = builder.set_ca_file(&file)
    {
        log::warn!("the system's authorities cannot be read: file={} error={why}", file.display());
    }
}
