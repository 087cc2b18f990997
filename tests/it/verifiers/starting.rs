//! Settings that are wrong.

use super::{language::Language, tokens::ISSUER};
use crate::support::process::Exit;

pub async fn a_setting_that_is_wrong_starts_nothing(language: Language) {
    let wrong = [
        ("JWKS", "", "JWKS is not set"),
        ("ISSUER", "", "ISSUER is not set"),
        ("AUDIENCE", "", "AUDIENCE is not set"),
        ("ALGORITHMS", "", "ALGORITHMS is empty"),
        ("ALGORITHMS", "ES256,none", "ALGORITHMS: `none` is none of"),
        ("ALGORITHMS", "HS256", "ALGORITHMS: `HS256` is none of"),
        ("REQUIRE_BIND", "method,pth", "REQUIRE_BIND: `pth` is none of"),
    ];

    for (name, value, why) in wrong {
        let mut command = (language.command)();
        command.envs([("JWKS", "/nowhere"), ("ISSUER", ISSUER), ("AUDIENCE", "orders")]);
        command.env("LISTEN", "127.0.0.1:0").env(name, value);
        let exit = Exit::of(command).await;

        assert_eq!((exit.code, exit.stdout.as_str()), (Some(1), ""), "{name}={value}");
        assert!(exit.stderr.contains(why), "{name}={value}: {}", exit.stderr);
    }
}
