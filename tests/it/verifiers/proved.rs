//! `tollgate prove` against each example: nothing gets past it.

use super::{language::Language, upstream::Upstream};
use crate::prove::{BOUND, Fixture};

pub async fn prove_finds_no_hole(language: Language) {
    let fixture = Fixture::new(BOUND).await;
    let settings = [
        ("ISSUER", "https://gw.test"),
        ("AUDIENCE", "orders"),
        ("REQUIRE_BIND", "method,path,query,body"),
        ("ONCE", "1"),
    ];
    let upstream = Upstream::start(language, &fixture.set, &settings).await;

    let report = fixture.prove(upstream.address, &[]).await.json(0);
    let with_body = fixture.prove(upstream.address, &["--method", "POST", "--body", "hello"]).await.json(0);

    assert_eq!((&report["ok"], &with_body["ok"]), (&true.into(), &true.into()), "{report} {with_body}");
}
