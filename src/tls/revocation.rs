//! Lists of revoked certificates (CRL, RFC 5280).
//!
//! Owns reading them, checking that an authority of the same entry signed them, and the
//! look-up. BoringSSL could look certificates up itself, but would check the signature of
//! the whole list at every handshake: here that is done once, when the file is read.
//!
//! What always holds: a list at work is complete for what it covers, of a known issuer,
//! and says nothing that was not understood.

use std::{
    fmt,
    path::{Path, PathBuf},
    ptr,
    time::SystemTime,
};

use boring::{
    asn1::{Asn1IntegerRef, Asn1TimeRef},
    error::ErrorStack,
    nid::Nid,
    sha::Sha256,
    x509::{X509, X509NameRef, X509Ref},
};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;

use super::{
    authorities::{Authorities, fingerprint},
    files::Files,
    validity,
};
use crate::config::{Problems, Source};

/// The lists of an entry; of an issuer there may be several.
#[derive(Clone, Default)]
pub(super) struct RevocationLists(Vec<RevocationList>);

/// What one issuer revoked.
#[derive(Clone)]
struct RevocationList {
    file: PathBuf,
    issuer: X509,
    /// Sorted.
    serials: Vec<Serial>,
    covers: Covers,
    /// `None` never ends.
    next_update: Option<SystemTime>,
}

/// Which of its issuer's certificates a list is complete for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Covers {
    All,
    Users,
    Authorities,
}

/// What lists say of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It issued itself.
    Root,
    /// Its issuer has no list for such as it.
    Unlisted,
    /// It stands in one.
    Revoked,
    /// It stands in none; this is when the first of them should have been renewed.
    Good(Option<SystemTime>),
}

