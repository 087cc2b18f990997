//! Keys over reloads.

use super::*;
use crate::{
    config::signer::Algorithm::Es256,
    jwt::{
        Token,
        testing::{Folder, built, facts, later, looked_at, pem, start},
    },
};

const TEN_MINUTES: &str = "publish_for: 10m, ttl: 30s";

/// The `kid` of a token that is made now.
fn signs(signers: &Signers, now: Now) -> String {
    let signer = signers.iter().next().unwrap();
    let value = match signer.token(&facts(), now).unwrap() {
        Token::Ready(value) => value,
        Token::Draft(draft) => draft.sign().unwrap(),
    };
    let header = value.to_str().unwrap().split('.').next().unwrap().to_owned();
    let header: serde_json::Value =
        serde_json::from_slice(&crate::jwt::decode(header.as_bytes()).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The file whose key signs.
fn file(signers: &Signers, now: Now) -> String {
    let kid = signs(signers, now);
    let status = signers.status(now);
    let key = status.iter().find(|key| key.kid.as_str() == kid).unwrap();
    assert_eq!(key.state, Some(KeyState::Signing));
    key.file.as_ref().unwrap().to_string()
}

fn published(signers: &Signers, now: Now) -> usize {
    signers.key_set(now).kids.len()
}

#[test]
fn a_first_start_signs_at_once() {
    let folder = Folder::new();
    folder.write_aged("a.pem", &pem(Es256), 0);

    let signers = built("", &folder, &JwtLive::default(), start()).unwrap();

    assert_eq!(file(&signers, start()), "a.pem");
    assert_eq!(published(&signers, start()), 1);
}

#[test]
fn a_start_goes_by_the_age_of_files() {
    let folder = Folder::new();
    folder.write_aged("a.pem", &pem(Es256), 9000);
    folder.write_aged("b.pem", &pem(Es256), 700);
    folder.write_aged("c.pem", &pem(Es256), 500);

    let signers = built(TEN_MINUTES, &folder, &JwtLive::default(), start()).unwrap();

    assert_eq!(file(&signers, start()), "b.pem");
    assert_eq!(file(&signers, later(start(), 99)), "b.pem");
    assert_eq!(file(&signers, later(start(), 100)), "c.pem");
    assert_eq!(published(&signers, start()), 3);
}

#[test]
fn a_key_that_appears_is_published_before_it_signs_whatever_its_files_date() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let before = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.write_aged("b.pem", &pem(Es256), 9000);

    let after = built(TEN_MINUTES, &folder, &live, later(start(), 1000)).unwrap();

    assert_eq!(file(&after, later(start(), 1599)), "a.pem");
    assert_eq!(published(&after, later(start(), 1000)), 2);
    assert_eq!(file(&after, later(start(), 1600)), "b.pem");
    drop(before);
}

#[test]
fn a_reload_does_not_start_the_wait_again() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let _first = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.write("b.pem", &pem(Es256));
    let _second = built(TEN_MINUTES, &folder, &live, later(start(), 1000)).unwrap();

    let third = built(TEN_MINUTES, &folder, &live, later(start(), 1500)).unwrap();

    assert_eq!(file(&third, later(start(), 1600)), "b.pem");
}

#[test]
fn a_refused_reload_publishes_nothing_and_its_wait_does_not_count() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let serving = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.write("b.pem", &pem(Es256));
    folder.write("c.pem", "hello");

    assert!(built(TEN_MINUTES, &folder, &live, later(start(), 1000)).is_err());
    assert_eq!(file(&serving, later(start(), 9000)), "a.pem");
    assert_eq!(published(&serving, later(start(), 9000)), 1);

    folder.remove("c.pem");
    let after = built(TEN_MINUTES, &folder, &live, later(start(), 2000)).unwrap();
    assert_eq!(file(&after, later(start(), 2599)), "a.pem");
    assert_eq!(file(&after, later(start(), 2600)), "b.pem");
}

#[test]
fn no_token_outlives_its_keys_turn_in_the_cache() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let _before = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.write("b.pem", &pem(Es256));
    let signers = built(TEN_MINUTES, &folder, &live, later(start(), 1000)).unwrap();

    let old = signs(&signers, later(start(), 1599));
    let kept = signers.iter().next().unwrap().token(&facts(), later(start(), 1599)).unwrap();

    assert!(matches!(kept, Token::Ready(_)));
    assert_ne!(signs(&signers, later(start(), 1600)), old);
}

