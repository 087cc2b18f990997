//! A token is for its upstream alone: no client and no log ever sees one.

use super::{only_token, signing};
use crate::support::{Origin, Request, Response};

#[tokio::test]
async fn an_answer_with_the_field_loses_it() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "").start().await;

    let echoed = gateway.send(&Request::get("/").script("header=JWT:abc,trailers=jwt:abc,chunked")).await;

    assert_eq!(echoed.status, 200);
    assert!(!fields(&echoed).contains("abc"), "{echoed:?}");
}

fn fields(answer: &Response) -> String {
    format!("{:?} {:?}", answer.headers, answer.trailers)
}

#[tokio::test]
async fn no_log_has_a_token_at_any_level() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "bind: [path]").env("TOLLGATE_LOG", "trace").start().await;
    let mut signatures = Vec::new();

    for path in ["/", "/a", "/b?q=1"] {
        let answer = gateway.get(path).await;
        let token = only_token(&answer.echo()).to_owned();
        signatures.extend(token.split('.').skip(1).map(str::to_owned));
        let line = gateway.line_of(&answer).await;
        assert_eq!(line["status"], 200);
    }
    let gone = gateway.send(&Request::get("/").script("reset_before_header")).await;
    assert_eq!(gone.status, 502);

    assert!(
        gateway.stderr().contains("Sending header to upstream"),
        "the log says too little to say a token"
    );
    // The echo is a body, and tells the token; bodies are in no log.
    for part in &signatures {
        assert!(!gateway.stderr().contains(&**part) && !gateway.stdout().contains(&**part), "{part}");
    }
    assert!(!gateway.stderr().contains("eyJ"), "the beginning of a token is in the log");
}
