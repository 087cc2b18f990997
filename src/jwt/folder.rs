//! A signer's folder of private keys.
//!
//! Owns which files are keys, who else may read them and everything that a file can
//! be instead of one. Always holds: a folder is taken whole or not at all, and no
//! problem shows what is in a key.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use boring::{
    pkey::{PKey, Private},
    x509::X509,
};

use super::key::{Kind, RSA_BITS, SigningKey, Unfit};
use crate::config::{
    Problems, Source,
    signer::{Algorithm, ProfileSpec},
};

mod place;
mod survey;

pub use place::KeyFolder;
pub use survey::{Surveyed, survey};

/// A key of a folder.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The file's name.
    pub name: Arc<str>,
    /// For how long the file was not written to.
    pub age: Duration,
    /// The key.
    pub key: Arc<SigningKey>,
}

/// What a folder has to hold.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Every key is of the kind that this needs.
    pub algorithm: Algorithm,
    /// Whether every key comes with its certificate.
    pub certificates: bool,
    /// Against which the age of files is told.
    pub now: SystemTime,
}

impl Wanted {
    /// What a signer of this profile and algorithm needs.
    pub fn of(profile: ProfileSpec, algorithm: Algorithm, now: SystemTime) -> Self {
        Self { algorithm, certificates: profile == ProfileSpec::KongUpstreamJwt, now }
    }
}

/// Every key of a folder, in the order of the files' names; `None` if any of them,
/// or the folder, has a problem.
pub(super) fn load(
    folder: &KeyFolder,
    wanted: Wanted,
    source: &Source,
    problems: &mut Problems,
) -> Option<Vec<Found>> {
    let paths = match folder.files() {
        Ok(paths) if !paths.is_empty() => paths,
        none => {
            problems.error(source, folder.told(none.err().as_ref(), &make(wanted.algorithm)));
            return None;
        }
    };
    let mut found = Vec::with_capacity(paths.len());
    let mut is_whole = true;
    if fs::metadata(folder.path()).is_ok_and(|data| anyone_may_write(data.mode())) {
        problems.error(source, format!(
            "`{}` can be written by everyone, who could put a key there; `chmod 750` it, and look at what is in it",
            folder.path().display()
        ));
        is_whole = false;
    }
    for path in &paths {
        match read(path, wanted) {
            Ok(key) => found.push(key),
            Err(text) => {
                is_whole = false;
                problems.error(source, format!("`{}` {text}", path.display()));
            }
        }
    }
    (is_whole && all_differ(folder.path(), &found, source, problems)).then_some(found)
}

fn read(path: &Path, wanted: Wanted) -> Result<Found, String> {
    let (bytes, data) = contents(path)?;
    check_rights(&data, path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut key = private_key(&text, &bytes, wanted.algorithm)?;
    if wanted.certificates {
        key.certificate = Some(certificate(&bytes, &key)?);
    }
    let age = data.modified().ok().and_then(|written| wanted.now.duration_since(written).ok());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Found { name: name.into(), age: age.unwrap_or_default(), key: Arc::new(key) })
}

/// All of a file, and who may read it. Asked of the open file, so that they are of
/// the same.
fn contents(path: &Path) -> Result<(Vec<u8>, Metadata), String> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "may not be read by the gateway's user; give it to that user with mode 0600".to_owned()
        }
        _ => format!("cannot be read ({error}); put a private key in PEM there"),
    };
    // To open a pipe would wait for whoever writes into it.
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err("is no file; put a private key in PEM there, or name it otherwise".to_owned());
    }
    let file = File::open(path).map_err(told)?;
    let data = file.metadata().map_err(told)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is longer than 64 KiB, and no key is; put a private key in PEM there".to_owned());
    }
    Ok((bytes, data))
}

/// A key that others can read is not the gateway's alone. Its group may where that is
/// how the gateway itself can: the file is another user's, as root's.
fn check_rights(data: &Metadata, path: &Path) -> Result<(), String> {
    // SAFETY: it only asks, and always succeeds.
    let user = unsafe { libc::geteuid() };
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let own = is_own(user, (data.uid(), data.gid()), folder.map(|folder| folder.gid()));
    let mode = data.mode() & 0o777;
    match is_open(mode, own) {
        false => Ok(()),
        true => Err(format!(
            "can be read or changed by others (mode {mode:04o}); make a new key, for this one may be known, and `chmod 600` it"
        )),
    }
}

