//! `tollgate jwt`: tokens, looked at as a careful upstream would.

mod binding;
mod moment;
mod show;
mod verify;

use std::{io, process::ExitCode};

pub use show::part;

/// Looks at tokens.
#[derive(Debug, clap::Args)]
pub struct Jwt {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say whether a token is good, and in words what is wrong.
    ///
    /// Looks at the signature, the times, and as far as asked for at issuer, audience
    /// and the request that the token is bound to. Prints header and claims also of
    /// a bad token, then marked: nobody vouches for them. Exits 0 for a good token,
    /// 1 for a bad one.
    #[command(after_help = VERIFY)]
    Verify(verify::Verify),
}

impl Jwt {
    /// Exits as each verb says.
    pub fn run(&self) -> io::Result<ExitCode> {
        match &self.verb {
            Verb::Verify(verify) => verify.run(),
        }
    }
}

const VERIFY: &str = "\
Examples:
  tollgate keys export /etc/tollgate/jwt --jwks > jwks.json
  tollgate jwt verify - --jwks jwks.json --issuer https://gateway.example.com < token
  tollgate jwt verify - --jwks http://127.0.0.1:9100/jwks.json --method GET --path /orders/7 < token";
