//! Every signer of a configuration, and the set of their public keys.
//!
//! Owns what a reload does to keys: a folder is read as a whole, what was known of its
//! keys stays known, and keys whose files are gone stay in the set for as long as
//! their tokens may be met. A configuration that is refused changes nothing of what
//! serves.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
};

use ipnet::IpNet;

use super::{
    claims::Claims,
    folder::{self, Found, KeyFolder, Wanted},
    jwk::{Jwk, KeyId},
    key::SigningKey,
    key_set::KeySet,
    memory::{Remembered, RememberedKey},
    ring::{Member, Record, Ring, locked},
    rotation::{KeyState, Now, Terms, Verifier},
    signer::Signer,
};
use crate::config::{
    Problems, Source, Sourced,
    signer::{Algorithm, SignerIndex, SignerSpec, VerifierSpec},
};

/// What outlives snapshots: what is known of every key, as long as a snapshot holds it.
#[derive(Default)]
pub struct JwtLive {
    records: Mutex<HashMap<OfSigner, Weak<Record>>>,
    /// Holds what another process told until the first snapshot does.
    recalled: Mutex<Vec<Arc<Record>>>,
}

/// A key of a signer: two may have the same key, and are not told of each other's use.
type OfSigner = (Arc<str>, KeyId);

/// Every signer of a configuration.
#[derive(Default)]
pub struct Signers {
    signers: Vec<Arc<Signer>>,
    verifiers: Vec<Verifiers>,
    retired: Vec<(Arc<str>, Arc<Record>)>,
    set: Mutex<Option<Arc<KeySet>>>,
}

/// Who verifies a signer's tokens, and from where each of them asks.
type Verifiers = Arc<[(Verifier, Vec<IpNet>)]>;

/// What there is to say of a key.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    /// Whose it is.
    pub signer: Arc<str>,
    /// Its file's name; `None` once that is gone.
    pub file: Option<Arc<str>>,
    /// Its name.
    pub kid: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// What it does; `None` when it is retired.
    pub state: Option<KeyState>,
    /// Who verifies, and fetched it or not; nobody of a retired one.
    pub verifiers: Vec<VerifierStatus>,
    /// When the set of public keys loses a retired one, in seconds since 1970.
    pub published_until: Option<u64>,
}

/// How far a verifier has come with a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifierStatus {
    /// Its name.
    pub name: Arc<str>,
    /// How often the key set was fetched from its networks since the key is in it.
    pub fetches: u64,
    /// From how many addresses.
    pub addresses: usize,
    /// From how many it has to be.
    pub instances: usize,
}

impl Signers {
    /// Reads every signer's folder. With a problem there may be fewer signers than
    /// specs; then nobody may use them.
    pub fn build(
        specs: &[Sourced<SignerSpec>],
        resolve: &dyn Fn(&Path) -> PathBuf,
        live: &JwtLive,
        now: Now,
        problems: &mut Problems,
    ) -> Self {
        let mut built = Self::default();
        for spec in specs {
            let (spec, source) = (&spec.spec, spec.source.key("keys"));
            let wanted = Wanted::of(spec.profile, spec.algorithm(), now.wall);
            let found = folder::load(&KeyFolder::of(&spec.keys, resolve), wanted, &source, problems);
            let Some(found) = found else { continue };
            let (members, are_new) = live.members(spec, found, now, (&source, problems));
            if let Some(signer) = signer(spec, members, now) {
                if !are_new {
                    live.tell_haste(&signer, now, (&source, problems));
                }
                built.refuse_other_use(&signer, &source, problems);
                built.signers.push(Arc::new(signer));
                built.verifiers.push(verifiers(&spec.verifiers));
            }
        }
        built
    }

    /// The same signers, from now on at work: keys that are known and not among theirs
    /// are retired, and theirs are not any more. Building alone changes no key's life:
    /// what was built may be refused, or only be looked at.
    pub fn at_work(&self, live: &JwtLive, now: Now) -> Self {
        let retired = live.retired(&self.signers, now);
        let (signers, verifiers) = (self.signers.clone(), self.verifiers.clone());
        Self { signers, verifiers, retired, set: Mutex::default() }
    }

    /// The signer at a place of the configuration.
    pub fn get(&self, index: SignerIndex) -> Option<&Signer> {
        self.signers.get(index.0).map(Arc::as_ref)
    }

