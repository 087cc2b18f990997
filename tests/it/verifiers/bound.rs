//! Tokens that are for one request.

use boring::sha::sha256;
use tollgate::{config::signer::Algorithm, jwt::Target};

use super::{
    language::Language,
    tokens::{MAKERS, Maker},
    upstream::{Upstream, Verdict},
};
use crate::support::Request;

pub async fn a_bound_token_is_good_for_exactly_its_request(language: Language) {
    let maker = Maker::with(Algorithm::Es256, "bind: [method, path, query, host, body]");
    let all = [("REQUIRE_BIND", "method,path,query,host,body")];
    let upstream = Upstream::start(language, &maker.key_set(), &all).await;
    let token = maker.token(target(Some(b"b=2&a=%31")), Some(sha256(BODY)));
    let good = Request::post("//orders/a%2Fb/?b=2&a=%31", BODY).host("orders.test").header("JWT", &token);

    let but = |change: &dyn Fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let same = [good.clone(), good.clone().chunks(&["{\"or", "der\":7}"])];
    let other = [
        good.clone().method("PUT"),
        good.clone().host("billing.test"),
        good.clone().host("orders.test:80"),
        but(&|request| request.body = Request::post("/", b"{\"order\":8}").body),
        but(&|request| request.body = Request::get("/").body),
        good.clone().chunks(&["{\"order\":7}", " "]),
    ];
    let targets = [
        "/orders/a%2Fb/?b=2&a=%31",
        "//orders/a%2fb/?b=2&a=%31",
        "//orders/a/b/?b=2&a=%31",
        "//orders/a%2Fb?b=2&a=%31",
        "//orders/x/../a%2Fb/?b=2&a=%31",
        "//orders/a%2Fb/?b=2&a=1",
        "//orders/a%2Fb/?a=%31&b=2",
        "//orders/a%2Fb/?b=2&a=%31&",
        "//orders/a%2Fb/?b=2&a=%31?",
        "//orders/a%2Fb/",
        "/",
    ];
    let elsewhere = targets.map(|target| but(&|request| request.target = target.into()));

    for request in same {
        let answer = upstream.ask(&request).await;
        assert!(Verdict::of(answer.clone()).is_good(), "{request:?}: {answer:?}");
    }
    for request in other.into_iter().chain(elsewhere) {
        let answer = upstream.ask(&request).await;
        assert!(!Verdict::of(answer.clone()).is_good(), "{request:?}: {answer:?}");
    }
}

pub async fn a_token_that_is_bound_to_less_than_is_asked_for_is_refused(language: Language) {
    let parts = ["method", "path", "query", "host", "body"];
    for part in parts {
        // A host is bound with its path.
        let others = parts.into_iter().filter(|other| *other != part && (part, *other) != ("path", "host"));
        let less = format!("bind: [{}]", others.collect::<Vec<_>>().join(", "));
        let less = Maker::with(Algorithm::EdDsa, &less);
        let settings = [("ALGORITHMS", "EdDSA"), ("REQUIRE_BIND", part)];
        let upstream = Upstream::start(language, &less.key_set(), &settings).await;
        let token = less.token(target(None), Some(sha256(BODY)));
        let request = Request::post("//orders/a%2Fb/", BODY).host("orders.test").header("JWT", &token);

        let refused = Verdict::of(upstream.ask(&request).await);

        assert!(matches!(&refused, Verdict::Refused(why) if why.contains('`')), "{part}: {refused:?}");
    }
}

pub async fn a_body_that_nobody_knew_is_enough_only_where_nobody_asks_for_it(language: Language) {
    let maker = Maker::with(Algorithm::Es256, "bind: [body], body: { mode: unsigned }");

    for (require, good) in [("", true), ("method", false), ("body", false)] {
        let upstream = Upstream::start(language, &maker.key_set(), &[("REQUIRE_BIND", require)]).await;
        let request = Request::post("/", BODY).header("JWT", &maker.token(target(None), None));

        let verdict = Verdict::of(upstream.ask(&request).await);

        assert_eq!(verdict.is_good(), good, "{require}: {verdict:?}");
    }
}

pub async fn a_body_that_is_too_long_to_be_hashed_is_refused(language: Language) {
    let maker = &MAKERS[0];
    let upstream = Upstream::start(language, &maker.key_set(), &[]).await;
    let (token, most) = (maker.plain(), vec![b'x'; 1 << 20]);

    let fits = upstream.ask(&Request::post("/", &most).header("JWT", &token)).await;
    let longer = upstream.ask(&Request::post("/", [&most[..], b"x"].concat()).header("JWT", &token)).await;
    let chunks = upstream.ask(&Request::get("/").chunks(&[&most[..], b"x"]).header("JWT", &token)).await;

    assert_eq!([fits.status, longer.status, chunks.status], [200, 413, 413]);
}

fn target(query: Option<&[u8]>) -> Target<'_> {
    Target { method: "POST", scheme: "http", host: "orders.test", path: b"//orders/a%2Fb/", query }
}

const BODY: &[u8] = b"{\"order\":7}";