#[test]
fn a_key_signs_once_every_verifier_fetched_it() {
    let more = "publish_for: 10m, verifiers: [{ name: x, networks: [10.0.1.0/24] }, { name: y, networks: [10.0.2.0/24] }]";
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let before = built(more, &folder, &live, start()).unwrap();
    folder.write("b.pem", &pem(Es256));
    let now = later(start(), 1000);
    let after = built(more, &folder, &live, now).unwrap();

    // Of the snapshot before, which did not have it.
    before.fetched("10.0.1.7".parse().unwrap(), now);
    after.fetched("10.0.2.7".parse().unwrap(), now);
    after.fetched("192.0.2.7".parse().unwrap(), now);

    let waiting =
        KeyState::Published { waits: std::time::Duration::from_secs(600), laggards: vec!["x".into()] };
    assert!(after.status(now).iter().any(|key| key.state.as_ref() == Some(&waiting)));
    assert_eq!(file(&after, now), "a.pem");
    after.fetched("::ffff:10.0.1.7".parse().unwrap(), now);
    assert_eq!(file(&after, now), "b.pem");
}

#[test]
fn a_retired_key_stays_published_until_its_last_token_has_expired() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 100);
    folder.write_aged("b.pem", &pem(Es256), 0);
    let before = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    assert_eq!(file(&before, later(start(), 50)), "a.pem");
    folder.remove("a.pem");
    let now = later(start(), 60);

    let after = built(TEN_MINUTES, &folder, &live, now).unwrap();
    // A request that began before signs after.
    signs(&before, later(start(), 70));
    drop(before);
    // And another reload does not lose it.
    let after = built(TEN_MINUTES, &folder, &live, later(start(), 80)).map(|next| (after, next)).unwrap().1;

    assert_eq!(file(&after, now), "b.pem");
    // 70 s, 30 s that the token counts, and a minute of patience.
    assert_eq!(published(&after, later(start(), 160)), 2);
    assert!(after.status(later(start(), 160)).iter().any(|key| key.file.is_none() && key.state.is_none()));
    assert_eq!(published(&after, later(start(), 161)), 1);
}

#[test]
fn a_key_that_comes_back_and_goes_again_is_retired_anew() {
    let (folder, live, key) = (Folder::new(), JwtLive::default(), pem(Es256));
    folder.write_aged("a.pem", &pem(Es256), 0);
    let at = |secs| built(TEN_MINUTES, &folder, &live, later(start(), secs)).unwrap();
    folder.write("b.pem", &key);
    let first = at(0);
    folder.remove("b.pem");
    let second = at(10);
    folder.write("b.pem", &key);
    let third = at(20);
    folder.remove("b.pem");

    let fourth = at(1000);

    drop((first, second, third));
    assert_eq!(published(&fourth, later(start(), 1090)), 2);
    assert_eq!(published(&fourth, later(start(), 1091)), 1);
}

#[test]
fn building_alone_retires_no_key_and_leaves_nothing_behind() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let serving = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.remove("a.pem");
    folder.write("b.pem", &pem(Es256));
    let specs = [crate::jwt::testing::spec(TEN_MINUTES)];
    let resolve = |_: &Path| folder.path().to_owned();

    drop(Signers::build(&specs, &resolve, &live, later(start(), 10), &mut Problems::default()));
    live.sweep();

    assert_eq!(locked(&live.records).len(), 1);
    folder.remove("b.pem");
    folder.write("b.pem", &pem(Es256));
    let mut problems = Problems::default();
    let next = Signers::build(&specs, &resolve, &live, later(start(), 1000), &mut problems);
    // Retired by now, and not 990 s ago.
    let next = next.at_work(&live, later(start(), 1000));
    assert_eq!(published(&next, later(start(), 1080)), 2);
    drop(serving);
}

#[test]
fn keys_of_a_signer_that_is_gone_stay_published_too() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let before = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    signs(&before, start());

    let none =
        Signers::build(&[], &|path| path.to_owned(), &live, later(start(), 1), &mut Problems::default());
    let none = none.at_work(&live, later(start(), 1));

    assert_eq!(published(&none, later(start(), 1)), 1);
    assert_eq!(published(&none, later(start(), 100)), 0);
}

