//! `tollgate apikey`: makes API keys, and the lines that files of keys hold of them.
//!
//! Always holds: a key is shown once, to whoever makes it, and is written nowhere.

use std::{
    io::{self, IsTerminal, Read},
    process::ExitCode,
};

use super::{USAGE, print, tell};
use crate::{
    config::types::{KeyDigest, MomentOfDay, Name},
    identity::{NewKey, key_digest},
    telemetry::random::random,
};

/// Makes API keys, and the lines that files of keys hold of them.
#[derive(Debug, clap::Args)]
pub struct ApiKey {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key: prints it, and the line to add to a file of `api_keys.files`.
    ///
    /// The key is shown this once. The file holds its SHA-256 alone; a gateway takes the
    /// file within a second or so, without a reload. To rotate: add a second line for the
    /// same consumer, give out the new key, and take the old line away.
    #[command(after_help = EXAMPLES)]
    New(New),
    /// Read a key from standard input and print its SHA-256: for keys of another gateway.
    Hash,
}

#[derive(Debug, clap::Args)]
struct New {
    /// Whose key it is.
    #[arg(long)]
    consumer: Name,
    /// Whose tenant's: through another's VPC endpoint it is not good.
    #[arg(long)]
    tenant: Option<Name>,
    /// A limit of its own, beside those of routes; may be repeated.
    #[arg(long = "limit", value_name = "LIMIT")]
    limits: Vec<Name>,
    /// What it may do; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<String>,
    /// From when on it is not good any more: `2027-01-31`, or `2027-01-31T12:00:00Z`.
    #[arg(long)]
    expires: Option<MomentOfDay>,
    /// Print key, hash and line as JSON.
    #[arg(long)]
    json: bool,
}

impl ApiKey {
    /// Exits 0, or 2 when there is nothing to hash.
    pub fn run(&self) -> io::Result<ExitCode> {
        match &self.verb {
            Verb::New(new) => new.run(),
            Verb::Hash => hash(),
        }
    }
}

impl New {
    fn run(&self) -> io::Result<ExitCode> {
        let NewKey { key, digest } = NewKey::new(&random());
        let line = self.line(&digest);
        if self.json {
            let told = serde_json::json!({ "key": key, "sha256": digest.to_string(), "line": line });
            return print(&format!("{told:#}\n"));
        }
        print(&format!(
            "{key}\n\n\
             That is the key; it is not shown again. Below `keys:` of a file of keys add:\n\n  {line}\n"
        ))
    }

    /// As a file of keys has it.
    fn line(&self, digest: &KeyDigest) -> String {
        let mut line = format!("- {{ consumer: {}, sha256: {digest}", Quoted(self.consumer.as_str()));
        if let Some(tenant) = &self.tenant {
            line.push_str(&format!(", tenant: {}", Quoted(tenant.as_str())));
        }
        let list = |texts: Vec<&str>| {
            texts.into_iter().map(|text| Quoted(text).to_string()).collect::<Vec<_>>().join(", ")
        };
        if !self.limits.is_empty() {
            line.push_str(&format!(", limits: [{}]", list(self.limits.iter().map(Name::as_str).collect())));
        }
        if !self.scopes.is_empty() {
            line.push_str(&format!(", scopes: [{}]", list(self.scopes.iter().map(String::as_str).collect())));
        }
        if let Some(expires) = self.expires {
            line.push_str(&format!(", expires: \"{expires}\""));
        }
        line + " }"
    }
}

fn hash() -> io::Result<ExitCode> {
    if io::stdin().is_terminal() {
        return Ok(tell(
            "error: write the key to standard input, not on the command line, where others see it: `tollgate apikey hash < FILE`\n",
            USAGE,
        ));
    }
    let mut key = Vec::new();
    io::stdin().take(MOST_BYTES).read_to_end(&mut key)?;
    let key = key.trim_ascii();
    if key.is_empty() {
        return Ok(tell("error: there is no key at standard input\n", USAGE));
    }
    print(&format!("{}\n", key_digest(key)))
}

fn scope(text: &str) -> Result<String, String> {
    match crate::config::api_keys::is_scope(text) {
        true => Ok(text.to_owned()),
        false => Err("write one word, as `orders:read`".to_owned()),
    }
}

/// Text as YAML reads it back, whatever it looks like: a consumer may be called `yes`.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let word = !matches!(
            self.0.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
        match word && self.0.bytes().all(plain) && self.0.starts_with(|c: char| c.is_ascii_alphabetic()) {
            true => f.write_str(self.0),
            false => write!(f, "\"{}\"", self.0),
        }
    }
}

/// More than a header can carry.
const MOST_BYTES: u64 = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  tollgate apikey new --consumer partner-a
  tollgate apikey new --consumer partner-a --limit gold --scope orders:read --expires 2027-01-31
  tollgate apikey new --consumer billing-batch --tenant billing --json";

#[cfg(test)]
mod tests {
    use super::*;

    fn new(consumer: &str) -> New {
        New {
            consumer: consumer.parse().unwrap(),
            tenant: None,
            limits: Vec::new(),
            scopes: Vec::new(),
            expires: None,
            json: false,
        }
    }

    #[test]
    fn a_line_is_read_back_as_it_was_meant() {
        let digest = key_digest(b"one");
        let full = New {
            tenant: Some("off".parse().unwrap()),
            limits: vec!["gold".parse().unwrap(), "7".parse().unwrap()],
            scopes: vec!["orders:read".to_owned(), "*".to_owned()],
            expires: Some("2027-01-31".parse().unwrap()),
            ..new("1.5")
        };
        for (new, names) in [(new("partner-a"), "partner-a"), (new("null"), "null"), (full, "1.5")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keys.yaml");
            std::fs::write(&path, format!("keys:\n  {}\n", new.line(&digest))).unwrap();
            let mut problems = crate::config::Problems::default();

            let keys =
                crate::config::read_keys_file(&path, &mut problems).unwrap_or_else(|| panic!("{problems}"));

            let spec = &keys[0].spec;
            assert_eq!((spec.consumer.as_str(), spec.sha256), (names, digest));
            assert_eq!((&spec.limits, &spec.scopes), (&new.limits, &new.scopes));
            assert_eq!((&spec.tenant, spec.expires), (&new.tenant, new.expires));
        }
    }
}