    /// Each signer, in the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &Signer> {
        self.signers.iter().map(Arc::as_ref)
    }

    /// Each key with its signer and its file's name.
    pub fn keys<'a>(&'a self) -> impl Iterator<Item = (&'a Signer, &'a str, &'a SigningKey)> {
        let each =
            |signer: &'a Signer| signer.ring.members().iter().map(move |key| (signer, &*key.name, &*key.key));
        self.iter().flat_map(each)
    }

    /// A key is for one algorithm: verifiers are told of one.
    fn refuse_other_use(&self, signer: &Signer, source: &Source, problems: &mut Problems) {
        for member in signer.ring.members() {
            let own = &member.key.public;
            let first = self.keys().find(|(_, _, key)| key.public.kid == own.kid);
            if let Some((other, _, key)) = first.filter(|(_, _, key)| key.algorithm() != own.algorithm) {
                let text = format!(
                    "`{}` signs {} for signer `{}` already, and a key is for one algorithm; make another for {}",
                    member.name,
                    key.algorithm(),
                    other.name,
                    own.algorithm
                );
                problems.error(source, text);
            }
        }
    }

    /// The public keys of all signers, to be told to whoever verifies. Rendered again
    /// only when it is another set.
    pub fn key_set(&self, now: Now) -> Arc<KeySet> {
        let members = self.signers.iter().flat_map(|signer| signer.ring.members());
        let retired = self.retired.iter().filter(|(_, record)| record.is_published(now));
        // A key that went from one signer to another is what the one that has it says.
        let keys = retired.map(|(_, record)| &record.public).chain(members.map(|member| &member.key.public));
        let keys: BTreeMap<&KeyId, &Jwk> = keys.map(|key| (&key.kid, key)).collect();

        let mut set = locked(&self.set);
        match &*set {
            Some(same) if same.kids.iter().eq(keys.keys().copied()) => same.clone(),
            _ => set.insert(Arc::new(KeySet::new(keys.into_values()))).clone(),
        }
    }

    /// Notes that someone at this address was told of [`key_set`](Self::key_set),
    /// also by a 304: it has the keys that this snapshot has.
    pub fn fetched(&self, from: IpAddr, now: Now) {
        let from = from.to_canonical();
        for (signer, verifiers) in self.signers.iter().zip(&self.verifiers) {
            let here = |(_, networks): &&(_, Vec<IpNet>)| networks.iter().any(|net| net.contains(&from));
            let here = verifiers.iter().filter(here);
            here.for_each(|(verifier, _)| signer.ring.fetched(&verifier.name, from, now.steady));
        }
    }

    /// Every key that is published, by signer.
    pub fn status(&self, now: Now) -> Vec<KeyStatus> {
        let active = self.signers.iter().zip(&self.verifiers).flat_map(|(signer, verifiers)| {
            let status = |(member, state): (&Member, KeyState)| KeyStatus {
                signer: signer.name.clone(),
                file: Some(member.name.clone()),
                kid: member.key.public.kid.clone(),
                algorithm: member.key.algorithm(),
                state: Some(state),
                verifiers: fetches(verifiers, &member.record),
                published_until: None,
            };
            signer.ring.states(now.steady).map(status).collect::<Vec<_>>()
        });
        let published = self.retired.iter().filter(|(_, record)| record.is_published(now));
        let retired = published.map(|(signer, record)| KeyStatus {
            signer: signer.clone(),
            file: None,
            kid: record.public.kid.clone(),
            algorithm: record.public.algorithm,
            state: None,
            verifiers: Vec::new(),
            published_until: Some(record.published_until()),
        });
        active.chain(retired).collect()
    }
}

fn signer(spec: &SignerSpec, members: Vec<Member>, now: Now) -> Option<Signer> {
    let claims = Claims::new(spec);
    let verifiers = verifiers(&spec.verifiers).iter().map(|(verifier, _)| verifier.clone()).collect();
    let terms = Terms { publish_for: spec.publish_for.duration(), verifiers };
    let ring = Ring::new(spec.name.as_str().into(), (members, terms), !claims.are_bound(), now.steady)?;
    Some(Signer::new(spec, claims, ring))
}

fn verifiers(specs: &[VerifierSpec]) -> Verifiers {
    let verifier = |spec: &VerifierSpec| Verifier {
        name: spec.name.as_str().into(),
        instances: usize::from(spec.instances),
    };
    specs.iter().map(|spec| (verifier(spec), spec.networks.clone())).collect()
}

fn fetches(verifiers: &[(Verifier, Vec<IpNet>)], record: &Record) -> Vec<VerifierStatus> {
    let fetched = record.fetched_by();
    let status = |(verifier, _): &(Verifier, _)| {
        let fetches = fetched.get(&verifier.name);
        VerifierStatus {
            name: verifier.name.clone(),
            fetches: fetches.map_or(0, |fetches| fetches.count),
            addresses: fetches.map_or(0, |fetches| fetches.addresses.len()),
            instances: verifier.instances,
        }
    };
    verifiers.iter().map(status).collect()
}

impl JwtLive {
    /// What another process has to know, to go on with the keys as this one would.
    /// Nothing private is in it.
    pub fn remember(&self, now: Now) -> Remembered {
        let records = locked(&self.records);
        let known = records.iter().filter_map(|((signer, _), record)| {
            let record = record.upgrade()?;
            Some(RememberedKey::new(signer, &record.public, record.remember(now)?))
        });
        Remembered { keys: known.collect() }
    }