#[test]
fn a_set_of_keys_that_are_all_new_is_warned_of_and_signs() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let _before = built("", &folder, &live, start()).unwrap();
    folder.write_aged("a.pem", &pem(Es256), 0);

    let (_, told) = looked_at("", &folder, &live, later(start(), 5));

    assert!(told.starts_with("warning: no key of signer `default` is one that it had, so"), "{told}");
}

#[test]
fn a_key_that_signs_before_its_time_for_want_of_another_is_warned_of_once() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 9000);
    let _first = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    folder.write_aged("b.pem", &pem(Es256), 0);
    let (second, told) = looked_at(TEN_MINUTES, &folder, &live, start());
    assert_eq!(told, "");
    let _second = second.at_work(&live, start());
    folder.remove("a.pem");

    let (third, early) = looked_at(TEN_MINUTES, &folder, &live, later(start(), 60));
    let (_, in_time) = looked_at(TEN_MINUTES, &folder, &live, later(start(), 600));
    let _third = third.at_work(&live, later(start(), 60));
    let (_, again) = looked_at(TEN_MINUTES, &folder, &live, later(start(), 61));

    assert!(early.starts_with("warning: the key that signed for `default` is gone"), "{early}");
    assert_eq!((&*in_time, &*again), ("", ""));
}

#[test]
fn a_fresh_key_that_goes_and_never_signed_is_not_missed() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    // Of one date, as in an image: by name the first signs.
    folder.write_aged("a.pem", &pem(Es256), 5);
    let b = pem(Es256);
    folder.write_aged("b.pem", &b, 5);
    let before = built(TEN_MINUTES, &folder, &live, start()).unwrap();
    assert_eq!(file(&before, start()), "a.pem");
    let upgraded = JwtLive::default();
    upgraded.recall(live.remember(start()), start());
    let told = |live| looked_at(TEN_MINUTES, &folder, live, later(start(), 5)).1;

    folder.remove("b.pem");
    let without_b = [told(&live), told(&upgraded)];
    folder.write_aged("b.pem", &b, 5);
    folder.remove("a.pem");
    let without_a = [told(&live), told(&upgraded)];

    assert_eq!(without_b, ["", ""]);
    let is_warned = |told: &String| told.starts_with("warning: the key that signed for `default` is gone");
    assert!(without_a.iter().all(is_warned), "{without_a:?}");
}

#[test]
fn the_key_set_is_the_same_until_a_key_comes_or_goes() {
    let (folder, live) = (Folder::new(), JwtLive::default());
    folder.write_aged("a.pem", &pem(Es256), 0);
    let signers = built("", &folder, &live, start()).unwrap();
    let first = signers.key_set(start());

    assert!(Arc::ptr_eq(&first, &signers.key_set(later(start(), 9999))));
    let again = built("", &folder, &live, start()).unwrap().key_set(start());
    assert_eq!((&again.body, &again.etag), (&first.body, &first.etag));

    folder.write("b.pem", &pem(Es256));
    let other = built("", &folder, &live, start()).unwrap().key_set(start());
    assert_ne!(other.etag, first.etag);
    assert!(other.kids.is_sorted());
}

#[test]
fn a_key_is_for_one_algorithm() {
    let folder = Folder::with(Algorithm::Rs256);
    let specs = ["name: a, algorithm: RS256", "name: b, algorithm: PS256", "name: c, algorithm: RS256"];
    let specs = specs.map(crate::jwt::testing::spec);
    let mut problems = Problems::default();

    Signers::build(&specs, &|_| folder.path().to_owned(), &JwtLive::default(), start(), &mut problems);

    assert_eq!(
        problems.to_string(),
        "error: tollgate.yaml: signers[0].keys: `a.pem` signs RS256 for signer `a` already, \
         and a key is for one algorithm; make another for PS256\n"
    );
}

#[test]
fn the_key_set_shows_public_members_alone() {
    for algorithm in Algorithm::ALL {
        let folder = Folder::with(algorithm);
        let signers =
            built(&format!("algorithm: {algorithm}"), &folder, &JwtLive::default(), start()).unwrap();

        let set: serde_json::Value = serde_json::from_slice(&signers.key_set(start()).body).unwrap();

        let names: Vec<_> = set["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match algorithm {
            Algorithm::Es256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            Algorithm::EdDsa => &["alg", "crv", "kid", "kty", "use", "x"],
            Algorithm::Rs256 | Algorithm::Ps256 => &["alg", "e", "kid", "kty", "n", "use"],
        };
        assert_eq!(names, expected);
    }
}
