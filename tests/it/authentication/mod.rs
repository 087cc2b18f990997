//! Who gets in, end to end: what is asked of callers, what they are told, and what
//! becomes of what they presented.

mod api_keys;
mod cors;
mod explained;
mod rules;
mod second_route;

use tollgate::identity::NewKey;

use crate::support::{Gateway, Origin, gateway::GatewayBuilder};

/// A key that differs by this number from others.
fn key(number: u8) -> NewKey {
    NewKey::new(&std::array::from_fn(|index| (index as u8).wrapping_mul(7).wrapping_add(number)))
}

/// A line of a file of keys, with more of its keys.
fn line(key: &NewKey, consumer: &str, more: &str) -> String {
    format!("- {{ consumer: {consumer}, sha256: {}{more} }}\n", key.digest)
}

/// With the way of authentication `partners`, its file of these lines, and more sections.
fn with_keys(origin: &Origin, lines: &str, spec: &str, sections: &str) -> GatewayBuilder {
    Gateway::builder().origin("origin", origin).file("keys.yaml", &format!("keys:\n{lines}")).yaml(&format!(
        "authentication: [{{ name: partners, api_keys: {{ files: [keys.yaml]{spec} }} }}]\n{sections}\n"
    ))
}
