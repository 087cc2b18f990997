//! More than anybody needs: of bytes, frames and connections. Whoever sends it
//! may be cut off; everybody else is served as before, in the same memory.

use std::time::Duration;

use crate::support::{
    Frames, Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, certs, eventually,
    frames::{self, HEADERS, Outcome, PING, RST_STREAM, SETTINGS, get},
    request::HOST,
    within,
};

#[tokio::test]
async fn a_header_that_never_ends_is_answered_and_fills_nothing() {
    let (origin, gateway) = start().await;
    let endless = [
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}", "a".repeat(2 << 20)),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}", "X: a\r\n".repeat(300_000)),
        format!("GET /{}", "a".repeat(2 << 20)),
        "A".repeat(2 << 20),
        "\r\n".repeat(1 << 20),
    ];

    let round = || async {
        for (sent, status) in endless.iter().zip([431, 431, 414, 400, 400]) {
            let answer = gateway.connect().await.send_raw(sent).await;

            assert_eq!((answer.status, answer.closed), (status, true), "{sent:.60}");
        }
    };
    // The first fill what every gateway fills once.
    for _ in 0..4 {
        round().await;
    }
    let before = gateway.rss_kib();
    for _ in 0..30 {
        round().await;
    }

    assert!(gateway.rss_kib() < before + 16 * 1024, "{before} KiB became {}", gateway.rss_kib());
    assert_eq!(origin.requests().await, 0);
    assert_served(&gateway).await;
}

#[tokio::test]
async fn a_flood_of_frames_hurts_nobody_else() {
    let (_origin, gateway) = start().await;
    let mut other = gateway.connect_http2(&Tls::default()).await.unwrap();
    other.send(&Request::get("/before")).await;
    let before = gateway.rss_kib();
    let request = frames::headers(1, &frames::block(&get("/flood")), false);
    let stall = frames::block(&[("x-origin", "never_answers")]);
    let post = frames::headers(1, &[frames::block(&get("/flood")), stall].concat(), false);
    let many = |first: &[u8], frame: Vec<u8>| [first, &frame.repeat(20_000)].concat();
    let window = 1u32.to_be_bytes();
    let floods = [
        ("ping", many(b"", frames::frame(PING, 0, 0, &[7; 8]))),
        ("settings", many(b"", frames::frame(SETTINGS, 0, 0, &[]))),
        ("window update", many(b"", frames::frame(8, 0, 0, &window))),
        ("priority", many(b"", frames::frame(2, 0, 1, &[0, 0, 0, 3, 1]))),
        ("unknown frame", many(b"", frames::frame(0xfa, 0, 0, &[0; 64]))),
        ("empty data", many(&post, frames::frame(0, 0, 1, &[]))),
        (
            "empty continuation",
            many(&frames::frame(HEADERS, 0, 1, &frames::block(&get("/"))), frames::frame(9, 0, 1, &[])),
        ),
        (
            "reset of a stream that is over",
            many(&request, frames::frame(RST_STREAM, 0, 1, &8u32.to_be_bytes())),
        ),
        (
            "window update that is too large",
            many(&request, frames::frame(8, 0, 1, &0x7fff_ffff_u32.to_be_bytes())),
        ),
    ];

    for (what, flood) in floods {
        let mut attacker = Frames::open(&gateway).await;
        // It may be cut off in the middle, and reads no answer meanwhile.
        let writing = async { drop(attacker.write(&flood).await) };
        let beside = async {
            for _ in 0..5 {
                assert_eq!(other.send(&Request::get("/beside")).await.status, 200, "beside {what}");
            }
        };
        tokio::join!(tokio::time::timeout(Duration::from_secs(10), writing), beside).0.ok();

        assert_served(&gateway).await;
        let now = gateway.rss_kib();
        assert!(now < before + 16 * 1024, "{what}: {before} KiB became {now}");
    }
    let open = || async { gateway.metric("tollgate_connections_open", &[]).await };
    eventually(PATIENCE, || async { open().await == 1.0 }).await;
}

