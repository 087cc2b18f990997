//! A certificate chain and its private key, read together.
//!
//! Owns what makes them a pair that a client would take: the key fits the first
//! certificate, is of a kind and size in use, and is not lying open. Does not
//! own names: whose host it answers for is `names`'. Key material never gets
//! into a problem.

use std::{
    fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use boring::{
    nid::Nid,
    pkey::{Id, PKey, PKeyRef, Private},
    x509::X509,
};

use super::{
    files::{Files, PemFile},
    validity,
};
use crate::config::{Problems, Source};

/// A chain and its key; the key fits the leaf.
#[derive(Clone)]
pub(super) struct Pair {
    /// The chain's file.
    pub file: PathBuf,
    /// Where the configuration names it.
    pub source: Source,
    /// The certificate itself.
    pub leaf: X509,
    /// The certificates of its issuers, nearest first.
    pub issuers: Vec<X509>,
    /// The private key.
    pub key: PKey<Private>,
    /// What kind of key.
    pub kind: KeyKind,
}

/// The two files of a pair, as configured.
pub(super) struct PairFiles<'a> {
    /// The chain's path.
    pub chain: &'a Path,
    /// The key's path.
    pub key: &'a Path,
    /// Where the chain is named.
    pub chain_source: Source,
    /// Where the key is named.
    pub key_source: Source,
}

impl Pair {
    /// Reads both files, then checks them against each other, so that a renewal
    /// that replaced only one of them is told and not half taken.
    pub fn load(paths: &PairFiles<'_>, files: Files<'_>, problems: &mut Problems) -> Option<Self> {
        let chain_file = files.read(paths.chain, CHAIN, &paths.chain_source, problems);
        let key_file = files.read(paths.key, KEY, &paths.key_source, problems);
        let (chain_file, key_file) = (chain_file?, key_file?);
        if chain_file.is_key() && key_file.is_chain() {
            let text = format!(
                "`{}` holds a key and no certificate; swap `chain` and `key`",
                chain_file.path.display()
            );
            problems.error(&paths.chain_source, text);
            return None;
        }
        let chain = read_chain(&chain_file, &paths.chain_source, problems);
        let key = read_key(&key_file, &paths.key_source, problems);
        let (mut chain, (key, kind)) = (chain?.into_iter(), key?);
        let (leaf, issuers) = (chain.next()?, chain.collect::<Vec<_>>());
        if let Some(text) = mismatch(&chain_file, &key_file, (&leaf, &issuers), &key) {
            problems.error(&paths.key_source, text);
            return None;
        }
        let source = paths.chain_source.clone();
        warn_of_order(&chain_file.path, (&leaf, &issuers), &source, problems);
        validity::warn(&chain_file.path, &leaf, files.now, &source, problems);
        Some(Self { file: chain_file.path, source, leaf, issuers, key, kind })
    }

    /// The certificate's DNS names, lower case, in its order. The common name is
    /// not one: no client has looked at it for years.
    pub fn dns_names(&self) -> Vec<Box<str>> {
        let names = self.leaf.subject_alt_names();
        let names = names.iter().flatten().filter_map(|name| name.dnsname());
        names.map(|name| name.to_ascii_lowercase().into_boxed_str()).collect()
    }
}

/// The kind of a key, as far as clients tell them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA, 2048 bits or more.
    Rsa,
}

impl KeyKind {
    fn of(key: &PKeyRef<Private>) -> Option<Self> {
        match key.id() {
            Id::RSA => Some(Self::Rsa),
            Id::EC => match key.ec_key().ok()?.group().curve_name()? {
                Nid::X9_62_PRIME256V1 => Some(Self::P256),
                Nid::SECP384R1 => Some(Self::P384),
                Nid::SECP521R1 => Some(Self::P521),
                _ => None,
            },
            _ => None,
        }
    }

    /// The signature scheme of RFC 8446 that a client offers when it takes such
    /// a certificate; `None` for RSA, which every client takes.
    pub(super) fn ecdsa_scheme(self) -> Option<u16> {
        match self {
            Self::P256 => Some(0x0403),
            Self::P384 => Some(0x0503),
            Self::P521 => Some(0x0603),
            Self::Rsa => None,
        }
    }

