//! Limits that a fleet shares through a real store, and a store that fails in every
//! way that there is.

mod script;
mod store;
