//! Whether a client's certificate is accepted: chain, time, use, names, revocation.
//!
//! Owns the one judgement, for handshakes and for connections that were made under
//! former rules alike, and the closed list of what can be wrong. Does not own whether a
//! client has to show a certificate at all.

use std::{fmt, path::Path, time::SystemTime};

use boring::{
    error::ErrorStack,
    sha::Sha256,
    stack::StackRef,
    x509::{
        X509, X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyError,
        store::{X509Store, X509StoreBuilder},
        verify::X509VerifyFlags,
    },
};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;

use super::{
    authorities::Authorities,
    facts::ClientCertificate,
    files::Files,
    revocation::{RevocationLists, Standing},
    validity,
};
use crate::config::{
    Problems, Source,
    listener::{ClientAuthSpec, ExpiredCrl},
    types::SanPattern,
};

/// Whose certificates are accepted, and which of them.
pub(super) struct Trust {
    /// Who may have signed them.
    pub authorities: Authorities,
    store: X509Store,
    lists: RevocationLists,
    expired_crl: ExpiredCrl,
    names: Vec<SanPattern>,
}

impl Trust {
    /// Reads the files of an entry of `client_auth`. `None` when anything stops it from
    /// being used; then `problems` says what.
    pub fn load(
        spec: &ClientAuthSpec,
        files: Files<'_>,
        source: &Source,
        problems: &mut Problems,
    ) -> Option<Self> {
        let ca = spec.ca.as_ref()?;
        let authorities = Authorities::load(ca, files, &source.key("ca"), problems)?;
        let (mut lists, mut found) = (RevocationLists::default(), Problems::default());
        for (at, path) in spec.crl.iter().enumerate() {
            lists.load(path, files, &authorities, &source.key("crl").entry(at), &mut found);
        }
        let failed = found.has_errors();
        problems.extend(found);
        let Ok(store) = store(&authorities) else {
            problems.error(&source.key("ca"), "BoringSSL takes these authorities together for none");
            return None;
        };
        let (expired_crl, names) = (spec.expired_crl, spec.names.clone());
        (!failed).then_some(Self { authorities, store, lists, expired_crl, names })
    }

    /// Judges a certificate that a client showed, with what it showed beside it. Until
    /// when the judgement holds, or what is wrong.
    pub fn judge(
        &self,
        leaf: &X509Ref,
        beside: &StackRef<X509>,
        now: SystemTime,
    ) -> Result<SystemTime, CertificateFault> {
        let mut context = X509StoreContext::new().map_err(|_| CertificateFault::Malformed)?;
        let judged = context.init(&self.store, leaf, beside, |context| Ok(self.judge_in(context, now)));
        judged.unwrap_or(Err(CertificateFault::Malformed)).and_then(|until| {
            let own = ClientCertificate::read(leaf).ok_or(CertificateFault::Malformed)?;
            let names = own.names();
            let is_named = self.names.is_empty() || self.names.iter().any(|name| name.fits(&names));
            if is_named { Ok(until) } else { Err(CertificateFault::WrongName) }
        })
    }

