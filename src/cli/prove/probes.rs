//! What is tried: every probe, and how its token is made.

use std::io;

use serde_json::json;

use super::{
    mint::{Mint, json as bytes, sign},
    must::{
        NO_HOST, NO_METHOD, NO_PATH, NO_QUERY, accept, binds_body, bound, has_issuer, is_bound, refuse,
        replay,
    },
    probe::Probe,
    request::Request,
};
use crate::{
    config::signer::BindSpec,
    jwt::{decode, encode, forge, forge_hs256},
};

/// Every probe; the first and the last are good, so that refusals in between mean
/// something.
pub const PROBES: &[Probe] = &[
    Probe::new(
        "valid",
        "as the gateway sends it; compare issuer, audience, key set and clock",
        accept,
        |m| Ok(vec![m.value(&m.genuine()?.token)]),
    ),
    Probe::new("none", "no token at all; every way in has to ask for one", refuse, |_| Ok(Vec::new())),
    Probe::new("empty", "a field with nothing in it; that is no token", refuse, |m| Ok(vec![m.value("")])),
    Probe::new("not-a-token", "a text that is no token", refuse, |m| Ok(vec![m.value("tollgate-prove")])),
    Probe::new("expired", "it expired an hour ago; compare `exp` with the clock", refuse, |m| {
        let genuine = m.genuine()?;
        Ok(vec![m.value(&genuine.signed(&genuine.header, &genuine.claims_of_the_past())?)])
    }),
    Probe::new("not-yet", "it counts in an hour; compare `nbf` and `iat` with the clock", refuse, |m| {
        let genuine = m.genuine()?;
        Ok(vec![m.value(&genuine.signed(&genuine.header, &genuine.claims_of_the_future())?)])
    }),
    Probe::new("no-expiry", "no `exp`; require it", refuse, |m| without(m, "exp")),
    Probe::new("other-audience", "for another upstream; compare `aud` with your own name", refuse, |m| {
        claiming(m, "aud", NOBODY)
    }),
    Probe::new("no-audience", "no `aud`; require it", refuse, |m| without(m, "aud")),
    Probe::new("other-issuer", "by another issuer; compare `iss`", has_issuer, |m| {
        claiming(m, "iss", NOBODY)
    }),
    Probe::new("no-issuer", "no `iss`; require it", has_issuer, |m| without(m, "iss")),
    Probe::new(
        "forged",
        "signed by another key under the gateway's `kid`; verify the signature",
        refuse,
        |m| {
            let genuine = m.genuine()?;
            Ok(vec![m.value(&sign(&m.stranger, &genuine.header, &genuine.claims)?)])
        },
    ),
    Probe::new("unknown-key", "by a key that is not in the key set; refuse its `kid`", refuse, |m| {
        let genuine = m.genuine()?;
        let header = genuine.header_with("kid", json!(m.stranger.public.kid.as_str()));
        Ok(vec![m.value(&sign(&m.stranger, &header, &genuine.claims)?)])
    }),
    Probe::new("no-kid", "by another key, without `kid`; verify the signature", refuse, |m| {
        let genuine = m.genuine()?;
        let header = genuine.header_with("kid", json!(null));
        Ok(vec![m.value(&sign(&m.stranger, &header, &genuine.claims)?)])
    }),
    Probe::new("own-key", "it brings its own key (`jwk`); take keys from the key set alone", refuse, |m| {
        let genuine = m.genuine()?;
        let mut header = genuine.header_with("kid", json!(m.stranger.public.kid.as_str()));
        header.insert("jwk".to_owned(), serde_json::from_str(&m.stranger.public.to_json())?);
        Ok(vec![m.value(&sign(&m.stranger, &header, &genuine.claims)?)])
    }),
    Probe::new("alg-none", "`alg: none`; take the algorithm from the key", refuse, |m| unsigned(m, "none")),
    Probe::new("alg-none-mixed", "`alg: nOnE`; allow algorithms, do not forbid some", refuse, |m| {
        unsigned(m, "nOnE")
    }),
    Probe::new("no-signature", "its signature is cut off", refuse, |m| {
        let genuine = m.genuine()?;
        Ok(vec![m.value(&forge(&bytes(&genuine.header), &bytes(&genuine.claims), b""))])
    }),
    Probe::new(
        "hs256-pem",
        "HS256 with the public key (PEM) as secret; take the algorithm from the key",
        refuse,
        |m| {
            let pem = m.genuine()?.key.public_pem()?;
            hs256(m, &pem)
        },
    ),
    Probe::new(
        "hs256-jwk",
        "HS256 with the public key (JWK) as secret; take the algorithm from the key",
        refuse,
        |m| {
            let jwk = m.genuine()?.key.public.to_json();
            hs256(m, jwk.as_bytes())
        },
    ),
    Probe::new(
        "kid-path",
        "HS256 with an empty secret under a path as `kid`; never open what `kid` names",
        refuse,
        |m| {
            let genuine = m.genuine()?;
            let mut header = genuine.header_with("alg", json!("HS256"));
            header.insert("kid".to_owned(), json!("../../../../../../../../dev/null"));
            Ok(vec![m.value(&forge_hs256(&bytes(&header), &bytes(&genuine.claims), b"")?)])
        },
    ),
    Probe::new(
        "other-algorithm",
        "another kind of key under the gateway's `kid` (ES for RS, or RS for ES)",
        refuse,
        |m| {
            let genuine = m.genuine()?;
            let header = genuine.header_with("alg", json!(m.other_kind.algorithm().name()));
            Ok(vec![m.value(&sign(&m.other_kind, &header, &genuine.claims)?)])
        },
    ),
    Probe::new("changed-signature", "one bit of its signature is another", refuse, |m| {
        resigned(m, |signature| signature.iter_mut().skip(9).take(1).for_each(|byte| *byte ^= 1))
    }),
    Probe::new("zero-signature", "a signature of zeros; the library has to refuse r = s = 0", refuse, |m| {
        resigned(m, |signature| signature.fill(0))
    }),
    Probe::new("changed-claims", "other claims under the genuine signature", refuse, |m| {
        let genuine = m.genuine()?;
        let claims = encode(&bytes(&genuine.claims_with("sub", json!("tollgate-prove"))));
        let mut parts: Vec<_> = genuine.token.split('.').collect();
        parts.iter_mut().skip(1).take(1).for_each(|part| *part = &claims);
        Ok(vec![m.value(&parts.join("."))])
    }),
    Probe::new("critical", "it asks for an extension (`crit`) that nobody knows; refuse it", refuse, |m| {
        let genuine = m.genuine()?;
        let mut header = genuine.header_with("crit", json!(["tollgate-prove"]));
        header.insert("tollgate-prove".to_owned(), json!(true));
        Ok(vec![m.value(&genuine.signed(&header, &genuine.claims)?)])
    }),
    Probe::new(
        "another-method",
        "for another method; compare `htm`",
        |m| bound(m, BindSpec::Method, NO_METHOD),
        |m| {
            let method = if m.request.method == "PROPFIND" { "REPORT" } else { "PROPFIND" };
            of_another(m, |request| request.method = method.to_owned())
        },
    ),
    Probe::new(
        "another-path",
        "for another path; compare `htu`",
        |m| bound(m, BindSpec::Path, NO_PATH),
        |m| of_another(m, |request| request.path.push_str("/tollgate-prove")),
    ),
    Probe::new(
        "another-query",
        "for another query; compare `qh`",
        |m| bound(m, BindSpec::Query, NO_QUERY),
        |m| of_another(m, |request| request.query.get_or_insert_default().push_str("&tollgate-prove")),
    ),
    Probe::new(
        "another-host",
        "for another host; compare `htu`",
        |m| bound(m, BindSpec::Host, NO_HOST),
        |m| of_another(m, |request| request.host = NOBODY.to_owned()),
    ),
    Probe::new("another-body", "for another body; hash what came and compare", binds_body, |m| {
        of_another(m, |request| request.body.extend_from_slice(b"tollgate-prove"))
    }),
    Probe::new("not-bound", "bound to nothing, where tokens are; require each bound claim", is_bound, |m| {
        let genuine = m.genuine()?;
        let mut claims = genuine.claims.clone();
        claims.retain(|name, _| !["htm", "htu", "qh", "bh", "payloadhash"].contains(&name.as_str()));
        Ok(vec![m.value(&genuine.signed(&genuine.header, &claims)?)])
    }),
    Probe::new(
        "twice-good-first",
        "two fields, a good token and a forged one; take one field alone",
        refuse,
        |m| twice(m, false),
    ),
    Probe::new(
        "twice-good-last",
        "two fields, a forged token and a good one; take one field alone",
        refuse,
        |m| twice(m, true),
    ),
    Probe {
        is_replay: true,
        ..Probe::new("replayed", "the same token again; remember `jti` until it expires", replay, |m| {
            Ok(vec![m.value(&m.genuine()?.token)])
        })
    },
    Probe::new(
        "valid-again",
        "as the gateway sends it, after all of these; good tokens have to get in still",
        accept,
        |m| Ok(vec![m.value(&m.genuine()?.token)]),
    ),
];