impl RevocationLists {
    /// Reads a file, PEM with one list or more, or DER, and adds what is in it.
    pub fn load(
        &mut self,
        path: &Path,
        files: Files<'_>,
        authorities: &Authorities,
        source: &Source,
        problems: &mut Problems,
    ) {
        let Some(file) = files.read(path, WHAT, source, problems) else { return };
        let shown = file.path.display();
        let lists = match parse(&file.bytes) {
            Ok(lists) if !lists.is_empty() => lists,
            Ok(_) => {
                return problems
                    .error(source, format!("`{shown}` holds no list; write {WHAT}, PEM or DER, into it"));
            }
            Err(_) => {
                return problems
                    .error(source, format!("`{shown}` holds a damaged list; copy the file again"));
            }
        };
        for list in lists {
            match list.read(authorities) {
                Ok(list) => {
                    warn(&file.path, list.next_update, files.now, source, problems);
                    self.0.push(RevocationList { file: file.path.clone(), ..list });
                }
                Err(why) => problems.error(source, format!("`{shown}` {why}")),
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each list's file, and when it has to be renewed; those that never have to be are
    /// left out.
    pub fn renewals(&self) -> impl Iterator<Item = (&Path, SystemTime)> {
        self.0.iter().filter_map(|list| Some((&*list.file, list.next_update?)))
    }

    /// What they say of a certificate, which is a client's own or an authority's.
    pub fn standing(&self, certificate: &X509Ref, is_own: bool) -> Standing {
        let issuer = certificate.issuer_name();
        if is_self_signed(certificate) {
            return Standing::Root;
        }
        let own = || self.0.iter().filter(|list| is_same(list.issuer.subject_name(), issuer));
        let serial = serial(certificate.serial_number());
        if own().any(|list| list.serials.binary_search(&serial).is_ok()) {
            return Standing::Revoked;
        }
        let other = if is_own { Covers::Authorities } else { Covers::Users };
        let mut covering = own().filter(|list| list.covers != other).peekable();
        match covering.peek() {
            None => Standing::Unlisted,
            Some(_) => Standing::Good(covering.filter_map(|list| list.next_update).min()),
        }
    }

    /// The same where the same is revoked: a list that was only published again is no
    /// other one.
    pub fn digest(&self) -> [u8; 32] {
        let mut prints: Vec<[u8; 32]> = self.0.iter().map(RevocationList::digest).collect();
        prints.sort_unstable();
        prints.dedup();
        let mut hash = Sha256::new();
        prints.iter().for_each(|print| hash.update(print));
        hash.finish()
    }
}

impl RevocationList {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&fingerprint(&self.issuer).unwrap_or_default());
        hash.update(&[self.covers as u8]);
        for serial in &self.serials {
            hash.update(&[u8::try_from(serial.len()).unwrap_or(u8::MAX)]);
            hash.update(serial);
        }
        hash.finish()
    }
}

type Serial = Box<[u8]>;

fn is_same(one: &X509NameRef, other: &X509NameRef) -> bool {
    one.try_cmp(other).is_ok_and(|order| order.is_eq())
}

/// Whether it issued itself. That its names say so does not make it so: an authority can
/// give its own name to others.
fn is_self_signed(certificate: &X509Ref) -> bool {
    if !is_same(certificate.subject_name(), certificate.issuer_name()) {
        return false;
    }
    let is_signed = certificate.public_key().is_ok_and(|key| certificate.verify(&key).unwrap_or(false));
    // What did not fit stays in BoringSSL's list of errors otherwise.
    drop(ErrorStack::get());
    is_signed
}

fn serial(number: &Asn1IntegerRef) -> Serial {
    // SAFETY: the integer lives as long as the reference to it; its bytes are copied.
    unsafe { bytes_of(number.as_ptr()) }
}

/// # Safety
/// `number` points to an integer of BoringSSL's.
unsafe fn bytes_of(number: *const ffi::ASN1_INTEGER) -> Serial {
    // SAFETY: an integer is a string of so many bytes, or of none.
    unsafe {
        let (data, length) = (ffi::ASN1_STRING_get0_data(number), ffi::ASN1_STRING_get_length(number));
        if data.is_null() { Box::default() } else { std::slice::from_raw_parts(data, length).into() }
    }
}

/// Tells of a list that is worth nothing now or soon.
fn warn(
    path: &Path,
    next_update: Option<SystemTime>,
    now: SystemTime,
    source: &Source,
    problems: &mut Problems,
) {
    let Some(next) = next_update.filter(|next| *next <= now) else { return };
    let (path, day) = (path.display(), validity::day(next));
    problems.warn(source, format!("`{path}` should have been renewed on {day}; fetch it again"));
}

/// A list as BoringSSL has it.
struct Parsed(*mut ffi::X509_CRL);

impl Drop for Parsed {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { ffi::X509_CRL_free(self.0) }
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Parsed>, ErrorStack> {
    let is_text = bytes.windows(PEM.len()).any(|window| window == PEM);
    if !is_text && bytes.first() != Some(&SEQUENCE) {
        return Ok(Vec::new());
    }
    if is_text { parse_pem(bytes) } else { parse_der(bytes).map(|list| vec![list]) }
}

fn parse_der(bytes: &[u8]) -> Result<Parsed, ErrorStack> {
    let mut at = bytes.as_ptr();
    let length = bytes.len().try_into().unwrap_or(0);
    // SAFETY: `at` is at the beginning of so many bytes; BoringSSL copies what it keeps.
    let list = unsafe { ffi::d2i_X509_CRL(ptr::null_mut(), &raw mut at, length) };
    // More behind it, and it is not what somebody thinks it is.
    let is_whole = at == bytes.as_ptr_range().end;
    let list = if list.is_null() { None } else { Some(Parsed(list)) };
    list.filter(|_| is_whole).ok_or_else(ErrorStack::get)
}

fn parse_pem(bytes: &[u8]) -> Result<Vec<Parsed>, ErrorStack> {
    // SAFETY: the reader is freed before the bytes that it reads.
    unsafe {
        let reader = ffi::BIO_new_mem_buf(bytes.as_ptr().cast(), bytes.len().try_into().unwrap_or(0));
        if reader.is_null() {
            return Err(ErrorStack::get());
        }
        let mut lists = Vec::new();
        loop {
            let list = ffi::PEM_read_bio_X509_CRL(reader, ptr::null_mut(), None, ptr::null_mut());
            if list.is_null() {
                break;
            }
            lists.push(Parsed(list));
        }
        ffi::BIO_free(reader);
        // What ends well ends with the search for another beginning.
        let why = ErrorStack::get();
        let is_end = |error: &boring::error::Error| {
            error.library_reason(ffi::ERR_LIB_PEM) == Some(ffi::PEM_R_NO_START_LINE)
        };
        if why.errors().iter().any(is_end) { Ok(lists) } else { Err(why) }
    }
}

impl Parsed {
    fn read(&self, authorities: &Authorities) -> Result<RevocationList, Unusable> {
        self.check_extensions()?;
        let issuer = self.issuer(authorities)?;
        let serials = self.serials()?;
        let (covers, next_update) = (self.covers()?, self.next_update());
        Ok(RevocationList { file: PathBuf::new(), issuer, serials, covers, next_update })
    }

    /// The authority that signed it.
    fn issuer(&self, authorities: &Authorities) -> Result<X509, Unusable> {
        // SAFETY: the name lives as long as the list.
        let name = unsafe { X509NameRef::from_ptr(ffi::X509_CRL_get_issuer(self.0)) };
        let named: Vec<_> =
            authorities.certificates.iter().filter(|known| is_same(known.subject_name(), name)).collect();
        let shown = super::facts::subject(name);
        if named.is_empty() {
            return Err(Unusable::Foreign(shown));
        }
        let signed = |authority: &X509| {
            let Ok(key) = authority.public_key() else { return false };
            // SAFETY: both live beyond the call.
            unsafe { ffi::X509_CRL_verify(self.0, key.as_ptr()) == 1 }
        };
        let signer = named.into_iter().find(|authority| signed(authority)).cloned();
        // What did not fit stays in BoringSSL's list of errors otherwise.
        drop(ErrorStack::get());
        signer.ok_or(Unusable::Forged(shown))
    }

    fn next_update(&self) -> Option<SystemTime> {
        // SAFETY: the time lives as long as the list.
        unsafe {
            let time = ffi::X509_CRL_get0_nextUpdate(self.0);
            (!time.is_null()).then(|| validity::instant(Asn1TimeRef::from_ptr(time.cast_mut())))
        }
    }

