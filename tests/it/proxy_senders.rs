//! PROXY headers of others' making: real HAProxy and real nginx in front of the
//! gateway, as load balancers of TCP.
//!
//! They have to be installed (`make test` does it); without them these tests fail
//! and say what is missing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, certs, eventually,
    process::Process,
    request::HOST,
    stream::{self, Stream},
};

/// Who asks: another address of the loopback than the sender's own.
const CLIENT: [u8; 4] = [127, 0, 0, 9];

#[tokio::test]
async fn haproxy_tells_the_client_in_both_versions() {
    let starting = Sender::start(haproxy(), |gateway| {
        let (plain, tls) = (gateway.plain, gateway.tls);
        let listen = |name: &str, to, how: &str| {
            format!("listen {name}\n  bind {{{name}}}\n  server gateway {to} {how}\n")
        };
        [
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
                .to_owned(),
            listen("text", plain, "send-proxy"),
            listen("binary", plain, "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl"),
            listen("text_tls", tls, "send-proxy"),
            listen("binary_tls", tls, "send-proxy-v2 proxy-v2-options crc32c"),
        ]
        .concat()
    });
    let sender = starting.await;

    sender.tells_the_client(&["text", "binary"], &["text_tls", "binary_tls"]).await;
}

#[tokio::test]
async fn haproxys_health_checks_are_probes() {
    let starting = Sender::start(haproxy(), |gateway| {
        let (plain, tls) = (gateway.plain, gateway.tls);
        let check = "send-proxy-v2 proxy-v2-options crc32c check check-send-proxy inter 100ms";
        format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout check 5s\nlisten text\n  bind {{text}}\n  server plain {plain} {check}\nlisten binary\n  bind {{binary}}\n  server tls {tls} {check}\n"
        )
    });
    let sender = starting.await;

    for listener in ["plain", "public"] {
        let of = [("listener", listener), ("reason", "probe")];
        let early = "tollgate_connections_ended_early_total";
        eventually(PATIENCE, || async { sender.gateway.metric(early, &of).await >= 3.0 }).await;
    }
    let refused = sender.gateway.metrics().await.refused();
    assert!(refused.keys().all(|reason| reason == "reason probe"), "{refused:?}");
    assert!(!sender.process.stderr().contains("DOWN"), "{}", sender.process.stderr());
}

#[tokio::test]
async fn nginx_tells_the_client() {
    let starting = Sender::start(nginx(), |gateway| {
        let server = |name: &str, to| {
            format!("  server {{ listen {{{name}}}; proxy_pass {to}; proxy_protocol on; }}\n")
        };
        let module = nginx_stream_module();
        let [plain, tls] = [server("text", gateway.plain), server("text_tls", gateway.tls)];
        format!(
            "load_module {};\nerror_log stderr;\npid {{dir}}/nginx.pid;\nevents {{}}\nstream {{\n{plain}{tls}}}\n",
            module.display()
        )
    });
    let sender = starting.await;

    sender.tells_the_client(&["text"], &["text_tls"]).await;
}

/// A gateway that takes headers from the loopback, and who sends them to it.
struct Sender {
    _origin: Origin,
    gateway: Gateway,
    process: Process,
}

impl Sender {
    async fn start(mut command: Command, file: impl Fn(&Gateway) -> String) -> Self {
        let origin = Origin::start().await;
        let certificate = certs::server(&certs::authority(), &[HOST]);
        let mut builder = Gateway::builder().origin("origin", &origin).pair("tls", &certificate);
        for name in ["text", "binary", "text_tls", "binary_tls"] {
            builder = builder.port(name);
        }
        let yaml = r#"
            listeners:
              - name: plain
                address: "{plain}"
                proxy_protocol: { mode: required, trusted: [127.0.0.1/32] }
              - name: public
                address: "{tls}"
                tls: { certificates: [{ chain: tls.pem, key: tls.key }] }
                proxy_protocol: { mode: required, trusted: [127.0.0.1/32] }
            "#;
        let gateway = builder.yaml(yaml).start().await;
        gateway.files.write("sender.conf", &file(&gateway));
        command.arg(gateway.files.path("sender.conf"));
        let process = Process::spawn(command);
        let sender = Self { _origin: origin, gateway, process };
        let listens = || async { stream::connect(sender.gateway.address("text")).await.is_ok() };
        eventually(PATIENCE, || async {
            assert!(sender.process.ended().is_none(), "{}", sender.process.stderr());
            listens().await
        })
        .await;
        sender
    }

    async fn tells_the_client(&self, plain: &[&str], tls: &[&str]) {
        let connect = |name: &str| stream::connect_from(CLIENT, self.gateway.address(name));
        let mut answers = Vec::new();
        for name in plain {
            let mut http = Http1::over(Stream::Plain(connect(name).await));
            // The header stands before the first request alone.
            for _ in 0..3 {
                answers.push(http.send(&Request::get("/")).await);
            }
        }
        for name in tls {
            let secure = Tls::default().shake_hands(connect(name).await).await.unwrap();
            answers.push(Http1::over(secure).send(&Request::post("/", "x".repeat(100_000))).await);
            let secure = Tls::default().alpn(&["h2"]).shake_hands(connect(name).await).await.unwrap();
            let mut http2 = Http2::over(secure).await;
            for _ in 0..3 {
                answers.push(http2.send(&Request::get("/")).await);
            }
        }

        for answer in &answers {
            assert_eq!(answer.echo().lines("x-forwarded-for"), ["127.0.0.9"], "{answer:?}");
            let line = self.gateway.line_of(answer).await;
            assert_eq!(
                (&line["client"], &line["peer"]),
                (&"127.0.0.9".into(), &"127.0.0.1".into()),
                "{line}"
            );
        }
        assert!(answers.len() >= 3 * plain.len() + 4 * tls.len());
        // To see that it listens, a connection was made and dropped.
        let refused = self.gateway.metrics().await.refused();
        assert!(refused.keys().all(|reason| reason == "reason probe"), "{refused:?}");
    }
}

fn haproxy() -> Command {
    let mut command = Command::new(installed(&["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"], "haproxy"));
    command.args(["-db", "-f"]);
    command
}

fn nginx() -> Command {
    let mut command = Command::new(installed(&["/usr/sbin/nginx", "/usr/local/sbin/nginx"], "nginx-light"));
    command.args(["-g", "daemon off; master_process off;", "-e", "stderr", "-c"]);
    command
}

fn nginx_stream_module() -> PathBuf {
    installed(&["/usr/lib/nginx/modules/ngx_stream_module.so"], "libnginx-mod-stream")
}

/// Where it is; panics when it is nowhere, since a test that is left out
/// would look like one that passes.
fn installed(places: &[&str], package: &str) -> PathBuf {
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("write `apt-get install {package}`: `make test` needs it")).to_owned()
}