    fn judge_in(
        &self,
        context: &mut X509StoreContextRef,
        now: SystemTime,
    ) -> Result<SystemTime, CertificateFault> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        context.verify_param_mut().set_time(seconds.try_into().unwrap_or(0));
        let verified = context.verify_cert();
        // What BoringSSL tells twice must not be taken for the handshake's.
        drop(ErrorStack::get());
        match (verified, context.verify_result()) {
            (Ok(true), Ok(())) => {}
            (_, Err(why)) => return Err(CertificateFault::of(why)),
            _ => return Err(CertificateFault::Malformed),
        }
        let chain = context.chain().ok_or(CertificateFault::Malformed)?;
        let ends = chain.iter().map(validity::not_after).min();
        let ends = ends.ok_or(CertificateFault::Malformed)?;
        let renewal = self.look_up(chain, now)?;
        Ok(renewal.map_or(ends, |renewal| ends.min(renewal)))
    }

    /// Looks the chain up, but for roots, which nobody can revoke; when the first list
    /// that says so has to be renewed.
    fn look_up(
        &self,
        chain: &StackRef<X509>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, CertificateFault> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        let mut renewal = None;
        for (depth, certificate) in chain.iter().enumerate() {
            let next = match self.lists.standing(certificate, depth == 0) {
                Standing::Revoked => return Err(CertificateFault::Revoked),
                Standing::Unlisted if depth == 0 => return Err(CertificateFault::RevocationUnknown),
                Standing::Root | Standing::Unlisted => None,
                Standing::Good(next) => next,
            };
            let next = next.filter(|_| self.expired_crl == ExpiredCrl::Refuse);
            if next.is_some_and(|next| next <= now) {
                return Err(CertificateFault::RevocationUnknown);
            }
            renewal = renewal.into_iter().chain(next).min();
        }
        Ok(renewal)
    }

    /// Each list of revoked certificates, and when it has to be renewed.
    pub fn renewals(&self) -> impl Iterator<Item = (&Path, SystemTime)> {
        self.lists.renewals()
    }

    /// The same where the same certificates are accepted.
    pub fn digest(&self) -> [u8; 32] {
        let mut names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(&self.authorities.digest);
        hash.update(&self.lists.digest());
        hash.update(&[u8::from(self.lists.is_empty()), u8::from(self.expired_crl == ExpiredCrl::Accept)]);
        for name in names {
            hash.update(name.as_bytes());
            hash.update(b"\n");
        }
        hash.finish()
    }
}

/// Each authority is trusted for itself, so that a file with an issuing authority alone
/// works, and narrows trust to what that one signed.
fn store(authorities: &Authorities) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in &authorities.certificates {
        store.add_cert(authority)?;
    }
    store.try_set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    // SAFETY: the store lives beyond the call. A purpose that is known cannot fail.
    unsafe { ffi::X509_STORE_set_purpose(store.as_ptr(), ffi::X509_PURPOSE_SSL_CLIENT) };
    Ok(store.build())
}

/// What is wrong with a client's certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CertificateFault {
    /// No authority of the host's issued it.
    UnknownAuthority,
    /// It, or one above it, has expired.
    Expired,
    /// It, or one above it, is not valid yet.
    NotYetValid,
    /// It has none of the names that the host accepts, or one that its authority may not
    /// give.
    WrongName,
    /// It, or one above it, stands in a list of revoked certificates.
    Revoked,
    /// There is no list of its issuer's, or only one that should have been renewed.
    RevocationUnknown,
    /// It is not for clients.
    WrongUsage,
    /// It cannot be read, or breaks the rules, or the client does not have its key.
    Malformed,
}

impl CertificateFault {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::WrongUsage,
        Self::Malformed,
    ];

    /// The word for metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::WrongUsage => "wrong_usage",
            Self::Malformed => "malformed",
        }
    }

    fn of(why: X509VerifyError) -> Self {
        type E = X509VerifyError;
        match why {
            E::CERT_HAS_EXPIRED => Self::Expired,
            E::CERT_NOT_YET_VALID => Self::NotYetValid,
            E::INVALID_PURPOSE | E::CERT_REJECTED => Self::WrongUsage,
            E::PERMITTED_VIOLATION | E::EXCLUDED_VIOLATION => Self::WrongName,
            E::UNABLE_TO_GET_ISSUER_CERT
            | E::UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            | E::UNABLE_TO_VERIFY_LEAF_SIGNATURE
            | E::DEPTH_ZERO_SELF_SIGNED_CERT
            | E::SELF_SIGNED_CERT_IN_CHAIN
            | E::CERT_SIGNATURE_FAILURE
            | E::CERT_UNTRUSTED
            | E::INVALID_CA => Self::UnknownAuthority,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