    fn serials(&self) -> Result<Vec<Serial>, Unusable> {
        let mut serials = Vec::new();
        // SAFETY: the entries live as long as the list; an empty one has no stack.
        unsafe {
            let entries = ffi::X509_CRL_get_REVOKED(self.0).cast::<ffi::OPENSSL_STACK>();
            let count = if entries.is_null() { 0 } else { ffi::OPENSSL_sk_num(entries) };
            for nth in 0..count {
                let entry = ffi::OPENSSL_sk_value(entries, nth).cast::<ffi::X509_REVOKED>();
                let extensions = 0..ffi::X509_REVOKED_get_ext_count(entry);
                let mut critical =
                    extensions.map(|at| ffi::X509_REVOKED_get_ext(entry, at)).filter_map(critical);
                if critical.next().is_some() {
                    return Err(Unusable::Indirect);
                }
                serials.push(bytes_of(ffi::X509_REVOKED_get0_serialNumber(entry)));
            }
        }
        serials.sort_unstable();
        serials.dedup();
        Ok(serials)
    }

    /// Refuses what would make the list mean something else.
    fn check_extensions(&self) -> Result<(), Unusable> {
        // SAFETY: extensions live as long as the list.
        let all = unsafe {
            let extensions = 0..ffi::X509_CRL_get_ext_count(self.0);
            extensions.map(|at| ffi::X509_CRL_get_ext(self.0, at)).filter_map(critical).collect::<Vec<_>>()
        };
        for nid in all {
            match nid {
                // That is read below.
                ffi::NID_issuing_distribution_point => {}
                ffi::NID_delta_crl => return Err(Unusable::Delta),
                _ => return Err(Unusable::Extension(nid)),
            }
        }
        Ok(())
    }

    /// What it is complete for. One that speaks for other issuers or attribute
    /// certificates, or for some reasons alone, says of no certificate that it is good. One
    /// that names where it is published is taken for whole: many authorities' whole lists do.
    fn covers(&self) -> Result<Covers, Unusable> {
        let nid = ffi::NID_issuing_distribution_point;
        let mut found = 0;
        // SAFETY: what is returned is ours, of that extension's type, and freed here.
        unsafe {
            let point = ffi::X509_CRL_get_ext_d2i(self.0, nid, &raw mut found, ptr::null_mut());
            let point = point.cast::<ffi::ISSUING_DIST_POINT>();
            let Some(read) = point.as_ref() else {
                return if found == ABSENT { Ok(Covers::All) } else { Err(Unusable::Indirect) };
            };
            let covers = match read {
                _ if read.indirectCRL != 0 || read.onlyattr != 0 => Err(Unusable::Indirect),
                _ if !read.onlysomereasons.is_null() => Err(Unusable::SomeReasons),
                _ if read.onlyuser != 0 && read.onlyCA != 0 => Err(Unusable::Indirect),
                _ if read.onlyuser != 0 => Ok(Covers::Users),
                _ if read.onlyCA != 0 => Ok(Covers::Authorities),
                _ => Ok(Covers::All),
            };
            ffi::ISSUING_DIST_POINT_free(point);
            covers
        }
    }
}

/// Why a list is none that certificates can be looked up in.
enum Unusable {
    /// Of this authority, which the entry does not have.
    Foreign(String),
    /// That authority did not sign it.
    Forged(String),
    /// It speaks for other issuers too.
    Indirect,
    /// It has only what was revoked for some of the reasons.
    SomeReasons,
    /// It has only what changed.
    Delta,
    /// It has a critical extension that changes what it means.
    Extension(i32),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(who) => write!(f, "is of `{who}`, which is not in `ca`; add that authority there"),
            Self::Forged(who) => write!(f, "is not signed by `{who}`; copy the file again"),
            Self::Indirect => {
                f.write_str("speaks for other issuers (an indirect list); give each issuer's own")
            }
            Self::SomeReasons => {
                f.write_str("has only what was revoked for some reasons; give the whole one")
            }
            Self::Delta => f.write_str("has only what changed (a delta list); give the whole one"),
            Self::Extension(nid) => {
                let name = Nid::from_raw(*nid).long_name().unwrap_or("unknown");
                write!(f, "has a critical extension that is not known here ({name}); give one without it")
            }
        }
    }
}

/// What a critical extension is; `None` for any other.
fn critical(extension: *mut ffi::X509_EXTENSION) -> Option<i32> {
    // SAFETY: whoever asks got it from a list that is still there.
    unsafe {
        let is_critical = ffi::X509_EXTENSION_get_critical(extension) != 0;
        is_critical.then(|| ffi::OBJ_obj2nid(ffi::X509_EXTENSION_get_object(extension)))
    }
}

const WHAT: &str = "a list of revoked certificates";
const PEM: &[u8] = b"-----BEGIN X509 CRL-----";

/// What BoringSSL says of an extension that is not there; of a bad or a second one it says
/// something else.
const ABSENT: i32 = -1;

/// How DER of a list begins.
const SEQUENCE: u8 = 0x30;
