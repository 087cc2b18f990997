//! Vouches for requests towards their upstreams, with signed JSON Web Tokens; and
//! verifies the tokens of clients, in [`trust`].
//!
//! Owns keys and their life, claims, tokens and the set of public keys. Does not own
//! requests, bodies or header fields: who calls says in [`Facts`] what is known, and
//! puts the token where it belongs. What always holds: a private key is never shown,
//! a key is published before it signs where there is a choice, and a token outlives
//! neither its claims nor its key's turn.

mod base64url;
mod cache;
mod claims;
mod folder;
mod forge;
mod jwk;
mod key;
mod key_set;
mod memory;
mod public_keys;
mod ring;
mod rotation;
mod signature;
mod signer;
mod signers;
#[cfg(test)]
mod testing;
pub mod trust;
mod verify;

pub use base64url::{decode, encode};
pub use claims::{Consumer, Facts, Target};
pub use folder::{KeyFolder, Surveyed, survey};
pub use forge::{forge, forge_hs256};
pub use jwk::{Jwk, KeyId};
pub use key::SigningKey;
pub use key_set::KeySet;
pub use memory::Remembered;
pub use public_keys::{KeySetFlaw, PublicKeys, PublicKind};
pub use rotation::{Fetches, KeyState, Now};
pub use signature::SignError;
pub use signer::{Draft, Signer, Token};
pub use signers::{JwtLive, KeyStatus, Signers, VerifierStatus};
pub use verify::{Expected, Flaw, Part, Verified, verify};
