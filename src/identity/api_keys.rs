//! Which API keys are good, and whose they are.
//!
//! Owns the table of the hashes of keys, and how a key is written. Does not own where a
//! request carries one. Always holds: no key is kept, only its SHA-256; and how long a
//! look-up takes says nothing of the keys that there are: what is compared with them is
//! a hash, whose bits who asks cannot choose, and it is compared as a whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use ahash::RandomState;
use boring::{memcmp, sha::sha256};

use super::{Consumer, Flaw};
use crate::config::{
    Problems, Source, Sourced,
    api_keys::ApiKeySpec,
    authentication::AuthenticatorIndex,
    tenant::TenantIndex,
    types::{KeyDigest, Name},
};

/// The keys of a way of authentication.
#[derive(Debug, Default)]
pub struct ApiKeys {
    by_digest: HashMap<Digest, Known, RandomState>,
}

/// What names in files of keys stand for.
pub struct KeyNames<'a> {
    /// The way of authentication that the keys are of.
    pub authenticator: AuthenticatorIndex,
    /// Tenants.
    pub tenant: &'a dyn Fn(&Name) -> Option<TenantIndex>,
    /// Limits.
    pub limit: &'a dyn Fn(&Name) -> Option<usize>,
}

#[derive(Debug)]
struct Known {
    consumer: Consumer,
    expires: Option<SystemTime>,
    revoked: bool,
    source: Source,
}

impl ApiKeys {
    /// The keys of some files; `None` where something is wrong with them, which
    /// `problems` tells.
    pub fn build(
        keys: &[Sourced<ApiKeySpec>],
        names: &KeyNames<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut own = Problems::default();
        let mut texts = Texts::default();
        let mut by_digest = HashMap::with_capacity_and_hasher(keys.len(), RandomState::new());
        for key in keys {
            let known = Known::new(key, names, &mut texts, &mut own);
            match by_digest.entry(Digest(*key.spec.sha256.bytes())) {
                Entry::Vacant(place) => drop(place.insert(known)),
                Entry::Occupied(first) => {
                    let first: &Known = first.get();
                    let (file, at) = (first.source.file.display(), &first.source.key);
                    let text = format!("this key stands in {file} already, as {at}; write it once");
                    own.error(&key.source.key("sha256"), text);
                }
            }
        }
        let is_good = !own.has_errors();
        problems.extend(own);
        is_good.then_some(Self { by_digest })
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// Why it is not good now.
    pub fn find(&self, key: &[u8], now: SystemTime) -> Result<&Consumer, Flaw> {
        let Some(known) = self.by_digest.get(&Digest(sha256(key))) else {
            // Only to say what happened: a key that somebody copied half.
            return Err(if is_garbled(key) { Flaw::Malformed } else { Flaw::Unknown });
        };
        match known {
            Known { revoked: true, .. } => Err(Flaw::Revoked),
            Known { expires: Some(expires), .. } if *expires <= now => Err(Flaw::Expired),
            Known { consumer, .. } => Ok(consumer),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }
}

impl Known {
    fn new(
        key: &Sourced<ApiKeySpec>,
        names: &KeyNames<'_>,
        texts: &mut Texts,
        problems: &mut Problems,
    ) -> Self {
        let spec = &key.spec;
        let tenant = spec.tenant.as_ref().and_then(|name| {
            let found = (names.tenant)(name);
            if found.is_none() {
                let text = format!("there is no tenant `{name}`; write one of `tenants`");
                problems.error(&key.source.key("tenant"), text);
            }
            found
        });
        let mut limits = Vec::with_capacity(spec.limits.len());
        for (index, name) in spec.limits.iter().enumerate() {
            let source = key.source.key("limits").entry(index);
            match (names.limit)(name) {
                None => {
                    problems.error(&source, format!("there is no limit `{name}`; write one of `limits`"));
                }
                Some(limit) if limits.contains(&limit) => {
                    problems.error(&source, format!("`{name}` stands here already; write it once"));
                }
                Some(limit) => limits.push(limit),
            }
        }
        let consumer = Consumer {
            scopes: texts.same(spec.scopes.join(" ")),
            tenant,
            limits: (!limits.is_empty()).then(|| limits.into()),
            ..Consumer::new(names.authenticator, texts.same(spec.consumer.to_string()))
        };
        let expires = spec.expires.map(|moment| moment.time());
        Self { consumer, expires, revoked: spec.revoked, source: key.source.clone() }
    }
}

/// Equal texts are kept once: a consumer has several keys, and a scope many consumers.
#[derive(Default)]
struct Texts(HashMap<String, Arc<str>>);

impl Texts {
    fn same(&mut self, text: String) -> Arc<str> {
        self.0.entry(text).or_insert_with_key(|text| text.as_str().into()).clone()
    }
}

/// A SHA-256 as a key of a table.
#[derive(Debug)]
struct Digest([u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        memcmp::eq(&self.0, &other.0)
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A key that was just made.
pub struct NewKey {
    /// The key; whoever has it is its consumer.
    pub key: String,
    /// What a file of keys holds of it.
    pub digest: KeyDigest,
}

impl NewKey {
    /// From 40 random bytes.
    ///
    /// As `tgk_`, 40 letters and digits (of 62 each, 238 bits) and 6 more that are the
    /// CRC-32 of what stands before them: whoever looks for lost secrets in texts knows
    /// by the beginning that it may be one, and by the end that it is.
    pub fn new(random: &[u8; 40]) -> Self {
        let mut key = PREFIX.to_owned();
        // 256 is no multiple of 62: the first 8 letters come up a little more often,
        // which costs 0.4 of 238 bits.
        key.extend(random.iter().map(|byte| letter(u32::from(*byte))));
        let mut sum = checksum(key.as_bytes());
        for _ in 0..CHECK_DIGITS {
            key.push(letter(sum));
            sum /= LETTERS.len() as u32;
        }
        let digest = digest(key.as_bytes());
        Self { key, digest }
    }
}

/// What a file of keys holds of this one.
pub fn digest(key: &[u8]) -> KeyDigest {
    sha256(key).into()
}

/// Whether it begins like a key of ours and is none that [`NewKey`] made.
pub fn is_garbled(key: &[u8]) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX.as_bytes()) else { return false };
    let Some((body, check)) = rest.split_at_checked(RANDOM_LETTERS) else { return true };
    let begun = key.get(..PREFIX.len() + body.len()).unwrap_or_default();
    let mut sum = checksum(begun);
    let wanted = (0..CHECK_DIGITS).map(|_| {
        let digit = letter(sum);
        sum /= LETTERS.len() as u32;
        digit as u8
    });
    !wanted.eq(check.iter().copied())
}

fn letter(number: u32) -> char {
    let index = number as usize % LETTERS.len();
    LETTERS.get(index).copied().map_or('0', char::from)
}

/// CRC-32 as in Ethernet and zip.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    })
}

/// How keys of ours begin.
pub const PREFIX: &str = "tgk_";
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LETTERS: usize = 40;
const CHECK_DIGITS: usize = 6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn build(lines: &str) -> Result<ApiKeys, String> {
        let specs: Vec<ApiKeySpec> = serde_yaml::from_str(lines).unwrap();
        let source = |index| Source::file("team.yaml").key("keys").entry(index);
        let keys: Vec<_> = specs
            .into_iter()
            .enumerate()
            .map(|(i, spec)| Sourced { source: source(i), spec: Arc::new(spec) })
            .collect();
        let names = KeyNames {
            authenticator: AuthenticatorIndex(3),
            tenant: &|name| (name.as_str() == "billing").then_some(TenantIndex(1)),
            limit: &|name| ["gold", "silver"].iter().position(|limit| *limit == name.as_str()),
        };
        let mut problems = Problems::default();
        ApiKeys::build(&keys, &names, &mut problems).ok_or_else(|| problems.to_string())
    }

