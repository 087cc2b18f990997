//! The request id: what client, gateway, endpoint and logs call one request.

use bytes::Bytes;
use http::HeaderValue;

use super::hex;

/// The value of `X-Request-Id`: 1 to 128 token characters. Copies share the
/// text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// No id yet.
    pub const fn none() -> Self {
        Self(HeaderValue::from_static("-"))
    }

    /// The client's own id if its word counts and it is well-formed, else one
    /// made of these random bytes. A stranger's id is never taken: it could
    /// choose one that is in the logs already.
    pub fn choose(client: Option<&HeaderValue>, trusted: bool, random: [u8; 16]) -> Self {
        let taken = client.filter(|id| trusted && is_well_formed(id.as_bytes()));
        Self(taken.cloned().unwrap_or_else(|| made(&random)))
    }

    /// The id as text; always ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The id as the value of a field; shares the text.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    (1..=128).contains(&id.len()) && id.iter().all(token)
}

fn made(random: &[u8; 16]) -> HeaderValue {
    let mut digits = [0; 32];
    hex::write(&mut digits, random);
    // One allocation, counted from the start: the copies that go to the
    // endpoint, the client and the log cost none.
    let shared = Bytes::from_owner(digits);
    HeaderValue::from_maybe_shared(shared).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANDOM: [u8; 16] = *b"\x00\x01\x0f\x10\xff\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x42";
    const MADE: &[u8] = b"00010f10ffabcdef0000000000000042";

    #[test]
    fn a_trusted_id_is_kept_and_a_strangers_is_not() {
        let sent = HeaderValue::from_static("a1b2-c3.d4_e5");

        assert_eq!(RequestId::choose(Some(&sent), true, RANDOM).as_bytes(), b"a1b2-c3.d4_e5");
        assert_eq!(RequestId::choose(Some(&sent), false, RANDOM).as_bytes(), MADE);
        assert_eq!(RequestId::choose(None, true, RANDOM).as_bytes(), MADE);
    }

    #[test]
    fn a_malformed_id_is_replaced_even_if_trusted() {
        let long = "a".repeat(129);
        for bad in ["", " ", "a b", "a,b", "a\"b", "a;b", "é", long.as_str()] {
            let sent = HeaderValue::from_bytes(bad.as_bytes()).unwrap();

            assert_eq!(RequestId::choose(Some(&sent), true, RANDOM).as_bytes(), MADE, "{bad}");
        }
        let longest = HeaderValue::from_str(&"a".repeat(128)).unwrap();
        assert_eq!(RequestId::choose(Some(&longest), true, RANDOM).as_bytes(), longest.as_bytes());
    }

    #[test]
    fn the_header_shares_the_text() {
        let id = RequestId::choose(None, false, RANDOM);

        assert_eq!(id.header().as_bytes().as_ptr(), id.as_bytes().as_ptr());
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_id_is_a_short_token(sent: Vec<u8>, trusted: bool, random: [u8; 16]) {
            let sent = HeaderValue::from_bytes(&sent).ok();

            let id = RequestId::choose(sent.as_ref(), trusted, random);

            prop_assert!(is_well_formed(id.as_bytes()));
        }
    }
}
