//! Placeholder.
pub mod path;
