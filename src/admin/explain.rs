//! `POST /explain`: what the snapshot that serves would do with a request.
//!
//! Owns reading the question, within bounds of size and time, and telling what is
//! wrong with it. What is answered is `gateway::explain`'s.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;

use super::{operator::json, pages::text};
use crate::{
    gateway::explain::{Question, explain},
    snapshot::Snapshot,
};

/// Answers a question that is the request's body.
pub(super) async fn answer(now: Arc<Snapshot>, session: &mut ServerSession) -> Response<Vec<u8>> {
    let reading = tokio::time::timeout(PATIENCE, read(session)).await;
    let Ok(Some(body)) = reading else {
        session.set_keepalive(None);
        return text(session, StatusCode::BAD_REQUEST, TOO_MUCH);
    };
    let question: Question = match serde_json::from_slice(&body) {
        Ok(question) => question,
        Err(why) => {
            let told = format!("{why}; write JSON as {EXAMPLE}\n");
            return text(session, StatusCode::BAD_REQUEST, &told);
        }
    };
    // Many routes take a while, and this thread has connections to serve.
    let answered = tokio::task::spawn_blocking(move || explain(&now, &question, Instant::now())).await;
    match answered {
        Ok(Ok(told)) => json(session, StatusCode::OK, &told),
        Ok(Err(why)) => text(session, StatusCode::BAD_REQUEST, &format!("{why}\n")),
        Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, "it broke; see the log\n"),
    }
}

/// The whole body; `None` when it is too large or does not come.
async fn read(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await.ok()? {
        body.extend_from_slice(&piece);
        if body.len() > MOST {
            return None;
        }
    }
    Some(body)
}

/// A few times the largest header that a gateway takes by default.
const MOST: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const TOO_MUCH: &str = "the question is larger than 256 KiB or did not come within 10 s\n";
const EXAMPLE: &str =
    r#"{"host":"api.example.com","path":"/orders","method":"POST","headers":[["X-Canary","1"]]}"#;
