//! `POST /upgrade`.

use std::time::Duration;

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;

use super::{Operator, operator::json, pages::text};
use crate::lifecycle::{UPGRADES, UpgradeFailed};

impl Operator {
    /// Answers when the new process serves, or why it does not.
    pub(super) async fn upgrade(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(patience) = patience(session.req_header().uri.query().unwrap_or_default()) else {
            return text(session, StatusCode::BAD_REQUEST, "write timeout_seconds=N, from 1 to 3600\n");
        };
        let upgrader = self.upgrader.clone();
        match tokio::task::spawn_blocking(move || upgrader.upgrade(patience)).await {
            Ok(Ok(done)) => json(session, StatusCode::OK, &done),
            Ok(Err(why)) if why.word() == UpgradeFailed::NOT_NOW => {
                text(session, StatusCode::CONFLICT, &format!("{why}\n"))
            }
            Ok(Err(why)) => text(session, StatusCode::UNPROCESSABLE_ENTITY, &format!("{why}\n")),
            Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, "the upgrade broke; see the log\n"),
        }
    }
}

/// `timeout_seconds=N`, or nothing.
fn patience(query: &str) -> Option<Duration> {
    if query.is_empty() {
        return Some(UPGRADES);
    }
    let seconds: u64 = query.strip_prefix("timeout_seconds=")?.parse().ok()?;
    (1..=3_600).contains(&seconds).then(|| Duration::from_secs(seconds))
}
