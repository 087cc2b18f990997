//! Sets of certificate authorities.
//!
//! Owns reading them and their identity, which is of what they are, not of how
//! they were written: two files with the same authorities are the same set.

use std::path::Path;

use boring::{
    hash::MessageDigest,
    sha::Sha256,
    x509::{X509, X509Ref},
};

use super::{files::Files, validity};
use crate::config::{Problems, Source};

/// Certificate authorities that may have signed what a peer shows; at least one.
pub(super) struct Authorities {
    /// Each certificate, in the file's order.
    pub certificates: Vec<X509>,
    /// The same for the same set, whatever its order.
    pub digest: [u8; 32],
}

impl Authorities {
    /// Reads a PEM file of authorities. One that is expired is a warning.
    pub fn load(path: &Path, files: Files<'_>, source: &Source, problems: &mut Problems) -> Option<Self> {
        let file = files.read(path, WHAT, source, problems)?;
        let shown = file.path.display();
        let read = X509::stack_from_pem(&file.bytes).ok();
        let Some((certificates, digest)) = read.and_then(|list| {
            let digest = identity(&list)?;
            Some((list, digest))
        }) else {
            problems.error(source, format!("`{shown}` holds a damaged certificate; copy the file again"));
            return None;
        };
        if certificates.is_empty() {
            problems.error(source, format!("`{shown}` holds no certificate; write {WHAT} into it"));
            return None;
        }
        for certificate in &certificates {
            validity::warn(&file.path, certificate, files.now, source, problems);
        }
        Some(Self { certificates, digest })
    }

    /// Whether one of them signed itself, so that a chain can end there.
    pub fn has_root(&self) -> bool {
        self.certificates.iter().any(|certificate| certificate.issued(certificate).is_ok())
    }
}

/// SHA-256 over the sorted fingerprints of certificates.
fn identity(certificates: &[X509]) -> Option<[u8; 32]> {
    let mut prints: Vec<[u8; 32]> =
        certificates.iter().map(|certificate| fingerprint(certificate)).collect::<Option<_>>()?;
    prints.sort_unstable();
    prints.dedup();
    let mut hash = Sha256::new();
    prints.iter().for_each(|print| hash.update(print));
    Some(hash.finish())
}

/// SHA-256 of a certificate; `None` when BoringSSL cannot encode it.
pub(super) fn fingerprint(certificate: &X509Ref) -> Option<[u8; 32]> {
    certificate.digest(MessageDigest::sha256()).ok()?.as_ref().try_into().ok()
}

const WHAT: &str = "certificate authorities in PEM";
