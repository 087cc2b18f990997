//! What lies in a folder of keys, file by file, for people to look at.
//!
//! Owns no rule: each file is looked at as a signer's would be. Unlike a signer it
//! goes on at a bad file.

use std::{fs, io, path::Path, path::PathBuf, sync::Arc, time::SystemTime};

use boring::pkey::{PKey, Private};

use super::{KeyFolder, Wanted, read};
use crate::{
    config::signer::{ProfileSpec, SignerSpec},
    jwt::key::{Kind, SigningKey},
};

/// A file that could be a key.
pub struct Surveyed {
    /// Where it is.
    pub path: PathBuf,
    /// The key, with its certificate where the file has one; or what is wrong, as
    /// the end of a sentence that begins with the file.
    pub key: Result<Arc<SigningKey>, String>,
}

/// Every file of a folder that could be a key, in the order of their names. Without a
/// `signer` each key is for the algorithm of its kind, RSA for `RS256`, and needs no
/// certificate.
///
/// # Errors
/// The folder cannot be listed.
pub fn survey(folder: &KeyFolder, signer: Option<&SignerSpec>) -> io::Result<Vec<Surveyed>> {
    let look = |path: PathBuf| {
        let key = read(&path, wanted(&path, signer)).map(|found| found.key);
        Surveyed { key: key.or_else(|why| without_certificate(&path, signer, why)), path }
    };
    let mut all: Vec<_> = folder.files()?.into_iter().map(look).collect();
    tell_of_equals(&mut all);
    Ok(all)
}

fn wanted(path: &Path, signer: Option<&SignerSpec>) -> Wanted {
    let now = SystemTime::now();
    if let Some(spec) = signer {
        return Wanted::of(spec.profile, spec.algorithm(), now);
    }
    // What cannot be read here is told by who reads it next.
    let is_file = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= super::MAX_FILE);
    let bytes = if is_file { fs::read(path).unwrap_or_default() } else { Vec::new() };
    let key = PKey::<Private>::private_key_from_pem(&bytes).ok();
    let algorithm = key.and_then(|key| Kind::of(&key).algorithm()).unwrap_or_default();
    Wanted { algorithm, certificates: has_certificate(&bytes), now }
}

/// Where nobody asked for certificates, a bad one does not hide the key.
fn without_certificate(
    path: &Path,
    signer: Option<&SignerSpec>,
    why: String,
) -> Result<Arc<SigningKey>, String> {
    let needs = signer.is_some_and(|spec| spec.profile == ProfileSpec::KongUpstreamJwt);
    let wanted = wanted(path, signer);
    if needs || !wanted.certificates {
        return Err(why);
    }
    read(path, Wanted { certificates: false, ..wanted }).map(|found| found.key).map_err(|_| why)
}

fn has_certificate(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("-----BEGIN CERTIFICATE-----")
}

/// A gateway takes no folder that holds a key twice.
fn tell_of_equals(all: &mut [Surveyed]) {
    let mut seen: Vec<(String, String)> = Vec::new();
    for file in all {
        let Ok(key) = &file.key else { continue };
        let kid = key.public.kid.to_string();
        match seen.iter().find(|(other, _)| *other == kid) {
            Some((_, first)) => {
                file.key = Err(format!("is the same key as `{first}`; remove one of them"));
            }
            None => seen.push((kid, file.path.file_name().unwrap_or_default().to_string_lossy().into())),
        }
    }
}
