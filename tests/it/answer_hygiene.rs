//! What a client gets of an origin's connection: nothing.

use crate::support::{Gateway, Origin, Request, Tls, certs, request::HOST};

#[tokio::test]
async fn an_origins_connection_is_not_the_clients() {
    let (_origin, gateway) = with_tls().await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    for hop in [
        "keep-alive:timeout=5",
        "proxy-connection:close",
        "connection:x-hop",
        "connection:close\\, X-Hop",
        "upgrade:h2c",
        "te:gzip",
        "http2-settings:AAMAAABkAAQAAP__",
    ] {
        let script = format!("header={hop},header=x-hop:1,header=x-request-id:forged,body=ok");
        let request = Request::get("/").script(&script);

        for answer in [gateway.send(&request).await, client.send(&request).await] {
            for name in ["keep-alive", "proxy-connection", "upgrade", "te", "http2-settings"] {
                assert_eq!(answer.lines(name), Vec::<&str>::new(), "{hop}: {answer:?}");
            }
            assert_eq!(
                answer.lines("x-hop").len(),
                usize::from(!hop.starts_with("connection")),
                "{hop}: {answer:?}"
            );
            assert!(
                !answer.closed && !answer.lines("connection").concat().contains("op"),
                "{hop}: {answer:?}"
            );
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            let line = gateway.line_of(&answer).await;
            assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"));
            assert_ne!(line["request_id"], "forged");
        }
    }
}

#[tokio::test]
async fn an_answer_in_a_coding_that_has_no_end_is_a_502() {
    let (_origin, gateway) = with_tls().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: ";
    for rest in ["gzip\r\n\r\nok", "gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "identity\r\n\r\nok"] {
        let raw = boring::base64::encode_block(format!("{head}{rest}").as_bytes());
        let request = Request::post("/", "").script(&format!("raw={raw}"));

        let one = gateway.send(&request).await;
        let two = gateway.connect_http2(&Tls::default()).await.unwrap().send(&request).await;

        for answer in [one, two] {
            assert_eq!((answer.status, answer.flag().as_str()), (502, "upstream_protocol"), "{rest:?}");
        }
    }
}

async fn with_tls() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let gateway = Gateway::builder().origin("origin", &origin).certificate(&certificate).start().await;
    (origin, gateway)
}
