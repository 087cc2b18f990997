//! `tollgate keys`: the keys that signers sign with, as files and at work.
//!
//! Owns what people do with key files. Which files are keys is [`crate::jwt`]'s to
//! say, and so is which key signs. Always holds: no private key is ever printed.

mod certificate;
mod export;
mod folder;
mod generate;
mod list;
mod status;

use std::{io, process::ExitCode};

/// Makes, lists and exports signing keys, and says what each does.
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key: a file of its own, mode 0600, in PKCS#8.
    ///
    /// It appears whole and under no name that is taken, so that a gateway that
    /// reads the folder in between is not disturbed.
    ///
    /// To rotate: make one key, put that file into every gateway's folder, and
    /// `tollgate reload` there. It is published at once, and signs when `publish_for`
    /// has passed or every verifier has fetched it. Once `tollgate keys status` says
    /// that it signs everywhere, take the old file away, and reload again.
    #[command(after_help = GENERATE)]
    Generate(generate::Generate),
    /// List the keys of a folder, or of every signer of a configuration.
    ///
    /// File, algorithm, name (`kid`) and what is wrong with each in words. Exits 1
    /// when anything is: a gateway takes such a folder as little.
    List(list::List),
    /// Print public keys: as a key set, as PEM, or with their certificates.
    ///
    /// For verifiers that cannot fetch the key set from a gateway, and for
    /// `tollgate jwt verify`. All or nothing: a file that is no key is exit 1.
    #[command(group = clap::ArgGroup::new("form").required(true))]
    Export(export::Export),
    /// Say what each key of the running gateway does, and who waits for what.
    ///
    /// Whether it signs, rests, or is published and waits: for how long still, and
    /// for which verifiers that did not fetch the key set yet. Of keys whose files
    /// are gone: until when they stay published.
    Status(status::Status),
}

impl Keys {
    /// Exits as each verb says.
    pub fn run(&self) -> io::Result<ExitCode> {
        match &self.verb {
            Verb::Generate(generate) => generate.run(),
            Verb::List(list) => list.run(),
            Verb::Export(export) => export.run(),
            Verb::Status(status) => status.run(),
        }
    }
}

const GENERATE: &str = "\
Examples:
  tollgate keys generate --out /etc/tollgate/jwt
  tollgate keys generate --out /etc/tollgate/jwt --algorithm RS256 --name 2027-spring
  tollgate keys generate --out /etc/tollgate/kong --algorithm RS256 --certificate gateway.example.com
                                            for a signer with profile kong_upstream_jwt";
