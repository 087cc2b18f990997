//! Ends clients' TLS and prepares the gateway's own towards upstreams.
//!
//! Owns certificates, the choice among them by server name, client
//! authentication, session resumption and what a handshake told. Does not own
//! sockets, deadlines or counters: the edge has those, and a [`HandshakeError`]
//! says what to count. What always holds: a connection is ruled by the client
//! authentication of the host it named, resumed or not, and whoever serves a
//! request asks [`TlsTable::admits`] whether it belongs on its connection (421 if not).

mod acceptor;
mod authorities;
mod context;
mod directory;
mod facts;
mod failure;
mod files;
mod handshake;
mod inventory;
mod names;
mod pair;
mod policy;
mod revocation;
mod table;
#[doc(hidden)]
pub mod testing;
mod tickets;
mod trust;
mod upstream;
mod validity;
mod watched;

pub use acceptor::Acceptor;
pub use facts::{ClientCertificate, TlsFacts};
pub use failure::{HandshakeError, HandshakeFailure};
pub use pair::KeyKind;
pub use policy::PolicyId;
pub use table::{CertificateFacts, TlsTable};
pub use tickets::{BadTicketKeys, TicketRing};
pub use trust::CertificateFault;
pub use upstream::{PeerCheck, PeerFault, UpstreamTls, authorities};
pub use watched::Watched;

#[cfg(test)]
mod tests;
