//! `tollgate jwt verify`: whether a token is good, and what is wrong with it.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::{
    binding::Request,
    moment::Moment,
    show::{part, table},
};
use crate::{
    cli::{
        FAILED,
        http::{Client, Url},
        print, tell,
    },
    config::types::{MethodName, Span},
    jwt::{Expected, PublicKeys, verify},
};

/// Verifies a token.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The token, with or without `Bearer `; `-` reads it from standard input, where
    /// no list of processes shows it.
    token: String,
    /// The key set: a file, an http(s) address, or `-` for standard input.
    #[arg(long, value_name = "FILE|URL|-")]
    jwks: String,
    /// `iss` has to be this.
    #[arg(long)]
    issuer: Option<String>,
    /// `aud` has to name this.
    #[arg(long)]
    audience: Option<String>,
    /// The token has to be bound to this method (`htm`).
    #[arg(long)]
    method: Option<MethodName>,
    /// The token has to be bound to this path, or to this whole URL (`htu`).
    #[arg(long)]
    path: Option<String>,
    /// The token has to be bound to this query, without `?` (`qh`).
    #[arg(long)]
    query: Option<String>,
    /// The token has to be bound to the bytes of this file (`bh` or `payloadhash`).
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// As if it were then: `2026-11-21T10:00:00Z`, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// By how much clocks may differ, as `5s`. Default: not at all.
    #[arg(long, value_name = "SPAN")]
    leeway: Option<Span>,
    /// Whom to trust for https: a PEM file. Default: the system's authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Exits 0 or 1.
    pub fn run(&self) -> io::Result<ExitCode> {
        if self.token == "-" && self.jwks == "-" {
            return Ok(tell("error: token and key set cannot both be standard input\n", super::super::USAGE));
        }
        let token = self.token()?;
        let keys = match PublicKeys::parse(&self.key_set()?) {
            Ok(keys) => keys,
            Err(flaw) => return Ok(tell(&format!("error: {}: {flaw}\n", self.jwks), FAILED)),
        };
        let flaws = self.flaws(&token, &keys)?;
        let (header, claims) = (part(&token, 0), part(&token, 1));
        if self.json {
            let told =
                json!({ "ok": flaws.is_empty(), "problems": flaws, "header": header, "claims": claims });
            print(&format!("{told:#}\n"))?;
        } else {
            let now = self.now();
            print(&table(header.as_ref(), claims.as_ref(), flaws.is_empty(), now))?;
            tell(&flaws.iter().map(|flaw| format!("bad: {flaw}\n")).collect::<String>(), FAILED);
        }
        Ok(if flaws.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    /// In words; the first of the token itself, and each thing that it is not bound to.
    fn flaws(&self, token: &str, keys: &PublicKeys) -> io::Result<Vec<String>> {
        let expected = Expected {
            issuer: self.issuer.as_deref(),
            audience: self.audience.as_deref(),
            leeway: self.leeway.map(|leeway| leeway.duration()).unwrap_or_default(),
        };
        let body = self.body.as_ref().map(fs::read).transpose()?;
        let request = Request {
            method: self.method.as_ref().map(|method| method.method().as_str()),
            path: self.path.as_deref(),
            query: self.query.as_deref(),
            body: body.as_deref(),
        };
        Ok(match verify(token, keys, &expected, self.now()) {
            Ok(good) => request.flaws(&good.claims),
            Err(flaw) => vec![flaw.to_string()],
        })
    }

    fn now(&self) -> SystemTime {
        self.at.map_or_else(SystemTime::now, |at| at.0)
    }

    fn token(&self) -> io::Result<String> {
        let text = if self.token == "-" { read_stdin()? } else { self.token.clone().into_bytes() };
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Ok(text.strip_prefix("Bearer ").map(str::to_owned).unwrap_or(text))
    }

    fn key_set(&self) -> io::Result<Vec<u8>> {
        if self.jwks == "-" {
            return read_stdin();
        }
        if !self.jwks.contains("://") {
            let named = |why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", self.jwks));
            return fs::read(&self.jwks).map_err(named);
        }
        let url: Url = self.jwks.parse().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let client = Client { ca: self.ca.clone(), server_name: None, patience: PATIENCE };
        client.get(&url)
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::stdin().lock().take(1 << 20).read_to_end(&mut text)?;
    Ok(text)
}

const PATIENCE: Duration = Duration::from_secs(10);
