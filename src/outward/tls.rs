//! Whom to trust.

use boring::{
    error::ErrorStack,
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};

/// Connects with TLS 1.2 at least to who has a certificate of these authorities; `None`
/// are the system's.
///
/// # Errors
/// BoringSSL's.
pub fn connector(authorities: Option<&[X509]>) -> Result<SslConnector, ErrorStack> {
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
    Ok(builder.build())
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
