//! Who is asking: the tenant behind a VPC endpoint, which client of it, and who vouches
//! for them.
//!
//! Owns whom the hops in front of the gateway may speak for, what an endpoint's id says and what one client is. Does not own where
//! the id comes from (the edge has it from a trusted PROXY header) nor what a
//! caller may do (routes say that). Always holds: nothing that a client sends
//! makes it another, and a client's address counts together with its endpoint.

mod api_keys;
mod certificates;
mod consumer;
mod forwarded;
mod principal;
mod requirement;
mod tenants;

pub use api_keys::{ApiKeys, KeyNames, NewKey, PREFIX as API_KEY_PREFIX, digest as key_digest};
pub use certificates::CertificateConsumers;
pub use consumer::{Consumer, Flaw, Said};
pub use forwarded::{Believed, TrustedHops};
pub use principal::{ClientKey, Principal};
pub use requirement::{Authenticated, Requirement};
pub use tenants::{Tenancy, TenantKey, Tenants};
