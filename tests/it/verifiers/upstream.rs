//! An example at work, and asking it.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    language::Language,
    tokens::{AUDIENCE, ISSUER},
};
use crate::support::{Http1, PATIENCE, Request, Response, eventually, process::Process};

/// A running example.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    folder: TempDir,
}

impl Upstream {
    /// With a key set in a file and these settings.
    pub async fn start(language: Language, key_set: &Value, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        fs::write(&file, key_set.to_string()).unwrap();
        let mut command = (language.command)();
        command.envs([
            ("JWKS", file.to_str().unwrap()),
            ("ISSUER", ISSUER),
            ("AUDIENCE", AUDIENCE),
            ("LISTEN", "127.0.0.1:0"),
        ]);
        command.envs(settings.iter().copied());
        let process = Process::spawn(command);
        let address = eventually(PATIENCE, || async {
            assert!(process.ended().is_none(), "{}", process.stderr());
            process.stdout().lines().next()?.strip_prefix("listening on ")?.parse().ok()
        });
        Self { address: address.await, process, folder }
    }

    /// The answer to a request, on a connection of its own.
    pub async fn ask(&self, request: &Request) -> Response {
        Http1::open(self.address).await.send(&request.clone().honest()).await
    }

    /// What it says of `GET /` with this in `JWT`.
    pub async fn verdict(&self, token: &str) -> Verdict {
        Verdict::of(self.ask(&Request::get("/").host("orders.test").header("JWT", token)).await)
    }

    /// Another key set; `None` takes it away.
    pub fn publish(&self, key_set: Option<&Value>) {
        match key_set {
            // As a whole: it may be read at any time.
            Some(set) => {
                fs::write(self.file("new.json"), set.to_string()).unwrap();
                fs::rename(self.file("new.json"), self.file("jwks.json")).unwrap();
            }
            None => fs::remove_file(self.file("jwks.json")).unwrap(),
        }
    }

    /// What it wrote to standard error.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What an example says of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// 200, with the claims.
    Good(Value),
    /// 401, and why.
    Refused(String),
}

impl Verdict {
    /// Panics for an answer that is neither.
    pub fn of(answer: Response) -> Self {
        let media = answer.header("content-type");
        match answer.status {
            200 => {
                assert_eq!(media, Some("application/json"), "{answer:?}");
                Self::Good(answer.json())
            }
            401 => {
                assert_eq!(media, Some("application/problem+json"), "{answer:?}");
                // RFC 9110 wants it with 401.
                assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
                assert_eq!(answer.json()["status"], 401, "{answer:?}");
                Self::Refused(answer.json()["detail"].as_str().unwrap().to_owned())
            }
            _ => panic!("neither 200 nor 401: {answer:?}"),
        }
    }

    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }
}
