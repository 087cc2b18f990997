//! [`HttpUrl`]: where a document is fetched from.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, ServerAddress, text_value};

/// Where a document is fetched from: `https://login.example.com/jwks.json`, with nobody's
/// name in it. Without a port 443, or 80 of `http://`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl {
    is_https: bool,
    address: ServerAddress,
    path: String,
}

impl HttpUrl {
    /// Whether it is fetched over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whom to connect to.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// What to ask there, with its query; begins with a slash, visible ASCII alone.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What `Host` says: the port only where it is another than the scheme's own.
    pub fn authority(&self) -> String {
        let all = self.address.to_string();
        match all.strip_suffix(if self.is_https { ":443" } else { ":80" }) {
            Some(host) => host.to_owned(),
            None => all,
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.is_https { "https" } else { "http" }, self.authority(), self.path)
    }
}

impl FromStr for HttpUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // Not told as it was written: a password may stand in it.
        parse(text).ok_or(Invalid::new(
            "this is no URL of a document; write `https://`, a host and a path, as `https://login.example.com/.well-known/jwks.json`",
        ))
    }
}

fn parse(text: &str) -> Option<HttpUrl> {
    let (is_https, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let address = match has_port {
        true => authority.parse(),
        false => format!("{authority}:{}", if is_https { 443 } else { 80 }).parse(),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(HttpUrl { is_https, address: address.ok()?, path })
}

text_value!(
    HttpUrl,
    r"^https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]+)?([/?][!-~]*)?$",
    "https://login.example.com/.well-known/jwks.json"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_and_a_path_may_be_left_out() {
        for (text, shown, address) in [
            ("https://a.test/keys?x=1", "https://a.test/keys?x=1", "a.test:443"),
            ("https://a.test", "https://a.test/", "a.test:443"),
            ("https://a.test:443/", "https://a.test/", "a.test:443"),
            ("http://127.0.0.1/k", "http://127.0.0.1/k", "127.0.0.1:80"),
            ("http://[::1]:8080/k", "http://[::1]:8080/k", "[::1]:8080"),
            ("https://[::1]/k", "https://[::1]/k", "[::1]:443"),
            ("https://a.test?x", "https://a.test/?x", "a.test:443"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.address().to_string().as_str()), (shown, address));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_repeated() {
        for bad in [
            "",
            "a.test/keys",
            "ftp://a.test/",
            "https:///keys",
            "https://me:secret@a.test/keys",
            "https://a.test:0/",
            "https://a.test/ keys",
            "https://a.test/\r\nX: y",
            "https://a.test/#here",
            "HTTPS://a.test/",
        ] {
            let why = bad.parse::<HttpUrl>().unwrap_err().to_string();
            assert!(!why.contains("secret"), "{bad}: {why}");
        }
    }
}