    fn line(key: &str, more: &str) -> String {
        format!("- {{ consumer: partner-a, sha256: {}{more} }}\n", digest(key.as_bytes()))
    }

    #[test]
    fn a_key_is_found_by_its_hash_with_all_that_its_line_says() {
        let more = ", tenant: billing, limits: [silver, gold], scopes: ['orders:read', 'orders:write']";
        let keys = build(&format!("{}{}", line("one", more), line("two", ""))).unwrap();
        let now = SystemTime::now();

        let one = keys.find(b"one", now).unwrap();
        assert_eq!((&*one.name, &*one.scopes), ("partner-a", "orders:read orders:write"));
        assert_eq!((one.vouched, one.tenant), (AuthenticatorIndex(3), Some(TenantIndex(1))));
        assert_eq!(one.limits.as_deref(), Some(&[1, 0][..]));
        let two = keys.find(b"two", now).unwrap();
        assert!(Arc::ptr_eq(&one.name, &two.name) && two.limits.is_none());
        assert_eq!(keys.find(b"three", now).unwrap_err(), Flaw::Unknown);
        assert_eq!(keys.find(b"", now).unwrap_err(), Flaw::Unknown);
        assert_eq!(keys.find(line("one", "").as_bytes(), now).unwrap_err(), Flaw::Unknown);
        let digest = digest(b"one").to_string();
        assert_eq!(keys.find(digest.as_bytes(), now).unwrap_err(), Flaw::Unknown, "the hash is no key");
    }

    #[test]
    fn a_key_ends_at_its_moment_and_when_it_is_taken_back() {
        let keys = build(&format!(
            "{}{}",
            line("short", ", expires: 2027-01-31T12:00:00Z"),
            line("gone", ", revoked: true")
        ))
        .unwrap();
        let end = "2027-01-31T12:00:00Z".parse::<crate::config::types::MomentOfDay>().unwrap().time();

        assert!(keys.find(b"short", end - Duration::from_millis(1)).is_ok());
        assert_eq!(keys.find(b"short", end).unwrap_err(), Flaw::Expired);
        assert_eq!(keys.find(b"gone", end).unwrap_err(), Flaw::Revoked);
    }

    #[test]
    fn what_names_nobody_and_what_stands_twice_is_told() {
        let told = build(&format!(
            "{}{}",
            line("one", ", tenant: nobody, limits: [gold, none, gold]"),
            line("one", "")
        ))
        .unwrap_err();

        for wanted in [
            "keys[0].tenant: there is no tenant `nobody`",
            "keys[0].limits[1]: there is no limit `none`",
            "keys[0].limits[2]: `gold` stands here already",
            "keys[1].sha256: this key stands in team.yaml already, as keys[0]",
        ] {
            assert!(told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn a_made_key_is_known_by_its_look_and_a_half_copied_one_is_not() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926, "the standard's check value");
        let NewKey { key, digest } = NewKey::new(&std::array::from_fn(|i| (i * 37) as u8));

        assert_eq!((key.len(), &key[..4]), (50, "tgk_"));
        assert!(key[4..].bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(digest, super::digest(key.as_bytes()));
        assert!(!is_garbled(key.as_bytes()) && !is_garbled(b"any other key"));
        for other in [&key[..49], &key[..20], "tgk_", &format!("{key}x"), &key.to_lowercase()] {
            assert!(is_garbled(other.as_bytes()), "{other}");
        }
        let keys = build("[]").unwrap();
        assert_eq!(keys.find(&key.as_bytes()[..49], SystemTime::now()).unwrap_err(), Flaw::Malformed);
        assert!(keys.is_empty());
    }
}
