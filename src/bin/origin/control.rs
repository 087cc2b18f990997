//! The paths under `/__origin/`: how tests ask and steer an origin.
//!
//! Owns what they answer. None goes through a script, and none but `fast` counts
//! as a request, so that tests count only what they sent.

use std::sync::{Arc, atomic::Ordering};

use http::StatusCode;
use serde_json::json;

use crate::{answer::Answer, origin::Origin, request::Request, script::Script};

/// The answer of a control path; `None` when the path is not one.
pub fn answer(origin: &Origin, request: &Request) -> Option<Answer> {
    let name = request.path().strip_prefix("/__origin/")?;
    Some(match (request.method.as_str(), name) {
        ("GET" | "HEAD", "fast") => fast(origin),
        ("GET" | "HEAD", "health") => health(origin),
        ("POST", "health") => set_health(origin, request.query("state").as_deref()),
        ("GET", "stats") => stats(origin),
        ("GET", "log") => Answer::new(StatusCode::OK, "application/jsonl", origin.log_lines()),
        ("POST", "script") => set_script(origin, request.query("set").as_deref()),
        (_, "fast" | "health" | "stats" | "log" | "script") => {
            Answer::text(StatusCode::METHOD_NOT_ALLOWED, "see origin --help")
        }
        _ => Answer::text(StatusCode::NOT_FOUND, "no such control path; see origin --help"),
    })
}

fn fast(origin: &Origin) -> Answer {
    origin.counters.requests.fetch_add(1, Ordering::Relaxed);
    Answer::new(StatusCode::OK, "application/json", FAST_BODY)
}

fn health(origin: &Origin) -> Answer {
    origin.counters.health_checks.fetch_add(1, Ordering::Relaxed);
    if origin.healthy.load(Ordering::Relaxed) {
        Answer::text(StatusCode::OK, "up")
    } else {
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, "down")
    }
}

fn set_health(origin: &Origin, state: Option<&str>) -> Answer {
    let healthy = match state {
        Some("up") => true,
        Some("down") => false,
        _ => return Answer::text(StatusCode::BAD_REQUEST, "write state=up or state=down"),
    };
    origin.healthy.store(healthy, Ordering::Relaxed);
    Answer::text(StatusCode::OK, state.unwrap_or_default())
}

fn stats(origin: &Origin) -> Answer {
    let counters = &origin.counters;
    let stats = json!({
        "requests": counters.requests.load(Ordering::Relaxed),
        "connections": counters.connections.load(Ordering::Relaxed),
        "open_connections": counters.open_connections.load(Ordering::Relaxed),
        "bytes_in": counters.bytes_in.load(Ordering::Relaxed),
        "health_checks": counters.health_checks.load(Ordering::Relaxed),
    });
    Answer::new(StatusCode::OK, "application/json", stats.to_string())
}

fn set_script(origin: &Origin, text: Option<&str>) -> Answer {
    let Some(text) = text else {
        return Answer::text(StatusCode::BAD_REQUEST, "write set=, then the script, percent-encoded");
    };
    match text.parse::<Script>() {
        Ok(script) => {
            origin.default_script.store(Arc::new(script));
            Answer::text(StatusCode::OK, text)
        }
        Err(problem) => Answer::text(StatusCode::BAD_REQUEST, problem.to_string()),
    }
}

/// The body of `/__origin/fast`: 121 bytes, as long as a small API answer.
pub const FAST_BODY: &str = r#"{"origin":"fast","message":"a fixed answer for load tests, as long as a small answer of an API","order":7,"status":"ok"}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(origin: &Origin, method: &str, target: &str) -> Option<StatusCode> {
        let request = Request { method: method.into(), target: target.into(), ..Request::default() };
        answer(origin, &request).map(|answer| answer.status)
    }

    fn origin() -> Origin {
        Origin::new(String::new(), String::new(), Script::default(), false)
    }

    #[test]
    fn the_fast_body_is_121_bytes_of_json() {
        assert_eq!(FAST_BODY.len(), 121);
        assert!(serde_json::from_str::<serde_json::Value>(FAST_BODY).is_ok());
    }

    #[test]
    fn health_follows_what_was_set() {
        let origin = origin();

        assert_eq!(ask(&origin, "GET", "/__origin/health"), Some(StatusCode::OK));
        assert_eq!(ask(&origin, "POST", "/__origin/health?state=down"), Some(StatusCode::OK));
        assert_eq!(ask(&origin, "GET", "/__origin/health"), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(ask(&origin, "POST", "/__origin/health?state=dwon"), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_bad_default_script_is_refused_and_the_old_one_kept() {
        let origin = origin();

        assert_eq!(ask(&origin, "POST", "/__origin/script?set=status%3D503"), Some(StatusCode::OK));
        assert_eq!(ask(&origin, "POST", "/__origin/script?set=nonsense"), Some(StatusCode::BAD_REQUEST));

        assert_eq!(origin.default_script.load().status, Some(503));
        assert_eq!(ask(&origin, "POST", "/__origin/script?set="), Some(StatusCode::OK));
        assert_eq!(origin.default_script.load().status, None);
    }

    #[test]
    fn other_paths_are_not_control_paths() {
        assert_eq!(ask(&origin(), "GET", "/orders"), None);
        assert_eq!(ask(&origin(), "GET", "/__origin/nothing"), Some(StatusCode::NOT_FOUND));
        assert_eq!(ask(&origin(), "GET", "/__origin/script"), Some(StatusCode::METHOD_NOT_ALLOWED));
    }
}
