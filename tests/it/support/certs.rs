//! Certificates for tests: one authority and what it signs.
//!
//! Owns the short words; the library's `tls::testing` makes them.

use std::ops::Range;

use tollgate::tls::testing;
pub use tollgate::tls::testing::{Authority, Issued, Kind, VALID};

/// An authority of its own.
pub fn authority() -> Authority {
    testing::ca("test authority").unwrap()
}

/// A server's certificate on P-256 for these DNS names.
pub fn server(authority: &Authority, names: &[&str]) -> Issued {
    server_with(authority, names, Kind::Ecdsa, VALID)
}

/// A server's certificate; `valid` is in seconds from now.
pub fn server_with(authority: &Authority, names: &[&str], kind: Kind, valid: Range<i64>) -> Issued {
    testing::leaf(authority, names, kind, valid).unwrap()
}

/// A client's certificate with this common name.
pub fn client(authority: &Authority, common_name: &str) -> Issued {
    testing::client(authority, common_name, None, VALID).unwrap()
}