    /// Takes over what another process knew, before the first snapshot is built: a key
    /// that waits goes on waiting, one that signs goes on signing, and a retired one
    /// stays published. The time between the two counts for nobody. A key that was not
    /// told of appears when its file is read.
    pub fn recall(&self, remembered: Remembered, now: Now) {
        let (mut records, mut recalled) = (locked(&self.records), locked(&self.recalled));
        for key in remembered.keys {
            let Some(public) = key.public() else { continue };
            let of = (Arc::from(key.signer), public.kid.clone());
            let record = Arc::new(Record::recall(public, key.past, now.steady));
            records.insert(of, Arc::downgrade(&record));
            recalled.push(record);
        }
    }

    /// The keys of a folder with what is known of them. Of none that is known all are
    /// as old as their files: this is a start, or a signer's. A file that comes later
    /// may have any date; it appears now. With them whether none was known.
    fn members(
        &self,
        spec: &SignerSpec,
        found: Vec<Found>,
        now: Now,
        (source, problems): (&Source, &mut Problems),
    ) -> (Vec<Member>, bool) {
        let signer: Arc<str> = spec.name.as_str().into();
        let known = |found: &Found| self.record(&signer, &found.key.public);
        let is_start = found.iter().all(|found| known(found).is_none());
        if is_start && self.knows(&signer) {
            problems.warn(source, format!(
                "no key of signer `{signer}` is one that it had, so that one signs which verifiers were not told of; put the former beside them for `{}`",
                spec.publish_for
            ));
        }
        let member = |found: Found| {
            let age = if is_start { found.age } else { Default::default() };
            let since = now.steady.checked_sub(age).unwrap_or(now.steady);
            let record = known(&found).unwrap_or_else(|| {
                let (public, ttl) = (found.key.public.clone(), spec.ttl().duration().as_secs());
                Arc::new(Record::new(public, found.name.clone(), since, ttl))
            });
            let key = (signer.clone(), found.key.public.kid.clone());
            locked(&self.records).insert(key, Arc::downgrade(&record));
            Member::new(found, record)
        };
        (found.into_iter().map(member).collect(), is_start)
    }

    /// Tells of a key that is to sign before verifiers had the time to hear of it, since
    /// the one that signed is gone.
    fn tell_haste(&self, signer: &Signer, now: Now, (source, problems): (&Source, &mut Problems)) {
        let early = signer.ring.early(now.steady);
        if !early.is_zero() && self.lost_its_own(signer, now) {
            problems.warn(source, format!(
                "the key that signed for `{}` is gone, and the next one is not published for `publish_for` yet: verifiers may refuse its tokens for {} s; put the former back beside it until then, unless it is to go at once",
                signer.name,
                early.as_secs().max(1)
            ));
        }
    }

    /// Whether the key is gone that signed for a signer until now.
    fn lost_its_own(&self, signer: &Signer, now: Now) -> bool {
        let is_here = |kid: &KeyId| signer.ring.members().iter().any(|member| member.key.public.kid == *kid);
        let records = locked(&self.records);
        let gone = records.iter().filter(|((name, kid), _)| *name == signer.name && !is_here(kid));
        let gone = gone.filter_map(|(_, record)| record.upgrade().filter(|record| !record.is_retired()));
        signer.ring.misses(&gone.collect::<Vec<_>>(), now.steady)
    }

    /// Forgets the keys that nobody holds.
    pub fn sweep(&self) {
        locked(&self.records).retain(|_, record| record.strong_count() > 0);
    }

    fn record(&self, signer: &Arc<str>, key: &Jwk) -> Option<Arc<Record>> {
        let record = locked(&self.records).get(&(signer.clone(), key.kid.clone())).and_then(Weak::upgrade);
        record.filter(|record| record.public == *key)
    }

    fn knows(&self, signer: &Arc<str>) -> bool {
        locked(&self.records).iter().any(|((name, _), record)| name == signer && record.strong_count() > 0)
    }

    /// What is known of keys that are in no folder any more.
    fn retired(&self, signers: &[Arc<Signer>], now: Now) -> Vec<(Arc<str>, Arc<Record>)> {
        let members = signers.iter().flat_map(|signer| {
            signer.ring.members().iter().map(|member| (signer.name.clone(), member.key.public.kid.clone()))
        });
        let members: HashSet<_> = members.collect();
        let mut retired = Vec::new();
        let mut records = locked(&self.records);
        records.retain(|key, record| {
            let Some(record) = record.upgrade() else { return false };
            if members.contains(key) {
                record.revive();
            } else {
                record.retire(now);
                retired.extend(record.is_published(now).then(|| (key.0.clone(), record)));
            }
            true
        });
        // Each is in these signers or among the retired by now, or nobody's any more.
        locked(&self.recalled).clear();
        retired.sort_by(|a, b| (&a.0, &a.1.public.kid).cmp(&(&b.0, &b.1.public.kid)));
        retired
    }
}

#[cfg(test)]
mod tests;
