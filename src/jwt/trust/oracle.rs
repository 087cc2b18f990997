//! What has to hold for every token that anyone can write, for the fuzzer and for tests.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a panic is how an oracle speaks")]

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

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_corpus_holds() {
        let files = std::fs::read_dir("fuzz/corpus/token").unwrap();
        let read = files.map(|file| super::token(&std::fs::read(file.unwrap().path()).unwrap()));
        assert!(read.count() >= 20);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_between_dots_holds(parts in proptest::collection::vec("[A-Za-z0-9_=.-]{0,40}", 0..5)) {
            super::token(parts.join(".").as_bytes());
        }

        #[test]
        fn objects_of_any_members_hold(json in r#"\{("[a-c]":([0-9]|\[\]|"x"),?){0,4}\}"#) {
            let header = crate::jwt::encode(br#"{"alg":"ES256"}"#);
            super::token(format!("{header}.{}.AAAA", crate::jwt::encode(json.as_bytes())).as_bytes());
        }
    }
}
