//! The field that carries the token.

use super::{
    language::Language,
    tokens::MAKERS,
    upstream::{Upstream, Verdict},
};
use crate::support::Request;

pub async fn exactly_one_field_carries_the_token(language: Language) {
    let maker = &MAKERS[0];
    let upstream = Upstream::start(language, &maker.key_set(), &[]).await;
    let (token, get) = (maker.plain(), || Request::get("/"));

    let good = [get().header("JWT", &token), get().header("jwt", &token)];
    let refused = [
        get(),
        get().header("JWT", &token).header("JWT", &token),
        get().header("JWT", &token).header("jwt", &token),
        get().header("JWT", &token).header("JWT", ""),
        get().header("JWT", "x").header("JWT", &token),
        get().header("JWT", &format!("{token}, {token}")),
        get().header("Authorization", &format!("Bearer {token}")),
        get().header("X-JWT", &token),
    ];

    for request in good {
        assert!(Verdict::of(upstream.ask(&request).await).is_good(), "{request:?}");
    }
    for request in refused {
        assert!(!Verdict::of(upstream.ask(&request).await).is_good(), "{request:?}");
    }
}

pub async fn a_bearer_token_needs_its_word(language: Language) {
    let maker = &MAKERS[0];
    let settings = [("HEADER", "Authorization"), ("BEARER", "1")];
    let upstream = Upstream::start(language, &maker.key_set(), &settings).await;
    let (token, get) = (maker.plain(), || Request::get("/"));
    let bearer = format!("Bearer {token}");

    let good = get().header("Authorization", &bearer);
    let refused = [
        get().header("Authorization", &token),
        // As long as the word that it should be.
        get().header("Authorization", &format!("Digest {token}")),
        get().header("Authorization", &format!("Bearer Bearer {token}")),
        // Node keeps only the first of two, where it is asked for one.
        get().header("Authorization", &bearer).header("Authorization", &bearer),
        get().header("Authorization", &bearer).header("authorization", "Basic eDp5"),
        get().header("JWT", &token),
    ];

    assert!(Verdict::of(upstream.ask(&good).await).is_good());
    for request in refused {
        assert!(!Verdict::of(upstream.ask(&request).await).is_good(), "{request:?}");
    }
}
