//! `tollgate prove` against each example: nothing gets past it.

use super::{language::Language, upstream::Upstream};
use crate::prove::{BOUND, Fixture};

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

pub async fn prove_finds_no_hole_with_the_plugins_claims(language: Language) {
    let made = ["--algorithm", "RS256", "--certificate", "gw.test"];
    let fixture = Fixture::with("profile: kong_upstream_jwt, bearer: true", &made).await;
    let settings = [
        ("ISSUER", "https://gw.test"),
        ("AUDIENCE", "orders"),
        ("ALGORITHMS", "RS256"),
        ("BEARER", "1"),
        ("REQUIRE_BIND", "body"),
    ];
    let upstream = Upstream::start(language, &fixture.set, &settings).await;

    for body in [&[][..], &["--method", "POST", "--body", "hello"]] {
        let report = fixture.prove(upstream.address, body).await.json(0);

        assert_eq!(report["ok"], true, "{report}");
        let rows = report["probes"].as_array().unwrap();
        let refused = rows.iter().filter(|row| row["expected"] == "refused").map(|row| &row["probe"]);
        let refused: Vec<_> = refused.collect();
        assert!(
            ["another-body", "not-bound"].iter().all(|probe| refused.contains(&&(*probe).into())),
            "{report}"
        );
    }
}
