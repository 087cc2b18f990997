//! Where the key set of an issuer is, and how it is fetched from there.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use boring::{
    sha::{Sha256, sha256},
    ssl::SslConnector,
};
use serde_json::Value;

use super::json;
use crate::{
    config::types::HttpUrl,
    jwt::encode,
    outward::{NoDocument, get},
    telemetry::metrics::KeyFetchResult,
};

/// Where a key set is. Equal ones are the same key set, as trustworthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub kind: PlaceKind,
    /// The authorities' DER; `None` are the system's. A file can change while its name
    /// does not.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// Whether it may come without TLS from another machine.
    pub insecure: bool,
}

/// What kind of place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PlaceKind {
    /// There.
    Url(HttpUrl),
    /// Where this issuer says (OpenID Connect Discovery 1.0).
    Issuer(HttpUrl, String),
    /// On the disk.
    File(PathBuf),
}

impl Place {
    /// The same for equal ones, and for no others: what the next process knows it by.
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        self.authorities.iter().flatten().for_each(|der| hash.update(&sha256(der)));
        let trust = encode(&hash.finish());
        format!("{} {trust} {} {}", self.whole(), self.authorities.is_some(), self.insecure)
    }

    /// With the query, which may be a secret.
    fn whole(&self) -> String {
        match &self.kind {
            PlaceKind::Url(url) => url.to_string(),
            PlaceKind::Issuer(url, _) => format!("{}{WELL_KNOWN}", url.to_string().trim_end_matches('/')),
            PlaceKind::File(path) => path.display().to_string(),
        }
    }

    pub fn is_file(&self) -> bool {
        matches!(self.kind, PlaceKind::File(_))
    }

    /// Fetches it. How long that may take is the caller's.
    pub async fn fetch(&self, tls: &SslConnector) -> Result<Vec<u8>, KeyFetchResult> {
        match &self.kind {
            PlaceKind::Url(url) => get(url, tls, MOST_BYTES).await.map_err(failed),
            PlaceKind::File(path) => read(path),
            PlaceKind::Issuer(url, issuer) => {
                let told = get(&configuration_of(url)?, tls, MOST_BYTES).await.map_err(failed)?;
                let url = key_set_of(&told, issuer)?;
                if !url.is_https() && !url.address().is_loopback() && !self.insecure {
                    return Err(KeyFetchResult::Insecure);
                }
                get(&url, tls, MOST_BYTES).await.map_err(failed)
            }
        }
    }
}

/// As operators are told of it: without its query, in which a key of theirs may stand.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole();
        let told = if self.is_file() { Some(&*whole) } else { whole.split('?').next() };
        f.write_str(told.unwrap_or_default())
    }
}

/// Reads it from the disk.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyFetchResult> {
    let unread = |_| KeyFetchResult::Unreadable;
    // A pipe would hold up who opens it.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(KeyFetchResult::Unreadable);
    }
    let (mut bytes, file) = (Vec::new(), fs::File::open(path).map_err(unread)?);
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > MOST_BYTES { Err(KeyFetchResult::TooLarge) } else { Ok(bytes) }
}

fn configuration_of(issuer: &HttpUrl) -> Result<HttpUrl, KeyFetchResult> {
    let url = format!("{}{WELL_KNOWN}", issuer.to_string().trim_end_matches('/'));
    url.parse().map_err(|_| KeyFetchResult::OtherIssuer)
}

/// The key set that a configuration names, which has to be the issuer's own.
fn key_set_of(told: &[u8], issuer: &str) -> Result<HttpUrl, KeyFetchResult> {
    let told = json::object(told).ok_or(KeyFetchResult::NoKeySet)?;
    let text = |name: &str| told.get(name).and_then(Value::as_str);
    let is_own = text("issuer") == Some(issuer);
    let url = text("jwks_uri").filter(|_| is_own).and_then(|url| url.parse().ok());
    url.ok_or(KeyFetchResult::OtherIssuer)
}

fn failed(why: NoDocument) -> KeyFetchResult {
    match why {
        NoDocument::Unreachable => KeyFetchResult::Unreachable,
        NoDocument::Tls => KeyFetchResult::Tls,
        NoDocument::Redirect => KeyFetchResult::Redirect,
        NoDocument::Status(_) => KeyFetchResult::Status,
        NoDocument::NoHttp => KeyFetchResult::NoHttp,
        NoDocument::TooLarge => KeyFetchResult::TooLarge,
    }
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A hundred keys with their certificates.
const MOST_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_speaks_for_itself_alone() {
        let issuer = "https://a.test/realms/x";
        let told = |text: &str| key_set_of(text.as_bytes(), issuer).map(|url| url.to_string());

        assert_eq!(
            told(r#"{"issuer":"https://a.test/realms/x","jwks_uri":"https://b.test/k"}"#),
            Ok("https://b.test/k".to_owned())
        );
        for (text, why) in [
            (
                r#"{"issuer":"https://a.test/realms/y","jwks_uri":"https://b.test/k"}"#,
                KeyFetchResult::OtherIssuer,
            ),
            (r#"{"jwks_uri":"https://b.test/k"}"#, KeyFetchResult::OtherIssuer),
            (r#"{"issuer":"https://a.test/realms/x"}"#, KeyFetchResult::OtherIssuer),
            (r#"{"issuer":"https://a.test/realms/x","jwks_uri":"file:///k"}"#, KeyFetchResult::OtherIssuer),
            ("<html>", KeyFetchResult::NoKeySet),
        ] {
            assert_eq!(told(text), Err(why), "{text}");
        }
        for issuer in ["https://a.test/realms/x", "https://a.test/realms/x/"] {
            let url = configuration_of(&issuer.parse().unwrap()).unwrap().to_string();
            assert_eq!(url, "https://a.test/realms/x/.well-known/openid-configuration");
        }
    }
}
