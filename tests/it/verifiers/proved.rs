//! `tollgate prove` against each example: nothing gets past it.

use super::{language::Language, upstream::Upstream};
use crate::prove::{BOUND, Fixture, wrong};

pub async fn prove_finds_no_hole(language: Language) {
    for algorithm in ["ES256", "EdDSA", "PS256"] {
        let signer = format!("{BOUND}, algorithm: {algorithm}");
        let fixture = Fixture::with(&signer, &["--algorithm", algorithm]).await;
        let settings = [
            ("ISSUER", "https://gw.test"),
            ("AUDIENCE", "orders"),
            ("ALGORITHMS", algorithm),
            ("REQUIRE_BIND", "method,path,query,body"),
            ("ONCE", "1"),
        ];
        let upstream = Upstream::start(language, &fixture.set, &settings).await;

        let report = fixture.prove(upstream.address, &["--method", "POST", "--body", "hello"]).await.json(0);

        assert_eq!(report["ok"], true, "{algorithm}: {report}");
    }
}

/// The examples look at no `payloadhash`, which their README says: that and nothing else
/// is found.
pub async fn prove_finds_that_the_plugins_body_hash_is_not_looked_at(language: Language) {
    let made = ["--algorithm", "RS256", "--certificate", "gw.test"];
    let fixture = Fixture::with("profile: kong_upstream_jwt, bearer: true", &made).await;
    let settings =
        [("ISSUER", "https://gw.test"), ("AUDIENCE", "orders"), ("ALGORITHMS", "RS256"), ("BEARER", "1")];
    let upstream = Upstream::start(language, &fixture.set, &settings).await;

    let report = fixture.prove(upstream.address, &[]).await.json(1);

    assert_eq!(wrong(&report, "accepted"), ["another-body"], "{report}");
    assert_eq!((&report["refused_wrongly"], &report["failed"]), (&0.into(), &0.into()), "{report}");
}
