//! `POST /reload`, `POST /confirm` and `POST /rollback`: what the operator's socket says
//! of configurations that change.
//!
//! Owns the spelling of the questions; the answers are `lifecycle`'s. They can take a
//! while: nothing of it runs on the socket's thread.

use std::time::Duration;

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::{
    operator::{Operator, json},
    pages::text,
};
use crate::lifecycle::{Refused, Reloader};

/// Which kind of reload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Wish {
    dry_run: bool,
    confirm: Option<Duration>,
}

impl Operator {
    pub(super) async fn reload(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(wish) = wish(session.req_header().uri.query().unwrap_or_default()) else {
            return text(session, StatusCode::BAD_REQUEST, "write dry_run or confirm_seconds=N\n");
        };
        let reloader = self.reloader.clone();
        let reload = move || match wish {
            Wish { dry_run: true, .. } => reloader.dry_run(),
            Wish { confirm: Some(window), .. } => reloader.reload_until(window),
            Wish { confirm: None, .. } => reloader.reload(),
        };
        let done = tokio::task::spawn_blocking(reload).await;
        told(session, done)
    }

    pub(super) async fn rollback(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let reloader = self.reloader.clone();
        let done = tokio::task::spawn_blocking(move || Reloader::rollback(&reloader)).await;
        told(session, done)
    }

    pub(super) fn confirm(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let confirmed = self.reloader.confirm();
        told(session, Ok(confirmed.map(|generation| serde_json::json!({ "generation": generation }))))
    }
}

fn told<T: Serialize>(
    session: &mut ServerSession,
    done: Result<Result<T, Refused>, tokio::task::JoinError>,
) -> Response<Vec<u8>> {
    match done {
        Ok(Ok(done)) => json(session, StatusCode::OK, &done),
        Ok(Err(Refused::Problems(problems))) => {
            let list: Vec<_> = problems.iter().collect();
            json(session, StatusCode::UNPROCESSABLE_ENTITY, &serde_json::json!({ "problems": list }))
        }
        Ok(Err(why @ Refused::NoTimer(_))) => {
            text(session, StatusCode::INTERNAL_SERVER_ERROR, &why.to_string())
        }
        Ok(Err(why)) => text(session, StatusCode::CONFLICT, &why.to_string()),
        Err(_) => text(session, StatusCode::INTERNAL_SERVER_ERROR, "the reload broke; see the log\n"),
    }
}

/// Nothing, `dry_run` or `confirm_seconds=N`, of at least 1.
fn wish(query: &str) -> Option<Wish> {
    match query.split_once('=') {
        None if query.is_empty() => Some(Wish::default()),
        None if query == "dry_run" => Some(Wish { dry_run: true, confirm: None }),
        Some(("confirm_seconds", seconds)) => {
            let seconds = seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
            Some(Wish { dry_run: false, confirm: Some(Duration::from_secs(seconds.into())) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_one_of_three_and_nothing_else() {
        let confirm = Some(Duration::from_secs(120));

        assert_eq!(wish(""), Some(Wish::default()));
        assert_eq!(wish("dry_run"), Some(Wish { dry_run: true, confirm: None }));
        assert_eq!(wish("confirm_seconds=120"), Some(Wish { dry_run: false, confirm }));
        for bad in [
            "dry_run=1",
            "dryrun",
            "confirm_seconds=0",
            "confirm_seconds=-1",
            "confirm_seconds",
            "confirm_seconds=4294967296",
            "dry_run&confirm_seconds=1",
        ] {
            assert_eq!(wish(bad), None, "{bad}");
        }
    }
}