#[tokio::test]
async fn frames_that_ask_for_nothing_end_their_connection_and_are_counted() {
    let (origin, gateway) = start().await;
    let mut other = gateway.connect_http2(&Tls::default()).await.unwrap();
    let stall = [frames::block(&get("/flood")), frames::block(&[("x-origin", "never_answers")])].concat();
    let post = frames::headers(1, &stall, false);
    let slowly = frames::block(&get("/reset"));
    let reset = |nth: u32| frames::frame(RST_STREAM, 0, 2 * nth + 1, &8u32.to_be_bytes());
    let floods = [
        ("ping", frames::frame(PING, 0, 0, &[7; 8]).repeat(2_000)),
        ("answer to no ping", frames::frame(PING, frames::ACK, 0, &[7; 8]).repeat(2_000)),
        ("settings", frames::frame(SETTINGS, 0, 0, &[]).repeat(500)),
        ("priority", frames::frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(2_000)),
        ("unknown frame", frames::frame(0xfa, 0, 0, &[0; 64]).repeat(2_000)),
        ("window update", frames::frame(8, 0, 0, &1u32.to_be_bytes()).repeat(20_000)),
    ];

    for (what, flood) in &floods {
        let mut attacker = Frames::open(&gateway).await;
        let _ = tokio::time::timeout(PATIENCE, attacker.write(flood)).await;
        let outcome = attacker.outcome(u32::MAX).await;

        assert!(matches!(outcome, Outcome::Closed | Outcome::GoAway(_)), "{what}: {outcome:?}");
        assert_eq!(other.send(&Request::get("/beside")).await.status, 200, "beside {what}");
    }
    let reason = [("reason", "frame_flood")];
    let ended = || async { gateway.metric("tollgate_connections_ended_early_total", &reason).await };
    eventually(PATIENCE, || async { ended().await >= floods.len() as f64 }).await;
    assert_eq!(ended().await, floods.len() as f64);

    // What is reset before it was served, and empty DATA, the library ends.
    let resets =
        (0..1_000).flat_map(|nth| [frames::headers(2 * nth + 1, &slowly, true), reset(nth)].concat());
    let empty_data = [post, frames::frame(0, 0, 1, &[]).repeat(2_000)].concat();
    for flood in [resets.collect(), empty_data] {
        let mut attacker = Frames::open(&gateway).await;
        let _ = attacker.write(&flood).await;
        assert_eq!(attacker.outcome(u32::MAX).await, Outcome::GoAway(frames::ENHANCE_YOUR_CALM));
    }
    assert!(origin.requests().await < 300);
    assert!(!gateway.stderr().contains("level=error") && !gateway.stderr().contains("level=warn"));
}

#[tokio::test]
async fn a_lively_client_floods_nobody() {
    let (_origin, gateway) = start().await;
    let mut client = Frames::open(&gateway).await;
    let lively = [
        frames::frame(PING, 0, 0, &[7; 8]).repeat(900),
        frames::frame(SETTINGS, 0, 0, &[]).repeat(90),
        frames::frame(8, 0, 0, &1u32.to_be_bytes()).repeat(9_000),
        frames::frame(0xfa, 0, 0, &[0; 64]).repeat(900),
    ];

    client.write(&lively.concat()).await.unwrap();

    let stream = client.request(&get("/"), true).await;
    assert!(matches!(client.outcome(stream).await, Outcome::Answer(200, _)));
    assert_eq!(gateway.metrics().await.refused(), [].into());
}

