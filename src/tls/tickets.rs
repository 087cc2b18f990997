//! The keys that seal session tickets, for all listeners of the process.
//!
//! Owns making them, changing them and forgetting them, and their way to the next
//! process. Does not own which session may resume where: that is the session-id
//! context's. What always holds: a key seals for 12 hours and opens for as long
//! again as a ticket lives, counted from when it was made, in whichever process.

use std::{
    fmt,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boring::{
    error::ErrorStack,
    hash::MessageDigest,
    hmac::HmacCtxRef,
    rand::rand_bytes,
    ssl::{SslContextBuilder, TicketKeyCallbackResult},
    symm::{Cipher, CipherCtxRef},
};

/// The ticket keys of a process. An empty ring makes its first key when it is
/// asked for one.
#[derive(Default)]
pub struct TicketRing {
    /// The newest first.
    keys: RwLock<Vec<Arc<Key>>>,
}

impl TicketRing {
    /// The keys as bytes, for the process that comes next. Whoever reads them
    /// reads the sessions they sealed.
    pub fn export(&self) -> Vec<u8> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![VERSION];
        keys.iter().for_each(|key| key.write(&mut bytes));
        bytes
    }

    /// The ring that another process exported.
    ///
    /// # Errors
    /// When the bytes are none that this version writes. Start with an empty ring
    /// then: clients only shake hands in full once.
    pub fn import(bytes: &[u8]) -> Result<Self, BadTicketKeys> {
        let (version, rest) = bytes.split_first().ok_or(BadTicketKeys::Length(0))?;
        if *version != VERSION {
            return Err(BadTicketKeys::Version(*version));
        }
        let (keys, left) = rest.as_chunks::<KEY_BYTES>();
        if !left.is_empty() || keys.len() > MOST_KEYS {
            return Err(BadTicketKeys::Length(bytes.len()));
        }
        let keys = keys.iter().filter_map(Key::read).map(Arc::new).collect();
        Ok(Self { keys: RwLock::new(keys) })
    }

    /// The key that seals at `now`, made if it has to be.
    fn sealing(&self, now: SystemTime) -> Result<Arc<Key>, ErrorStack> {
        let newest = |keys: &[Arc<Key>]| keys.first().filter(|key| key.age(now) < SEALS).cloned();
        if let Some(key) = newest(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(key);
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been here first.
        if let Some(key) = newest(&keys) {
            return Ok(key);
        }
        let key = Arc::new(Key::new(now)?);
        keys.retain(|key| key.age(now) < OPENS);
        keys.insert(0, key.clone());
        keys.truncate(MOST_KEYS);
        Ok(key)
    }

    /// The key called `name`, and whether what it opened should be sealed anew.
    /// `None` when nobody knows it any more.
    fn opening(&self, name: &[u8; NAME], now: SystemTime) -> Option<(Arc<Key>, bool)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let at = keys.iter().position(|key| key.name == *name)?;
        let key = keys.get(at).filter(|key| key.age(now) < OPENS)?;
        Some((key.clone(), at > 0 || key.age(now) >= SEALS))
    }

    /// Runs a handshake whose tickets are this ring's.
    pub(super) async fn seal_for<F: Future>(self: Arc<Self>, handshake: F) -> F::Output {
        RING.scope(self, handshake).await
    }
}

impl fmt::Debug for TicketRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("TicketRing").field("keys", &keys).finish_non_exhaustive()
    }
}

/// Why bytes are no ticket keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadTicketKeys {
    /// Written by another version of the gateway.
    Version(u8),
    /// So many bytes are no whole number of keys, or too many.
    Length(usize),
}

impl fmt::Display for BadTicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "ticket keys are of format {version}, not {VERSION}"),
            Self::Length(bytes) => write!(f, "{bytes} bytes are no list of ticket keys"),
        }
    }
}

impl std::error::Error for BadTicketKeys {}

