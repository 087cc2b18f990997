//! What the gateway's own errands need: TLS towards those it asks for itself (a store,
//! an identity provider), and fetching a document.
//!
//! Owns neither when they are asked nor what their answers mean. Always holds: a
//! certificate that does not verify for the host's name ends the connection, before
//! anything is said.

mod http;
mod tls;

pub use http::{NoDocument, get};
pub use tls::connector;
