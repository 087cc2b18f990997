//! What happens to a request between the client's bytes and the upstream's:
//! `impl ProxyHttp`, phase by phase. This file only delegates.
//!
//! First of all phases stands the [`gate`]: a request that it lets through is
//! well-formed, has one host and one path, and what is matched is what is
//! forwarded. Before Pingora parses at all, [`mod@line`] looks at the request line,
//! because Pingora repairs what it should refuse.

mod alphabet;
pub mod cookies;
pub mod gate;
pub mod line;
#[cfg(any(test, fuzzing))]
pub mod oracle;