/// Lets the ring of the handshake that runs seal and open a context's tickets.
/// Every context needs it: BoringSSL asks the front's, boring looks it up in the
/// host's.
pub(super) fn install(builder: &mut SslContextBuilder) {
    // SAFETY: a `Success` follows only after name, IV, cipher and MAC were set.
    unsafe {
        builder.set_ticket_key_callback(|_, name, iv, cipher, mac, seals| {
            let now = SystemTime::now();
            RING.try_with(|ring| match seals {
                true => seal(ring, now, name, iv, (cipher, mac)),
                false => open(ring, now, name, iv, (cipher, mac)),
            })
            // Without a handshake of ours there is no ticket.
            .unwrap_or(TicketKeyCallbackResult::Noop)
        });
    }
}

type Contexts<'a> = (&'a mut CipherCtxRef, &'a mut HmacCtxRef);

fn seal(
    ring: &TicketRing,
    now: SystemTime,
    name: &mut [u8; NAME],
    iv: &mut [u8; IV],
    (cipher, mac): Contexts<'_>,
) -> TicketKeyCallbackResult {
    let sealed = ring.sealing(now).and_then(|key| {
        *name = key.name;
        rand_bytes(iv)?;
        cipher.init_encrypt(&Cipher::aes_256_cbc(), &key.cipher, iv)?;
        mac.init(&key.mac, &MessageDigest::sha256())
    });
    // Without a ticket the client shakes hands in full next time; no reason to
    // refuse it now.
    sealed.map_or(TicketKeyCallbackResult::Noop, |()| TicketKeyCallbackResult::Success)
}

fn open(
    ring: &TicketRing,
    now: SystemTime,
    name: &[u8; NAME],
    iv: &[u8; IV],
    (cipher, mac): Contexts<'_>,
) -> TicketKeyCallbackResult {
    let Some((key, renew)) = ring.opening(name, now) else { return TicketKeyCallbackResult::Noop };
    let ready = cipher
        .init_decrypt(&Cipher::aes_256_cbc(), &key.cipher, iv)
        .and_then(|()| mac.init(&key.mac, &MessageDigest::sha256()));
    match ready {
        Ok(()) if renew => TicketKeyCallbackResult::DecryptSuccessRenew,
        Ok(()) => TicketKeyCallbackResult::Success,
        Err(_) => TicketKeyCallbackResult::Noop,
    }
}

/// Encrypts, then authenticates, as RFC 5077 recommends; 256 bits for what is
/// recorded today and opened by later computers.
struct Key {
    /// Seconds since the epoch: the next process has to know it too.
    made: u64,
    name: [u8; NAME],
    cipher: [u8; SECRET],
    mac: [u8; SECRET],
}

impl Key {
    fn new(now: SystemTime) -> Result<Self, ErrorStack> {
        let mut key = Self { made: seconds(now), name: [0; NAME], cipher: [0; SECRET], mac: [0; SECRET] };
        rand_bytes(&mut key.name)?;
        rand_bytes(&mut key.cipher)?;
        rand_bytes(&mut key.mac)?;
        Ok(key)
    }

