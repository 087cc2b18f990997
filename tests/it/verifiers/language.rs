//! The languages: how each one's example is started.

use std::{path::Path, process::Command, sync::LazyLock};

/// A language's example.
#[derive(Clone, Copy)]
pub struct Language {
    /// The command that runs it; panics with what is missing.
    pub command: fn() -> Command,
}

pub const PYTHON: Language = Language {
    command: || {
        let mut python = python();
        python.arg(source("python/server.py"));
        python
    },
};

pub const NODE: Language = Language {
    command: || {
        let mut node = node();
        node.arg(source("node/server.js"));
        node
    },
};

pub const GO: Language = Language {
    command: || {
        static BUILT: LazyLock<String> = LazyLock::new(|| {
            let binary = target("verify-go");
            let mut go = Command::new("go");
            go.args(["build", "-o", &binary, "."]).current_dir(source("go")).env("GOPROXY", "off");
            runs(go, "golang-go");
            binary
        });
        Command::new(&*BUILT)
    },
};

pub const RUST: Language = Language {
    command: || {
        static BUILT: LazyLock<String> = LazyLock::new(|| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--locked", "--manifest-path", &source("rust/Cargo.toml")]);
            cargo.args(["--target-dir", &target("verify-rust")]);
            runs(cargo, "(nothing: cargo is there)");
            target("verify-rust/debug/verify")
        });
        Command::new(&*BUILT)
    },
};

/// The system's Python: to it belong the packages that are installed.
pub fn python() -> Command {
    static THERE: LazyLock<()> = LazyLock::new(|| {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", "import jwt, cryptography"]);
        runs(python, "python3-jwt python3-cryptography");
    });
    LazyLock::force(&THERE);
    let mut python = Command::new("/usr/bin/python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// Node, which finds the system's packages also if it is not the system's itself.
pub fn node() -> Command {
    static THERE: LazyLock<()> = LazyLock::new(|| {
        let mut node = Command::new("node");
        node.args(["-e", "require('jose')"]).env("NODE_PATH", NODE_PATH);
        runs(node, "nodejs node-jose");
    });
    LazyLock::force(&THERE);
    let mut node = Command::new("node");
    node.env("NODE_PATH", NODE_PATH);
    node
}

/// Runs it to its end; panics when that is a bad one, since a test that is left out
/// would look like one that passes.
fn runs(mut command: Command, packages: &str) {
    let output = command.output();
    let failed = match &output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(why) => why.to_string(),
    };
    panic!("write `apt-get install {packages}`: these tests need it; {command:?}: {failed}");
}

fn source(path: &str) -> String {
    format!("{}/conf/examples/verify/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn target(name: &str) -> String {
    // Beside what is built for tests: `target/tmp`.
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display().to_string()
}

const NODE_PATH: &str = "/usr/share/nodejs";
