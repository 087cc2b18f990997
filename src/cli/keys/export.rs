//! `tollgate keys export`: public halves, in the forms that verifiers take.

use std::{collections::BTreeMap, io, process::ExitCode, sync::Arc};

use serde_json::{Value, json};

use super::folder::{Looked, Which};
use crate::{
    cli::{FAILED, print, tell},
    jwt::SigningKey,
};

/// Prints public keys.
#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    which: Which,
    /// A key set (RFC 7517), as gateways publish it. Of a FOLDER alone, RSA keys are for
    /// RS256; with --config for what their signer says.
    #[arg(long, group = "form")]
    jwks: bool,
    /// Public keys in PEM.
    #[arg(long, group = "form")]
    pem: bool,
    /// A key set whose keys have their certificates (`x5c`); each has to have one.
    #[arg(long, group = "form")]
    x5c: bool,
    /// This key alone, by its name; the beginning of it will do.
    #[arg(long)]
    kid: Option<String>,
    /// A JSON list of `kid` and `pem` instead of PEM alone; the others are JSON always.
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Exits 0; 1 for a file that is no key, or when nothing is called so.
    pub fn run(&self) -> io::Result<ExitCode> {
        let looked = match self.which.look() {
            Ok(looked) => looked,
            Err(code) => return Ok(code),
        };
        let problems: String =
            looked.iter().flat_map(Looked::problems).map(|line| format!("error: {line}\n")).collect();
        if !problems.is_empty() {
            return Ok(tell(&problems, FAILED));
        }
        let keys = self.chosen(&looked);
        if keys.is_empty() {
            return Ok(tell("error: no key is called so; see `tollgate keys list`\n", FAILED));
        }
        match self.text(&keys)? {
            Ok(text) => print(&text),
            Err(missing) => Ok(tell(&missing, FAILED)),
        }
    }

    /// In the order of their names, each once, as gateways publish them.
    fn chosen<'a>(&self, looked: &'a [Looked]) -> Vec<&'a Arc<SigningKey>> {
        let start = self.kid.as_deref().unwrap_or_default();
        let keys = looked.iter().flat_map(Looked::keys);
        let keys = keys.filter(|key| key.public.kid.as_str().starts_with(start));
        keys.map(|key| (&key.public.kid, key)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// What is printed, or which key has no certificate.
    fn text(&self, keys: &[&Arc<SigningKey>]) -> io::Result<Result<String, String>> {
        if self.pem {
            return pems(keys, self.json).map(Ok);
        }
        let mut set = Vec::new();
        for key in keys {
            let mut jwk: Value = serde_json::from_str(&key.public.to_json())?;
            if self.x5c && !add_certificate(&mut jwk, key) {
                let kid = &key.public.kid;
                return Ok(Err(format!(
                    "error: key {kid} has no certificate of its own in its file; write it below the key\n"
                )));
            }
            set.push(jwk);
        }
        Ok(Ok(format!("{:#}\n", json!({ "keys": set }))))
    }
}

fn pems(keys: &[&Arc<SigningKey>], as_json: bool) -> io::Result<String> {
    let mut list = Vec::new();
    for key in keys {
        let pem = String::from_utf8_lossy(&key.public_pem()?).into_owned();
        list.push((key.public.kid.to_string(), pem));
    }
    if as_json {
        let list: Vec<_> = list.iter().map(|(kid, pem)| json!({ "kid": kid, "pem": pem })).collect();
        return Ok(format!("{:#}\n", Value::Array(list)));
    }
    // With several, PEM has no other way to say which is which than text before it.
    let several = list.len() > 1;
    let one = |(kid, pem): (String, String)| if several { format!("kid {kid}\n{pem}") } else { pem };
    Ok(list.into_iter().map(one).collect())
}

fn add_certificate(jwk: &mut Value, key: &SigningKey) -> bool {
    let Some((der, members)) = key.certificate.as_ref().zip(jwk.as_object_mut()) else { return false };
    // Base64 here, where everything else of a key is base64url (RFC 7517, section 4.7).
    members.insert("x5c".to_owned(), json!([boring::base64::encode_block(der)]));
    true
}
