//! A token is for its upstream alone: no client and no log ever sees one.

use super::{TWO_PROTOCOLS, only_token, signing};
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
    let everything = "trace,pingora_proxy=trace,pingora_core=trace,h2=trace";
    let gateway = signing(&origin, "bind: [path]")
        .yaml_more(TWO_PROTOCOLS)
        .env("TOLLGATE_LOG", everything)
        .start()
        .await;

    for path in ["/one", "/two"] {
        // The echo would tell it, and Pingora's log an answer's body.
        for script in ["body=ok", "status=503,body=no", "reset_before_header"] {
            let answer = gateway.send(&Request::get(path).script(script)).await;
            gateway.line_of(&answer).await;
        }
    }

    let (stderr, stdout) = (gateway.stderr(), gateway.stdout());
    assert!(stderr.contains("\"jwt\": Sensitive"), "the log says too little to say a token");
    // So every token begins: `{"` in base64.
    assert!(!stderr.contains("eyJ") && !stdout.contains("eyJ"));
}

#[tokio::test]
async fn the_usual_logs_have_none_though_an_answer_tells_it() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "bind: [path]").start().await;

    let answer = gateway.get("/").await;

    let token = only_token(&answer.echo()).to_owned();
    let line = gateway.line_of(&answer).await;
    assert_eq!((&line["status"], &line["signer"]), (&200.into(), &"default".into()));
    for part in token.split('.') {
        assert!(!gateway.stderr().contains(part) && !gateway.stdout().contains(part), "{part}");
    }
}
