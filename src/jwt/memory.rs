//! What is known of keys, told by a process to the one that takes over from it.
//!
//! Owns how that is written. Always holds: public halves alone, and what cannot be read
//! of it is as if it had not been told. What the old process signs afterwards, for
//! requests that it still has, is not in it: a retired key stays published a minute
//! longer than its tokens count, and that has to do for them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{jwk::Jwk, public_keys, ring::Past};
use crate::config::signer::Algorithm;

/// What a process knows of every key that is published.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Remembered {
    pub(super) keys: Vec<RememberedKey>,
}

/// What it knows of one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct RememberedKey {
    /// Whose key it is.
    pub signer: String,
    /// Its public half, as it stands in the key set.
    public: Map<String, Value>,
    /// Everything else.
    pub past: Past,
}

impl RememberedKey {
    /// A signer's key with what is known of it.
    pub fn new(signer: &str, public: &Jwk, past: Past) -> Self {
        let public = serde_json::from_str(&public.to_json()).unwrap_or_default();
        Self { signer: signer.to_owned(), public, past }
    }

    /// The public half; `None` if it is none. Its name is made of it again.
    pub fn public(&self) -> Option<Jwk> {
        let key = public_keys::read(&self.public)?;
        let algorithm = Algorithm::ALL.into_iter().find(|known| key.alg.as_deref() == Some(known.name()))?;
        if !key.kind.fits(algorithm) {
            return None;
        }
        Jwk::of(&key.key, algorithm).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::signer::Algorithm::Es256,
        jwt::{
            JwtLive, KeyState, Now, Signers,
            testing::{Folder, built, facts, later, pem, start},
        },
    };

    const TERMS: &str =
        "publish_for: 10m, ttl: 30s, verifiers: [{ name: x, networks: [10.0.1.0/24], instances: 2 }]";

    /// What the next process knows: told in text, at a time that is another there.
    fn next(live: &JwtLive, now: Now) -> JwtLive {
        let told = serde_json::to_string(&live.remember(now)).unwrap();
        let next = JwtLive::default();
        next.recall(serde_json::from_str(&told).unwrap(), now);
        next
    }

    fn at(folder: &Folder, live: &JwtLive, secs: u64) -> Signers {
        built(TERMS, folder, live, later(start(), secs)).unwrap()
    }

    /// Which file's key signs.
    fn signing(signers: &Signers, secs: u64) -> String {
        let status = signers.status(later(start(), secs));
        let key = status.iter().find(|key| key.state == Some(KeyState::Signing)).unwrap();
        key.file.as_ref().unwrap().to_string()
    }

    fn published(signers: &Signers, secs: u64) -> usize {
        signers.key_set(later(start(), secs)).kids.len()
    }

    /// A key that signs, and one that came at 1000; both files have the same date.
    fn waiting() -> (Folder, JwtLive, [Signers; 2]) {
        let (folder, live) = (Folder::new(), JwtLive::default());
        folder.write_aged("b.pem", &pem(Es256), 50);
        let first = at(&folder, &live, 0);
        folder.write_aged("a.pem", &pem(Es256), 50);
        let second = at(&folder, &live, 1000);
        (folder, live, [first, second])
    }

    #[test]
    fn a_key_that_waits_goes_on_waiting_and_then_signs() {
        let (folder, live, _held) = waiting();

        let signers = at(&folder, &next(&live, later(start(), 1400)), 1400);

        assert_eq!(signing(&signers, 1599), "b.pem");
        assert_eq!(signing(&signers, 1600), "a.pem");
    }

    #[test]
    fn a_key_that_signs_goes_on_signing_whatever_its_file_looks_like() {
        let (folder, live, held) = waiting();
        assert_eq!(signing(&held[1], 1700), "a.pem");
        let next = next(&live, later(start(), 1700));
        let newer = folder.path().join("b.pem");
        std::fs::File::open(newer).unwrap().set_modified(later(start(), 1699).wall).unwrap();
        folder.write_aged("c.pem", &pem(Es256), 9000);

        let signers = at(&folder, &next, 1700);

        assert_eq!(signing(&signers, 1700), "a.pem");
        // Nobody was told of it: it came between the two.
        assert_eq!(signing(&signers, 2299), "a.pem");
        assert_eq!(signing(&signers, 2300), "c.pem");
    }

    #[test]
    fn who_fetched_is_known_by_address() {
        let (folder, live, held) = waiting();
        held[1].fetched("10.0.1.1".parse().unwrap(), later(start(), 1001));

        let signers = at(&folder, &next(&live, later(start(), 1010)), 1010);

        signers.fetched("10.0.1.1".parse().unwrap(), later(start(), 1020));
        assert_eq!(signing(&signers, 1020), "b.pem");
        signers.fetched("10.0.1.2".parse().unwrap(), later(start(), 1030));
        assert_eq!(signing(&signers, 1030), "a.pem");
        let status = signers.status(later(start(), 1030));
        let verifier = &status.iter().find(|key| key.file.as_deref() == Some("a.pem")).unwrap().verifiers[0];
        assert_eq!((verifier.fetches, verifier.addresses, verifier.instances), (3, 2, 2));
    }

    #[test]
    fn a_retired_key_stays_published_until_its_last_token_has_expired() {
        let (folder, live, held) = waiting();
        held[1].iter().next().unwrap().token(&facts(), later(start(), 1100)).unwrap();
        folder.remove("b.pem");
        let third = at(&folder, &live, 1110);
        let (first, second) = (next(&live, later(start(), 1120)), next(&live, later(start(), 1300)));
        drop((third, held));

        let signers = at(&folder, &first, 1120);

        // 1110 and 30 s that a token of a request that began before may count, and a minute.
        assert_eq!([1120, 1200, 1201].map(|secs| published(&signers, secs)), [2, 2, 1]);
        assert_eq!(published(&at(&folder, &second, 1300), 1300), 1);
    }

    #[test]
    fn what_was_told_waits_for_the_first_configuration_that_is_taken() {
        let (folder, live, _held) = waiting();
        let next = next(&live, later(start(), 1400));
        folder.write("c.pem", "hello");

        assert!(built(TERMS, &folder, &next, later(start(), 1400)).is_err());
        folder.remove("c.pem");

        let signers = at(&folder, &next, 1500);
        assert_eq!([1599, 1600].map(|secs| signing(&signers, secs)), ["b.pem", "a.pem"]);
    }

    #[test]
    fn nothing_private_is_told_and_nothing_odd_is_taken() {
        for algorithm in Algorithm::ALL {
            let (folder, live) = (Folder::with(algorithm), JwtLive::default());
            let _held = built(&format!("algorithm: {algorithm}"), &folder, &live, start()).unwrap();

            let told = serde_json::to_value(live.remember(start())).unwrap();

            let key = told["keys"][0]["public"].as_object().unwrap();
            let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
            assert!(key.keys().all(|name| public.contains(&&**name)), "{told}");
            let told: Remembered = serde_json::from_value(told).unwrap();
            assert_eq!(told.keys[0].public().unwrap().algorithm, algorithm);
        }
        let odd =
            r#"{ "keys": [{}, { "signer": "default", "public": { "kty": "EC" }, "later": 1 }], "later": 1 }"#;
        let live = JwtLive::default();
        live.recall(serde_json::from_str(odd).unwrap(), start());
        assert!(live.remember(start()).keys.is_empty());
        assert!(serde_json::from_str::<Remembered>("{}").unwrap().keys.is_empty());
    }
}