/// Whether a file of this owner and group is the user's alone to read. Root looks
/// (`check`, `keys list`) at what is for a service's group, which is its folder's.
fn is_own(user: u32, (owner, group): (u32, u32), folders: Option<u32>) -> bool {
    let is_a_services = user == 0 && group != 0 && folders == Some(group);
    user == owner && !is_a_services
}

/// In a folder with the sticky bit everyone's files are their own.
fn anyone_may_write(mode: u32) -> bool {
    mode & 0o1002 == 0o002
}

fn is_open(mode: u32, is_own: bool) -> bool {
    mode & if is_own { 0o077 } else { 0o027 } != 0
}

fn private_key(text: &str, bytes: &[u8], algorithm: Algorithm) -> Result<SigningKey, String> {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)".to_owned());
    }
    match text.matches("PRIVATE KEY-----").count() / 2 {
        0 if text.contains("PUBLIC KEY-----") => {
            return Err("holds a public key; put the private one there".to_owned());
        }
        0 => {
            return Err(format!("holds no private key in PEM; make one: `{} FOLDER`", make(algorithm)));
        }
        1 => {}
        more => return Err(format!("holds {more} private keys; write each into a file of its own")),
    }
    let parsed = PKey::<Private>::private_key_from_pem(bytes);
    let key = parsed.map_err(|_| {
        "holds a private key that is damaged, or neither P-256, Ed25519 nor RSA; copy the file again, or make another".to_owned()
    })?;
    SigningKey::new(key, algorithm).map_err(|unfit| told(unfit, algorithm))
}

fn told(unfit: Unfit, algorithm: Algorithm) -> String {
    let make = make(algorithm);
    match unfit {
        Unfit::Kind(kind) => match kind.algorithm() {
            Some(other) => format!(
                "is {kind}, and {algorithm} needs {}; make one: `{make} FOLDER`, or write `algorithm: {other}`",
                wanted_kind(algorithm)
            ),
            None => format!(
                "is {kind}, and {algorithm} needs {}; make one: `{make} FOLDER`",
                wanted_kind(algorithm)
            ),
        },
        Unfit::Size(bits) => format!(
            "is an RSA key of {bits} bits; use {} to {} bits, or `algorithm: ES256` with a P-256 key",
            RSA_BITS.start(),
            RSA_BITS.end()
        ),
    }
}

fn wanted_kind(algorithm: Algorithm) -> Kind {
    match algorithm {
        Algorithm::Es256 => Kind::P256,
        Algorithm::EdDsa => Kind::Ed25519,
        Algorithm::Rs256 | Algorithm::Ps256 => Kind::Rsa(*RSA_BITS.start()),
    }
}

/// What makes a key for an algorithm, up to the folder that it goes into.
fn make(algorithm: Algorithm) -> String {
    format!("tollgate keys generate --algorithm {algorithm} --out")
}

/// The first certificate of the file, DER.
fn certificate(bytes: &[u8], key: &SigningKey) -> Result<Box<[u8]>, String> {
    let chain = X509::stack_from_pem(bytes)
        .map_err(|_| "holds a damaged certificate; copy the file again".to_owned())?;
    let Some(first) = chain.first() else {
        return Err(
            "holds no certificate, which profile `kong_upstream_jwt` sends as `x5c`; write it below the key"
                .to_owned(),
        );
    };
    if !key.is_of(first) {
        return Err("holds the certificate of another key first; write this key's".to_owned());
    }
    let der = first.to_der().map_err(|_| "holds a damaged certificate; copy the file again".to_owned())?;
    Ok(der.into())
}

/// Tells of files that hold the same key.
fn all_differ(folder: &Path, found: &[Found], source: &Source, problems: &mut Problems) -> bool {
    let mut differ = true;
    for (index, key) in found.iter().enumerate() {
        let same = |other: &&Found| other.key.public.kid == key.key.public.kid;
        if let Some(first) = found.iter().take(index).find(same) {
            differ = false;
            let (path, first) = (folder.join(&*key.name), &first.name);
            problems.error(
                source,
                format!("`{}` is the same key as `{first}`; remove one of them", path.display()),
            );
        }
    }
    differ
}

/// An RSA key of 4096 bits with a chain of certificates has 15 KiB.
const MAX_FILE: u64 = 64 << 10;

#[cfg(test)]
mod tests;
