//! Who is behind the hashes of a limit's keys: what an operator reads in their
//! place.
//!
//! Owns a small table of those that used much of a limit lately. A limit itself
//! knows hashes alone. Does not own what a key is made of in a request.
//!
//! Always holds: a part that says who somebody is comes out as a hash of its own
//! unless it is asked for, and one that lets somebody in never comes out.

use std::{
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    KeySeeds,
    key::{KeyHash, KeyPart},
};

/// The names of some keys of a limit: of those that share a slot, the one that was
/// named last.
pub struct KeyNames(Box<[Slot]>);

#[derive(Default)]
struct Slot {
    tag: AtomicU64,
    named: Mutex<Option<(KeyHash, KeyName)>>,
}

impl Default for KeyNames {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Slot::default()).collect())
    }
}

impl KeyNames {
    /// Whether to name this key now: a glance, for every request. Where it would
    /// take the place of another it is so once in a while, lest a flood of keys have
    /// each of them written down.
    pub fn wants(&self, key: KeyHash) -> bool {
        match self.slot(key).map(|slot| slot.tag.load(Relaxed)) {
            Some(0) => true,
            Some(tag) => tag != key.tag() && fastrand::u8(..SELDOM) == 0,
            None => false,
        }
    }

    /// Names a key. Nothing comes of it while another thread names one in its place.
    pub fn learn(&self, key: KeyHash, name: KeyName) {
        let Some(slot) = self.slot(key) else { return };
        if let Ok(mut named) = slot.named.try_lock() {
            *named = Some((key, name));
            slot.tag.store(key.tag(), Relaxed);
        }
    }

    /// What a key is called, for operators. Whom it names is told with `reveal`.
    pub fn told(&self, key: KeyHash, seeds: &KeySeeds, reveal: bool) -> Option<String> {
        let named = self.slot(key)?.named.lock().unwrap_or_else(PoisonError::into_inner);
        let (owner, name) = named.as_ref()?;
        (*owner == key).then(|| name.told(seeds, reveal))
    }

    fn slot(&self, key: KeyHash) -> Option<&Slot> {
        self.0.get(usize::try_from(key.tag() % SLOTS).ok()?)
    }
}

/// The parts of a key, as a request had them.
#[derive(Default)]
pub struct KeyName(Vec<(String, Value)>);

enum Value {
    Open(String),
    /// Says who somebody is.
    Personal(String),
    /// Lets somebody in: only its hash is kept.
    Secret(KeyHash),
    Missing,
}

impl KeyName {
    /// Adds a part with its value; `None` where the request lacks it.
    pub fn add(&mut self, part: &KeyPart, value: Option<&[u8]>, seeds: &KeySeeds) {
        let value = match value {
            None => Value::Missing,
            Some(bytes) if is_secret(part) => Value::Secret(hash(bytes, seeds)),
            Some(bytes) if is_personal(part) => Value::Personal(shown(bytes)),
            Some(bytes) => Value::Open(shown(bytes)),
        };
        self.0.push((label(part), value));
    }

    fn told(&self, seeds: &KeySeeds, reveal: bool) -> String {
        let mut text = String::new();
        for (label, value) in &self.0 {
            let space = if text.is_empty() { "" } else { " " };
            // Writing into a `String` cannot fail.
            let _ = match value {
                Value::Open(value) => write!(text, "{space}{label}={value}"),
                Value::Personal(value) if reveal => write!(text, "{space}{label}={value}"),
                Value::Personal(value) => {
                    write!(text, "{space}{label}=#{}", short(hash(value.as_bytes(), seeds)))
                }
                Value::Secret(hash) => write!(text, "{space}{label}=#{}", short(*hash)),
                Value::Missing => write!(text, "{space}{label} missing"),
            };
        }
        text
    }
}

/// As it is written in the configuration.
fn label(part: &KeyPart) -> String {
    match part {
        KeyPart::ClientAddress => "client_address".to_owned(),
        KeyPart::Tenant => "tenant".to_owned(),
        KeyPart::Consumer => "consumer".to_owned(),
        KeyPart::Claim(name) => format!("claim {name}"),
        KeyPart::Header(name) => format!("header {name}"),
        KeyPart::Cookie(name) => format!("cookie {name}"),
        KeyPart::Query(name) => format!("query {name}"),
        KeyPart::Route => "route".to_owned(),
        KeyPart::Method => "method".to_owned(),
        KeyPart::PathTemplate => "path_template".to_owned(),
    }
}

