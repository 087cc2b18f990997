//! A small upstream that verifies ES256 tokens, with at most one hole.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{SystemTime, UNIX_EPOCH},
};

use boring::{
    bn::BigNum,
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    hash::hmac_sha256,
    nid::Nid,
    pkey::{PKey, Public},
    sha::sha256,
};
use serde_json::Value;
use tollgate::jwt::{decode, encode};

/// What a verifier overlooks, or does too much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hole {
    None,
    NoToken,
    Signature,
    Expiry,
    Beginning,
    Audience,
    Issuer,
    OwnKey,
    AlgNone,
    Hs256,
    KidPath,
    Critical,
    Method,
    Path,
    Query,
    Body,
    NotBound,
    FirstField,
    LastField,
    Replay,
    /// Asks for no binding and remembers no token: right for unbound tokens.
    Unbound,
    /// Answers 500 to what it cannot take apart.
    Breaks,
    /// Closes without an answer what it refuses.
    Silent,
    /// Lets nobody in.
    Shut,
    /// Lets nobody in after the first bad token.
    LocksOut,
}

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub fields: Vec<String>,
    pub body: Vec<u8>,
}

pub struct Verifier {
    hole: Hole,
    keys: Vec<Value>,
    seen: HashSet<String>,
    bad: bool,
}

impl Verifier {
    /// Serves one connection after the other until the test ends.
    pub fn start(hole: Hole, set: &Value) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let keys = set["keys"].as_array().unwrap().clone();
        let mut verifier = Self { hole, keys, seen: HashSet::new(), bad: false };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                verifier.serve(stream.unwrap());
            }
        });
        address
    }

    fn serve(&mut self, mut stream: TcpStream) {
        let Some(request) = read(&mut stream) else { return };
        let status = self.status(&request);
        self.bad |= status != 200;
        if status != 200 && self.hole == Hole::Silent {
            return;
        }
        let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        stream.write_all(answer.as_bytes()).unwrap();
    }

    fn status(&mut self, request: &Request) -> u16 {
        let shut = self.hole == Hole::Shut || (self.hole == Hole::LocksOut && self.bad);
        match self.judge(request) {
            Some(true) if !shut => 200,
            None if self.hole == Hole::Breaks => 500,
            _ => 401,
        }
    }

    fn skips(&self, hole: Hole) -> bool {
        self.hole == hole
    }

    /// `None` for what cannot be taken apart.
    fn judge(&mut self, request: &Request) -> Option<bool> {
        let token = match (&request.fields[..], self.hole) {
            ([one], _) => one,
            ([], hole) => return Some(hole == Hole::NoToken),
            ([first, ..], Hole::FirstField) => first,
            ([.., last], Hole::LastField) => last,
            _ => return Some(false),
        };
        let parts: Vec<_> = token.split('.').collect();
        let [head, payload, signature] = parts[..] else { return None };
        let part = |text: &str| serde_json::from_slice::<Value>(&decode(text.as_bytes())?).ok();
        let (header, claims) = (part(head)?, part(payload)?);
        let signed = format!("{head}.{payload}");
        let signature = decode(signature.as_bytes())?;
        let good = self.is_signed(&header, signed.as_bytes(), &signature)
            && (self.skips(Hole::Critical) || header.get("crit").is_none())
            && self.is_now(&claims)
            && (self.skips(Hole::Audience) || claims["aud"] == "orders")
            && (self.skips(Hole::Issuer) || claims["iss"] == "https://gw.test")
            && self.is_bound(&claims, request);
        Some(good && self.is_new(&claims))
    }

    fn is_signed(&self, header: &Value, signed: &[u8], signature: &[u8]) -> bool {
        let alg = header["alg"].as_str().unwrap_or_default();
        if self.skips(Hole::AlgNone) && alg.eq_ignore_ascii_case("none") {
            return true;
        }
        let known = self.keys.iter().find(|key| key["kid"] == header["kid"]);
        match (known, self.hole) {
            (Some(key), Hole::Hs256) if alg == "HS256" => {
                return hmac_sha256(&public(key).public_key_to_pem().unwrap(), signed).unwrap() == signature;
            }
            (None, Hole::KidPath) if alg == "HS256" => {
                return hmac_sha256(b"", signed).unwrap() == signature;
            }
            (_, Hole::OwnKey) if header["jwk"].is_object() => {
                return verifies(&public(&header["jwk"]), signed, signature);
            }
            _ => {}
        }
        let Some(key) = known.filter(|_| alg == "ES256") else { return false };
        self.skips(Hole::Signature) || verifies(&public(key), signed, signature)
    }

    fn is_now(&self, claims: &Value) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let ends = claims["exp"].as_u64().is_some_and(|exp| now < exp);
        let began = ["nbf", "iat"].iter().all(|name| claims[*name].as_u64().is_none_or(|at| at <= now));
        (self.skips(Hole::Expiry) || ends) && (self.skips(Hole::Beginning) || began)
    }

    fn is_bound(&self, claims: &Value, request: &Request) -> bool {
        let hash = |bytes: &[u8]| encode(&sha256(bytes));
        let wanted = [
            (Hole::Method, "htm", request.method.clone()),
            (Hole::Path, "htu", request.path.clone()),
            (Hole::Query, "qh", hash(request.query.as_bytes())),
            (Hole::Body, "bh", hash(&request.body)),
        ];
        let is_bound = |(hole, claim, value): &(Hole, &str, String)| match claims.get(*claim) {
            None => self.skips(Hole::NotBound) || self.skips(Hole::Unbound),
            Some(is) => self.skips(*hole) || is == value,
        };
        wanted.iter().all(is_bound)
    }

    fn is_new(&mut self, claims: &Value) -> bool {
        let forgets = self.skips(Hole::Replay) || self.skips(Hole::Unbound);
        forgets || self.seen.insert(claims["jti"].as_str().unwrap_or_default().to_owned())
    }
}

fn public(jwk: &Value) -> PKey<Public> {
    let number =
        |name: &str| BigNum::from_slice(&decode(jwk[name].as_str().unwrap().as_bytes()).unwrap()).unwrap();
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = EcKey::from_public_key_affine_coordinates(&group, &number("x"), &number("y")).unwrap();
    PKey::from_ec_key(key).unwrap()
}

fn verifies(key: &PKey<Public>, signed: &[u8], signature: &[u8]) -> bool {
    let Some((r, s)) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32) else { return false };
    let number = |bytes| BigNum::from_slice(bytes).unwrap();
    let signature = EcdsaSig::from_private_components(number(r), number(s)).unwrap();
    signature.verify(&sha256(signed), &key.ec_key().unwrap()).unwrap_or(false)
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let mut room = [0; 4096];
        let read = stream.read(&mut room).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&room[..read]);
        if let Some(request) = parse(&bytes) {
            return Some(request);
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; 20];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(bytes).unwrap() else { return None };
    let values = |name: &str| -> Vec<String> {
        let found = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| String::from_utf8(field.value.to_vec()).unwrap()).collect()
    };
    let length = values("content-length").first().map_or(0, |length| length.parse().unwrap());
    let body = bytes.get(head..head + length)?.to_vec();
    let (path, query) = request.path.unwrap().split_once('?').unwrap_or((request.path.unwrap(), ""));
    Some(Request {
        method: request.method.unwrap().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        fields: values("jwt"),
        body,
    })
}