fn claiming(mint: &Mint<'_>, claim: &str, value: &str) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    Ok(vec![mint.value(&genuine.signed(&genuine.header, &genuine.claims_with(claim, json!(value)))?)])
}

fn without(mint: &Mint<'_>, claim: &str) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    let claims = genuine.claims_with(claim, json!(null));
    Ok(vec![mint.value(&genuine.signed(&genuine.header, &claims)?)])
}

fn unsigned(mint: &Mint<'_>, alg: &str) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    let header = genuine.header_with("alg", json!(alg));
    Ok(vec![mint.value(&forge(&bytes(&header), &bytes(&genuine.claims), b""))])
}

fn hs256(mint: &Mint<'_>, secret: &[u8]) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    let header = genuine.header_with("alg", json!("HS256"));
    Ok(vec![mint.value(&forge_hs256(&bytes(&header), &bytes(&genuine.claims), secret)?)])
}

fn resigned(mint: &Mint<'_>, change: fn(&mut [u8])) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    let (signed, signature) = genuine.token.rsplit_once('.').unwrap_or_default();
    let mut signature = decode(signature.as_bytes()).unwrap_or_default();
    change(&mut signature);
    Ok(vec![mint.value(&format!("{signed}.{}", encode(&signature)))])
}

fn of_another(mint: &Mint<'_>, change: impl FnOnce(&mut Request)) -> io::Result<Vec<String>> {
    let mut request = mint.request.clone();
    change(&mut request);
    Ok(vec![mint.value(&mint.genuine_for(&request)?.token)])
}

fn twice(mint: &Mint<'_>, good_last: bool) -> io::Result<Vec<String>> {
    let genuine = mint.genuine()?;
    let forged = sign(&mint.stranger, &genuine.header, &genuine.claims)?;
    let mut values = vec![mint.value(&genuine.token), mint.value(&forged)];
    if good_last {
        values.reverse();
    }
    Ok(values)
}

/// RFC 2606: nobody is ever called so.
const NOBODY: &str = "tollgate-prove.invalid";