fn is_personal(part: &KeyPart) -> bool {
    !matches!(part, KeyPart::Tenant | KeyPart::Route | KeyPart::Method | KeyPart::PathTemplate)
}

/// Cookies are sessions more often than not, and so are parameters and fields with
/// such names.
fn is_secret(part: &KeyPart) -> bool {
    let named = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRETS.iter().any(|word| name.contains(word))
    };
    match part {
        KeyPart::Cookie(_) => true,
        KeyPart::Header(name) => named(name.as_str()),
        KeyPart::Query(name) => named(name),
        _ => false,
    }
}

/// Nothing in it moves a terminal's cursor, and nothing makes it long.
fn shown(bytes: &[u8]) -> String {
    let (start, cut) = match bytes.get(..LONGEST) {
        Some(start) if bytes.len() > LONGEST => (start, "…"),
        _ => (bytes, ""),
    };
    format!("{}{cut}", start.escape_ascii())
}

fn hash(bytes: &[u8], seeds: &KeySeeds) -> KeyHash {
    let mut hasher = seeds.hasher();
    hasher.part(bytes);
    hasher.finish()
}

fn short(hash: KeyHash) -> String {
    hash.to_string().chars().take(8).collect()
}

/// As many as an operator looks at, and some that share a slot.
const SLOTS: u64 = 1024;
const SELDOM: u8 = 8;
/// Of a value, in bytes.
const LONGEST: usize = 64;
const SECRETS: [&str; 11] =
    ["auth", "cookie", "credential", "jwt", "key", "pass", "secret", "session", "sig", "token", "csrf"];

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn told(parts: &[(KeyPart, Option<&str>)], reveal: bool) -> String {
        let (seeds, names) = (KeySeeds::random(), KeyNames::default());
        let (mut name, key) = (KeyName::default(), hash(b"key", &seeds));
        parts.iter().for_each(|(part, value)| name.add(part, value.map(str::as_bytes), &seeds));
        assert!(names.wants(key));
        names.learn(key, name);
        assert!(!names.wants(key));
        names.told(key, &seeds, reveal).unwrap()
    }

    #[test]
    fn what_says_who_somebody_is_comes_out_when_it_is_asked_for() {
        let parts = [
            (KeyPart::Tenant, Some("acme")),
            (KeyPart::ClientAddress, Some("192.0.2.7")),
            (KeyPart::Header(HeaderName::from_static("x-plan")), None),
        ];

        let hidden = told(&parts, false);

        assert!(hidden.starts_with("tenant=acme client_address=#"), "{hidden}");
        assert!(hidden.ends_with(" header x-plan missing") && !hidden.contains("192.0.2.7"), "{hidden}");
        assert_eq!(told(&parts, true), "tenant=acme client_address=192.0.2.7 header x-plan missing");
    }

    #[test]
    fn what_lets_somebody_in_never_comes_out() {
        for part in [
            KeyPart::Header(HeaderName::from_static("authorization")),
            KeyPart::Header(HeaderName::from_static("x-api-key")),
            KeyPart::Cookie("plan".into()),
            KeyPart::Query("access_token".into()),
        ] {
            let told = told(&[(part, Some("canary"))], true);

            assert!(told.contains("=#") && !told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn a_value_is_short_and_moves_no_cursor() {
        let long = format!("\u{1b}[2J{}", "é".repeat(100));

        let told = told(&[(KeyPart::Query("q".into()), Some(&long))], true);

        assert!(told.starts_with("query q=\\x1b[2J\\xc3") && told.ends_with('…'), "{told}");
        assert!(told.is_ascii() || told.trim_end_matches('…').is_ascii());
        assert!(told.len() < 300, "{told}");
    }

    #[test]
    fn a_key_without_a_name_has_none_and_a_newer_one_takes_the_place() {
        let (seeds, names) = (KeySeeds::random(), KeyNames::default());
        let key = |tag| KeyHash::from_tag(tag).unwrap();
        names.learn(key(1), KeyName::default());

        assert_eq!(names.told(key(2), &seeds, true), None);
        names.learn(key(1 + SLOTS), KeyName::default());

        assert!(!names.wants(key(1 + SLOTS)) && (0..1_000).any(|_| names.wants(key(1))));
        assert_eq!(names.told(key(1), &seeds, true), None);
    }
}
