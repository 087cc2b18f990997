//! What is sent, read by types that were made from OpenTelemetry's own `.proto` files.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::recording;
use crate::support::{Origin, Request};

#[tokio::test]
#[ignore = "`make test-otlp` installs what it needs"]
async fn opentelemetry_s_own_types_read_every_message() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    gateway.send(&Request::get("/a%22%5Bb").header("traceparent", traceparent)).await;
    gateway.send(&Request::new("PURGE", "/%zz")).await;
    let spans = collector.request("/a%22%5Bb").await;
    collector.request("/%zz").await;

    let mut read = Vec::new();
    for message in collector.taken() {
        let told = decode(&message.text);
        read.extend(told.lines().map(str::to_owned));
    }

    for span in &spans {
        let line = format!("{} {} {:?} {} {}", span.trace_id, span.id, span.parent, span.kind, span.name);
        assert!(read.contains(&line.replace('"', "")), "{line}: {read:?}");
    }
    assert_eq!(read.len(), collector.spans().len());
}

fn decode(message: &str) -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let mut decoder = Command::new(format!("{folder}/target/otlp/bin/python"))
        .arg(format!("{folder}/tests/it/tracing/decode.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run `make test-otlp`");
    decoder.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = decoder.wait_with_output().unwrap();
    assert!(output.status.success(), "{message}");
    String::from_utf8(output.stdout).unwrap()
}
