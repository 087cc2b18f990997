//! What has to hold for every token that anyone can write, for the fuzzer and for tests.

use serde_json::Value;

use super::{compact::Compact, json};
use crate::jwt::base64url;

/// Whatever these bytes are: if they can be taken apart as a token, they are what their
/// parts are, and each part has one reading.
pub fn token(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(token) = Compact::parse(text) else { return };
    let parts: Vec<_> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "another number of parts");
    assert_eq!(token.signed, [parts[0], parts[1]].join(".").as_bytes(), "something else is signed");
    assert_eq!(base64url::encode(&token.signature), parts[2], "another spelling of a signature");
    if let Ok(claims) = token.claims() {
        let decoded = base64url::decode(parts[1].as_bytes()).unwrap_or_default();
        let other: Value = serde_json::from_slice(&decoded).unwrap_or_default();
        assert_eq!(Value::Object(claims), other, "another reading of the claims");
    }
    drop(json::object(bytes));
}
