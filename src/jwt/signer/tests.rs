//! Tokens from facts to a verifier.

use proptest::prelude::*;

use super::*;
use crate::jwt::{
    Consumer, Expected, JwtLive, Signers, Verified, decode,
    testing::{Folder, NOON, at, built, facts, later, start, verifiable},
    verify,
};

struct Gateway {
    signers: Signers,
    _folder: Folder,
}

impl Gateway {
    fn new(more: &str) -> Self {
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| more.contains(algorithm.name()));
        let folder = Folder::with(algorithm.unwrap_or_default());
        let signers = built(more, &folder, &JwtLive::default(), start()).unwrap();
        Self { signers, _folder: folder }
    }

    fn signer(&self) -> &Signer {
        self.signers.iter().next().unwrap()
    }

    fn token(&self, facts: &Facts<'_>, now: Now) -> String {
        let value = match self.signer().token(facts, now).unwrap() {
            Token::Ready(value) => value,
            Token::Draft(draft) => draft.sign().unwrap(),
        };
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    }

    fn verified(&self, token: &str) -> Verified {
        verify(token, &verifiable(&self.signers, start()), &Expected::default(), at(NOON)).unwrap()
    }
}

fn is_ready(token: &Token) -> bool {
    matches!(token, Token::Ready(_))
}

#[test]
fn tokens_of_every_algorithm_verify() {
    for algorithm in Algorithm::ALL {
        let gateway = Gateway::new(&format!("algorithm: {algorithm}"));

        let verified = gateway.verified(&gateway.token(&facts(), start()));

        let kid = gateway.signers.key_set(start()).kids[0].clone();
        assert_eq!(verified.header["alg"], algorithm.name());
        assert_eq!(verified.header["kid"], kid.as_str());
        assert_eq!(verified.header["typ"], "JWT");
        assert_eq!(verified.header.len(), 3);
        assert_eq!(verified.claims["aud"], "orders");
    }
}

#[test]
fn a_token_is_used_again_for_half_of_its_life() {
    let gateway = Gateway::new("ttl: 30s");
    let first = gateway.token(&facts(), start());

    assert_eq!(gateway.token(&facts(), later(start(), 14)), first);
    assert_ne!(gateway.token(&facts(), later(start(), 15)), first);
}

#[test]
fn a_clock_that_steps_either_way_makes_a_new_token() {
    let gateway = Gateway::new("");
    let first = gateway.token(&facts(), start());
    let stepped = |secs| Now { wall: at(secs), ..start() };

    assert_ne!(gateway.token(&facts(), stepped(NOON - 3600)), first);
    assert_ne!(gateway.token(&facts(), stepped(NOON + 3600)), first);
}

#[test]
fn requests_with_other_claims_have_other_tokens() {
    let gateway = Gateway::new("claims: [scope]");
    let consumer = |id| Facts { consumer: Some(Consumer { id, name: id }), ..facts() };
    let others = [
        consumer("a"),
        consumer("b"),
        Facts { upstream: "users", ..facts() },
        Facts { scope: Some("x"), ..facts() },
    ];
    let first = gateway.token(&facts(), start());

    for other in &others {
        let token = gateway.token(other, start());
        assert_ne!(token, first);
        assert_eq!(gateway.token(other, start()), token);
    }
    // What is not said makes no difference.
    assert_eq!(gateway.token(&Facts { zone: Some("z"), ..facts() }, start()), first);
}

#[test]
fn a_bound_token_is_signed_each_time() {
    let gateway = Gateway::new("bind: [method]");
    gateway.token(&facts(), start());

    assert!(gateway.signer().is_bound());
    assert!(!is_ready(&gateway.signer().token(&facts(), start()).unwrap()));
}

#[test]
fn a_token_with_bearer_says_so_in_front() {
    let gateway = Gateway::new("bearer: true");

    let token = gateway.token(&facts(), start());

    gateway.verified(token.strip_prefix("Bearer ").unwrap());
    assert_eq!(gateway.token(&facts(), start()), token);
}

#[test]
fn facts_too_long_for_a_field_make_no_token() {
    let gateway = Gateway::new("bind: [path]");
    let path = |length| vec![b'x'; length];
    let token = |path: &[u8]| {
        let request = crate::jwt::Target { path, ..facts().request };
        gateway.signer().token(&Facts { request, ..facts() }, start())
    };

    assert!(token(&path(10_000)).is_ok());
    assert_eq!(token(&path(12_000)).unwrap_err(), SignError::TooLong);
}

#[test]
fn a_token_takes_one_allocation_of_exactly_its_length() {
    for algorithm in Algorithm::ALL {
        let gateway = Gateway::new(&format!("bind: [path], algorithm: {algorithm}"));
        let Token::Draft(mut draft) = gateway.signer().token(&facts(), start()).unwrap() else { panic!() };
        let capacity = draft.text.capacity();

        draft.turn.key.sign(&mut draft.text, draft.start).unwrap();

        assert_eq!((draft.text.len(), draft.text.capacity()), (capacity, capacity), "{algorithm}");
    }
}

#[test]
fn the_plugins_token_carries_its_certificate_as_the_plugin_writes_it() {
    let folder = Folder::new();
    let rsa = &*crate::jwt::testing::RSA;
    folder.write("a.pem", &(rsa.clone() + &crate::jwt::testing::certificate(rsa)));
    let signers = built("profile: kong_upstream_jwt", &folder, &JwtLive::default(), start()).unwrap();
    let gateway = Gateway { signers, _folder: folder };

    let verified = gateway.verified(&gateway.token(&facts(), start()));

    let x5c = verified.header["x5c"][0].as_str().unwrap();
    let certificate = boring::x509::X509::from_der(&decode(x5c.as_bytes()).unwrap()).unwrap();
    let key = boring::pkey::PKey::private_key_from_pem(rsa.as_bytes()).unwrap();
    assert!(certificate.public_key().unwrap().public_eq(&key));
    assert_eq!(verified.header["alg"], "RS256");
    assert!(gateway.signer().is_slow() && gateway.signer().is_bound());
    assert!(gateway.signer().body.is_some());
}

#[test]
fn drafts_can_be_signed_on_another_thread() {
    let gateway = Gateway::new("algorithm: RS256");
    let Token::Draft(draft) = gateway.signer().token(&facts(), start()).unwrap() else { panic!() };

    let value = std::thread::spawn(|| draft.sign()).join().unwrap().unwrap();

    // And serves here too.
    assert_eq!(gateway.token(&facts(), start()), value.to_str().unwrap());
}

#[test]
fn no_debug_text_shows_a_token() {
    let gateway = Gateway::new("");
    let draft = gateway.signer().token(&facts(), start()).unwrap();
    let shown = format!("{draft:?}");
    let Token::Draft(draft) = draft else { panic!() };

    let value = draft.sign().unwrap();

    assert!(!shown.contains("eyJ") && !format!("{value:?}").contains("eyJ"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn tokens_of_any_facts_verify_and_say_them(consumer in ".*", path in proptest::collection::vec(any::<u8>(), 0..80)) {
        thread_local! { static GATEWAY: Gateway = Gateway::new("bind: [path]"); }
        let request = crate::jwt::Target { path: &path, ..facts().request };
        let facts = Facts { consumer: Some(Consumer { id: &consumer, name: "" }), request, ..facts() };

        let verified = GATEWAY.with(|gateway| gateway.verified(&gateway.token(&facts, start())));

        let sub = verified.claims["sub"].as_str().unwrap();
        prop_assert_eq!(sub.strip_prefix("consumer:").unwrap_or(sub), &consumer);
    }
}