    /// A key from the future is as old as it is early: a clock that was set back
    /// must not keep one for longer.
    fn age(&self, now: SystemTime) -> Duration {
        Duration::from_secs(seconds(now).abs_diff(self.made))
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.made.to_be_bytes());
        bytes.extend(self.name);
        bytes.extend(self.cipher);
        bytes.extend(self.mac);
    }

    fn read(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let (made, rest) = bytes.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let (cipher, mac) = rest.split_first_chunk()?;
        let made = u64::from_be_bytes(*made);
        Some(Self { made, name: *name, cipher: *cipher, mac: mac.try_into().ok()? })
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

tokio::task_local! {
    static RING: Arc<TicketRing>;
}

/// A key that is stolen opens what half a day's clients were given.
const SEALS: Duration = Duration::from_secs(12 * 3_600);

/// BoringSSL's life of a TLS 1.3 session; those of TLS 1.2 live two hours.
const TICKET_LIFE: Duration = Duration::from_secs(48 * 3_600);

/// The last ticket that a key seals can be used for all its life.
const OPENS: Duration = SEALS.saturating_add(TICKET_LIFE);

/// Five overlap; a clock that jumps makes more.
const MOST_KEYS: usize = 8;

const VERSION: u8 = 1;
const NAME: usize = 16;
const IV: usize = 16;
const SECRET: usize = 32;
const KEY_BYTES: usize = 8 + NAME + 2 * SECRET;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn start() -> SystemTime {
        UNIX_EPOCH + 400_000 * HOUR
    }

    fn seal(ring: &TicketRing, hours: u32) -> [u8; NAME] {
        ring.sealing(start() + hours * HOUR).unwrap().name
    }

    /// Whether what a key opened is renewed; `None` when it opens nothing.
    fn renews(ring: &TicketRing, name: &[u8; NAME], hours: u32) -> Option<bool> {
        ring.opening(name, start() + hours * HOUR).map(|(_, renew)| renew)
    }

    #[test]
    fn a_key_seals_for_half_a_day_and_opens_while_its_last_ticket_lives() {
        let ring = TicketRing::default();
        let first = seal(&ring, 0);
        assert_eq!(seal(&ring, 11), first);
        assert_eq!(renews(&ring, &first, 11), Some(false));
        assert_eq!(renews(&ring, &first, 12), Some(true));

        let second = seal(&ring, 12);

        assert_ne!(second, first);
        assert_eq!(renews(&ring, &first, 59), Some(true));
        assert_eq!(renews(&ring, &first, 60), None);
        assert_eq!(renews(&ring, &second, 23), Some(false));
    }

    #[test]
    fn what_opens_no_more_is_forgotten() {
        let ring = TicketRing::default();

        for half_day in 0..20 {
            seal(&ring, 12 * half_day);
        }

        assert_eq!(format!("{ring:?}"), "TicketRing { keys: 5, .. }");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_key_for_longer() {
        let ring = TicketRing::default();
        let early = seal(&ring, 1_000);

        let now = seal(&ring, 0);

        assert_ne!(early, now);
        assert_eq!(renews(&ring, &early, 0), None);
        for hours in (0..1_000).rev().step_by(20) {
            seal(&ring, hours);
        }
        assert!(ring.keys.read().unwrap().len() <= MOST_KEYS);
    }

    #[test]
    fn the_next_process_has_the_same_keys_of_the_same_age() {
        let ring = TicketRing::default();
        let (old, new) = (seal(&ring, 0), seal(&ring, 13));

        let next = TicketRing::import(&ring.export()).unwrap();

        assert_eq!(next.export(), ring.export());
        assert_eq!(seal(&next, 24), new);
        assert_ne!(seal(&next, 25), new);
        assert_eq!(renews(&next, &old, 59), Some(true));
        assert_eq!(renews(&next, &old, 60), None);
    }

    #[test]
    fn bytes_that_are_no_keys_are_refused() {
        let ring = TicketRing::default();
        seal(&ring, 0);
        let good = ring.export();

        let why = |bytes: &[u8]| TicketRing::import(bytes).unwrap_err();

        assert_eq!(why(&[]), BadTicketKeys::Length(0));
        assert_eq!(why(&[2]), BadTicketKeys::Version(2));
        (2..good.len()).for_each(|end| assert_eq!(why(&good[..end]), BadTicketKeys::Length(end)));
        let many = [&[VERSION], good[1..].repeat(MOST_KEYS + 1).as_slice()].concat();
        assert_eq!(why(&many), BadTicketKeys::Length(many.len()));
        assert!(TicketRing::import(&[VERSION]).is_ok());
    }

    #[test]
    fn keys_are_random_and_shown_to_nobody() {
        let (one, other) = (TicketRing::default(), TicketRing::default());

        assert_ne!(seal(&one, 0), seal(&other, 0));
        let key = |ring: &TicketRing| ring.sealing(start()).unwrap();
        assert_ne!(key(&one).cipher, key(&other).cipher);
        assert_ne!(key(&one).mac, key(&other).mac);
        assert_ne!(key(&one).cipher, key(&one).mac);
        assert_eq!(format!("{one:?}"), "TicketRing { keys: 1, .. }");
    }
}
