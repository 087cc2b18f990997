//! Tokens that count once.

use tollgate::{config::signer::Algorithm, jwt::Target};

use super::{
    language::Language,
    tokens::{Maker, claims},
    upstream::{Upstream, Verdict},
};
use crate::support::Request;

pub async fn a_token_counts_once_where_that_is_asked_for(language: Language) {
    let maker = Maker::with(Algorithm::Es256, "bind: [method]");
    let upstream = Upstream::start(language, &maker.key_set(), &[("ONCE", "1")]).await;
    let target = Target { method: "GET", scheme: "http", host: "orders.test", path: b"/", query: None };
    let token = || maker.token(target, None);
    let (first, second) = (token(), token());

    // One that is refused for something else is not used up.
    let other = Request::new("DELETE", "/").header("JWT", &first);
    assert!(!Verdict::of(upstream.ask(&other).await).is_good());
    assert!(upstream.verdict(&first).await.is_good());
    for _ in 0..3 {
        assert!(!upstream.verdict(&first).await.is_good());
    }
    assert!(upstream.verdict(&second).await.is_good());
    let mut unnamed = claims();
    unnamed.as_object_mut().unwrap().remove("jti");
    assert!(!upstream.verdict(&maker.forged(&maker.header(), &unnamed)).await.is_good());
}
