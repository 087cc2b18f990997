//! Key sets and thumbprints, calculated by others from the same keys.

use std::{fs, process::Command};

use serde_json::Value;

use super::{
    language::{node, python},
    tokens::{MAKERS, Maker},
};
use crate::support::process::Exit;

#[tokio::test]
async fn cryptography_finds_the_same_key_sets() {
    let script = include_str!("thumbprint.py");
    for maker in &*MAKERS {
        let mut command = python();
        command.args(["-c", script]);
        finds_the_same(command, maker).await;
    }
}

#[tokio::test]
async fn jose_finds_the_same_key_sets() {
    let script = include_str!("thumbprint.js");
    for maker in &*MAKERS {
        let mut command = node();
        command.args(["-e", script]);
        finds_the_same(command, maker).await;
    }
}

/// The command reads a public key, PEM, and says it as a JWK with its thumbprint.
async fn finds_the_same(mut command: Command, maker: &Maker) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, maker.key.public_pem().unwrap()).unwrap();
    command.args([file.path().to_str().unwrap(), maker.key.algorithm().name()]);

    let exit = Exit::of(command).await;

    let theirs: Value = serde_json::from_str(&exit.stdout).unwrap_or_else(|_| panic!("{}", exit.stderr));
    assert_eq!(maker.key_set()["keys"], Value::Array(vec![theirs]));
}