    /// `ECDSA` or `RSA`.
    pub(super) fn family(self) -> &'static str {
        if self == Self::Rsa { "RSA" } else { "ECDSA" }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "ECDSA P-256",
            Self::P384 => "ECDSA P-384",
            Self::P521 => "ECDSA P-521",
            Self::Rsa => "RSA",
        })
    }
}

fn read_chain(file: &PemFile, source: &Source, problems: &mut Problems) -> Option<Vec<X509>> {
    let path = file.path.display();
    match X509::stack_from_pem(&file.bytes) {
        Ok(chain) if !chain.is_empty() => return Some(chain),
        Ok(_) if file.is_key() => {
            let text =
                format!("`{path}` holds a key and no certificate; name the file that has {CHAIN}, here");
            problems.error(source, text);
        }
        Ok(_) => problems.error(source, format!("`{path}` holds no certificate; write {CHAIN} into it")),
        Err(_) => {
            problems.error(source, format!("`{path}` holds a damaged certificate; copy the file again"));
        }
    }
    None
}

fn read_key(file: &PemFile, source: &Source, problems: &mut Problems) -> Option<(PKey<Private>, KeyKind)> {
    let path = file.path.display();
    if file.contains("BEGIN ENCRYPTED PRIVATE KEY") || file.contains("Proc-Type: 4,ENCRYPTED") {
        let text =
            format!("`{path}` is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)");
        problems.error(source, text);
        return None;
    }
    if file.is_chain() {
        let text = format!("`{path}` holds certificates and no key; name the file that has {KEY}, here");
        problems.error(source, text);
        return None;
    }
    if !file.contains("PRIVATE KEY-----") {
        problems.error(source, format!("`{path}` holds no private key; write {KEY} into it"));
        return None;
    }
    let Ok(key) = PKey::private_key_from_pem(&file.bytes) else {
        problems.error(source, format!("`{path}` holds a damaged private key; copy the file again"));
        return None;
    };
    warn_of_rights(&file.path, source, problems);
    let Some(kind) = KeyKind::of(&key) else {
        let text =
            format!("`{path}` is a key that TLS clients do not take; make an ECDSA P-256 or RSA 2048 one");
        problems.error(source, text);
        return None;
    };
    if kind == KeyKind::Rsa && key.bits() < MIN_RSA_BITS {
        let bits = key.bits();
        let text = format!("`{path}` is an RSA key of {bits} bits; use {MIN_RSA_BITS} bits or ECDSA P-256");
        problems.error(source, text);
        return None;
    }
    Some((key, kind))
}

/// Why the key is not the leaf's.
fn mismatch(
    chain_file: &PemFile,
    key_file: &PemFile,
    (leaf, issuers): (&X509, &[X509]),
    key: &PKeyRef<Private>,
) -> Option<String> {
    let fits = |certificate: &X509| certificate.public_key().is_ok_and(|public| public.public_eq(key));
    if fits(leaf) {
        return None;
    }
    let (chain, key) = (chain_file.path.display(), key_file.path.display());
    Some(match issuers.iter().position(fits) {
        Some(behind) => format!(
            "the certificate of `{key}` is number {} in `{chain}`; put it first, then its issuers",
            behind + 2
        ),
        None => {
            format!("`{key}` is not the key of the first certificate in `{chain}`; give the two that belong")
        }
    })
}

/// Warns when a certificate of the chain did not issue the one before it.
fn warn_of_order(path: &Path, (leaf, issuers): (&X509, &[X509]), source: &Source, problems: &mut Problems) {
    let subjects = std::iter::once(leaf).chain(issuers);
    let broken = subjects.zip(issuers).position(|(subject, issuer)| issuer.issued(subject).is_err());
    if let Some(at) = broken {
        let (path, issuer, subject) = (path.display(), at + 2, at + 1);
        problems.warn(
            source,
            format!(
                "certificate {issuer} in `{path}` did not issue certificate {subject}; \
                 order them leaf first, each followed by its issuer"
            ),
        );
    }
}

fn warn_of_rights(path: &Path, source: &Source, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o777);
    if mode & 0o004 != 0 {
        let path = path.display();
        problems.warn(
            source,
            format!("`{path}` can be read by every user of this machine (mode {mode:04o}); `chmod 640` it"),
        );
    }
}

/// Clients refuse less, and so does the web's rule book since 2014.
const MIN_RSA_BITS: u32 = 2048;

const CHAIN: &str = "a certificate chain in PEM, leaf first";
const KEY: &str = "a private key in PEM";