#[tokio::test]
async fn without_file_descriptors_left_old_connections_go_on_and_new_ones_wait() {
    let (_origin, gateway) = start().await;
    let mut old = gateway.connect().await;
    let mut old2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    assert_eq!(old.send(&Request::get("/")).await.status, 200);
    assert_eq!(old2.send(&Request::get("/")).await.status, 200);
    limit_files(&gateway, gateway.open_fds() as u64 + 20);

    let mut greedy = Vec::new();
    for _ in 0..60 {
        greedy.push(Http1::open(gateway.plain).await);
    }
    eventually(PATIENCE, || async { gateway.stderr().contains("Too many open files") }).await;
    let lines = gateway.stderr().lines().count();
    for _ in 0..20 {
        // On the pooled connection to the origin.
        assert_eq!(old.send(&Request::get("/")).await.status, 200);
        assert_eq!(old2.send(&Request::get("/")).await.status, 200);
    }
    // It neither spins nor fills the log.
    let cpu = cpu_ticks(&gateway);
    assert!(within(Duration::from_secs(2), || async { false }).await.is_none());
    let spent = cpu_ticks(&gateway) - cpu;
    assert!(spent <= 60, "{spent} of 200 ticks while nothing was to do");
    assert!(gateway.stderr().lines().count() <= lines + 8, "{}", gateway.stderr());

    drop(greedy);
    let answer = eventually(PATIENCE, || async {
        gateway.connect().await.try_send(&Request::get("/")).await.ok().filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.await.status, 200);
    assert_eq!(gateway.readiness("/readyz").await.status, 200);
}

#[tokio::test]
async fn with_few_file_descriptors_the_cap_refuses_before_they_run_out() {
    let origin = Origin::start().await;
    let builder = || Gateway::builder().origin("origin", &origin);
    let gateway = builder().open_files(356).yaml("connections: { max: 1000 }").start().await;
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut client = gateway.connect().await;
        client.write(Request::get("/").script("sse=1000/100ms").to_http1()).await.unwrap();
        assert_eq!(client.read_head().await.unwrap().status, 200);
        held.push(client);
    }

    for _ in 0..100 {
        assert!(gateway.connect().await.try_send(&Request::get("/")).await.is_err());
    }
    let refused = gateway.metric("tollgate_connections_ended_early_total", &[("reason", "connection_cap")]);
    assert_eq!(refused.await, 100.0);
    for client in &mut held {
        client.read_some().await.unwrap();
    }
    let log = gateway.stderr();
    assert!(log.contains("level=warn") && log.contains("write `LimitNOFILE=2256` or `max: 50`"), "{log}");
    assert!(!log.contains("Too many open files") && !log.contains("level=error"), "{log}");
    drop(held);
    let served = || async { gateway.connect().await.try_send(&Request::get("/")).await.ok() };
    eventually(PATIENCE, || async { served().await.filter(|answer| answer.status == 200) }).await;

    // Nobody wrote the default.
    let quiet = builder().open_files(356).start().await;
    assert!(!quiet.stderr().contains("level=warn") && quiet.stderr().contains("open_files=356"));
}

#[tokio::test]
async fn who_holds_connections_to_private_ports_keeps_nobody_else_out() {
    let (_origin, gateway) = start().await;
    let before = gateway.open_fds();
    let mut held = Vec::new();
    for port in ["readiness", "metrics"] {
        for begins in ["", "G", "GET /readyz HTTP/1.1\r\nHost: "].iter().cycle().take(300) {
            let mut client = Http1::open(gateway.address(port)).await;
            client.write(begins.as_bytes()).await.unwrap();
            held.push(client);
        }
        // The load balancer's own check, and the scraper.
        for _ in 0..10 {
            assert_eq!(gateway.readiness("/readyz").await.status, 200);
            gateway.metrics().await;
        }
    }

    let most = before + 2 * 64 + 8;
    eventually(PATIENCE, || async { gateway.open_fds() <= most }).await;

    assert_eq!(gateway.stderr().matches("more connections to a private port").count(), 2);
    assert_served(&gateway).await;
    drop(held);
    eventually(PATIENCE, || async { gateway.open_fds() <= before + 8 }).await;
}

async fn assert_served(gateway: &Gateway) {
    let mut new: Http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    assert_eq!(new.send(&Request::get("/served")).await.echo().target(), "/served");
    assert_eq!(gateway.get("/served").await.echo().target(), "/served");
}

fn limit_files(gateway: &Gateway, files: u64) {
    let limit = libc::rlimit { rlim_cur: files, rlim_max: 20_000 };
    let pid = i32::try_from(gateway.pid()).unwrap();
    // SAFETY: a plain system call that reads one struct; the child is not waited for.
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// What it has used of the processors, in hundredths of a second.
fn cpu_ticks(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    (origin, builder.start().await)
}
