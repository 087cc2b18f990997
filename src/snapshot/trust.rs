//! What verifies the tokens of an identity provider, from what the operator wrote and a
//! file of authorities.

use std::{path::Path, sync::Arc, time::SystemTime};

use crate::{
    config::{Config, Problems, Source, issuer::JwtSpec},
    jwt::trust::{Built, Verifier},
    live::LiveState,
    outward::connector,
    telemetry::metrics::KeyFetchResult,
    tls::authorities,
};

/// The verifier of these terms; the same one after a reload that leaves them as they
/// are. `None` where something is wrong: then `problems` says what. `source` is the place
/// of the entry's `jwt`.
pub(super) fn verifier(
    spec: &JwtSpec,
    source: &Source,
    config: &Config,
    live: &LiveState,
    problems: &mut Problems,
) -> Option<Arc<Verifier>> {
    let resolve = |path: &Path| config.resolve(path);
    let ca = spec.ca.as_deref();
    let ca = ca.map(|path| authorities(path, &source.key("ca"), &resolve, SystemTime::now(), problems));
    // Told already.
    let ca = ca.map_or(Some(None), |read| read.map(Some))?;
    let der = ca.as_ref().map(|ca| ca.iter().map(|one| one.to_der()).collect::<Result<Vec<_>, _>>());
    let (tls, authorities) = match (connector(ca.as_deref()), der.transpose()) {
        (Ok(tls), Ok(authorities)) => (tls, authorities),
        (Err(why), _) | (_, Err(why)) => {
            let text = format!("cannot be set up: {why}; check the authorities in it");
            problems.error(&source.key("ca"), text);
            return None;
        }
    };
    let file = spec.jwks_file.as_ref().map(|file| config.resolve(file));
    let shown = file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    match live.trust.verifier(spec, Built { file, authorities, tls }) {
        Ok(verifier) => Some(verifier),
        Err(why) => {
            problems.error(&source.key("jwks_file"), format!("`{shown}` {}", in_words(why)));
            None
        }
    }
}

fn in_words(why: KeyFetchResult) -> &'static str {
    match why {
        KeyFetchResult::Unreadable => "cannot be read; write the path of a file that the gateway may read",
        KeyFetchResult::TooLarge => "is larger than a key set may be, 512 KiB",
        KeyFetchResult::TooManyKeys => "has more than 100 keys; write those of one issuer",
        KeyFetchResult::NoKey => {
            "has no key to verify with: none of ECDSA, Ed25519 or RSA with 2048 bits or more"
        }
        KeyFetchResult::PrivateKey => {
            "shows a private key or a shared secret; write the public halves alone, and make new keys"
        }
        _ => "is no key set; write a JSON object with a list `keys` (RFC 7517)",
    }
}
