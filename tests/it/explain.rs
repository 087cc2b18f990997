//! `tollgate explain`: what it says is what traffic gets, live and from files.

use serde_json::{Value, json};

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually,
    process::Exit,
    proxy_header::{nlb, v2},
};

/// What a request is, for a client and for the command.
#[derive(Default)]
struct Asked {
    method: Option<&'static str>,
    host: Option<&'static str>,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    endpoint: Option<&'static str>,
}

impl Asked {
    fn get(target: &'static str) -> Self {
        Self { target, ..Self::default() }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--host".to_owned(), self.host.unwrap_or("api.example.com").to_owned()];
        let mut add = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        add("--path", self.target);
        add("--from", "10.0.0.5");
        self.method.iter().for_each(|method| add("--method", method));
        self.endpoint.iter().for_each(|endpoint| add("--vpc-endpoint", endpoint));
        self.headers.iter().for_each(|(name, value)| add("--header", &format!("{name}: {value}")));
        arguments
    }

    fn request(&self) -> Request {
        let request = Request::new(self.method.unwrap_or("GET"), self.target).honest();
        let request = request.host(self.host.unwrap_or("api.example.com"));
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

#[tokio::test]
async fn what_is_told_is_what_traffic_gets_live_and_from_files() {
    let (orders, canary) = (Origin::named("orders").await, Origin::named("canary").await);
    let gateway = shop(&orders, &canary).await;

    for asked in requests() {
        let mut client = behind(&gateway, asked.endpoint).await;
        let answer = client.send(&asked.request()).await;
        // A client has its answer a moment before its place at the endpoint is given back.
        let live = eventually(PATIENCE, || async {
            let told = told(&gateway, &asked.arguments()).await;
            is_quiet(&told).then_some(told)
        })
        .await;
        let offline = told_by_files(&gateway, &asked.arguments()).await;

        let target = asked.target;
        let verdict = &live["verdict"];
        assert_eq!(without_generation(&live), without_generation(&offline), "{target}");
        match verdict["status"].as_u64() {
            Some(status) => assert_eq!(u64::from(answer.status), status, "{target}: {verdict}"),
            None => {
                let echo = answer.echo();
                assert_eq!(verdict["upstreams"], json!([echo.origin()]), "{target}");
                let forward = &live["action"]["forward"];
                let sent = echo.target().split('?').next().unwrap_or_default();
                assert_eq!(
                    (forward["path"].as_str(), forward["host"].as_str()),
                    (Some(sent), echo.host()),
                    "{target}"
                );
            }
        }
        if let Some(location) = answer.header("location") {
            assert_eq!(live["action"]["redirect"]["location"], location, "{target}");
        }
        // A line that cannot be read is answered before there is a request.
        if answer.header("x-request-id").is_some() {
            let line = gateway.line_of(&answer).await;
            let word = |value: &Value| value.as_str().map(str::to_owned);
            assert_eq!(word(&line["flag"]), word(&verdict["flag"]), "{target}: {line} {verdict}");
            let route =
                if live["routing"].is_null() { &Value::Null } else { &live["routing"]["winner"]["name"] };
            assert_eq!(word(&line["route"]), word(route), "{target}: {line}");
            assert_eq!(word(&line["tenant"]), word(&live["principal"]["tenant"]), "{target}: {line}");
        }
    }
}

#[tokio::test]
async fn who_asks_and_how_they_come_is_told_as_traffic_has_it() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let yaml = r#"
        forwarded: { trusted: [127.0.0.0/8], fields: [x-forwarded-for] }
        routes:
          - { name: old, match: { path: /old }, redirect: { status: 307, path: /new } }
          - { name: all, to: [{ upstream: origin }] }
    "#;
    let gateway =
        Gateway::builder().origin("origin", &origin).certificate(&certificate).yaml(yaml).start().await;
    let location = |told: &Value| told["action"]["redirect"]["location"].as_str().unwrap().to_owned();

    let old = Request::get("/old").honest();
    let plain = gateway.send(&old).await;
    let secure = gateway.connect_tls(&Tls::default()).await.unwrap().send(&old).await;
    let by_tls = told(&gateway, &arguments("/old")).await;
    let in_clear = told(&gateway, &[arguments("/old"), vec!["--cleartext".into()]].concat()).await;
    assert_eq!(secure.header("location"), Some(&*location(&by_tls)));
    assert_eq!(plain.header("location"), Some(&*location(&in_clear)));

    let field = ("X-Forwarded-For", "198.51.100.7, 203.0.113.9");
    let answer = gateway.send(&Request::get("/").honest().header(field.0, field.1)).await;
    let header = vec!["--header".to_owned(), format!("{}: {}", field.0, field.1)];
    let asked = told(&gateway, &[arguments("/"), header].concat()).await;
    let line = gateway.line_of(&answer).await;
    assert_eq!(
        (&asked["principal"]["address"], &line["client"]),
        (&"203.0.113.9".into(), &"203.0.113.9".into())
    );
    assert_eq!(asked["principal"]["sender"], "127.0.0.1");
}

#[tokio::test]
async fn a_long_list_of_losers_is_cut_and_counted() {
    let route = |n: u32| {
        format!(
            "  - {{ name: r{n}, match: {{ path: /x, headers: [{{ name: h{n} }}] }}, respond: {{ status: 200 }} }}\n"
        )
    };
    let routes: String = (0..30).map(route).collect();
    let gateway = Gateway::builder().yaml(&format!("routes:\n{routes}")).start().await;

    let text = table(&gateway, &["--host", "api.example.com", "--path", "/x"]).await;

    assert_eq!(text.matches(" is missing").count(), 20, "{text}");
    assert!(
        text.contains("          and 10 more\n") && text.ends_with("404 no_route: no route takes it\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_condition_that_fails_is_named() {
    let origin = Origin::start().await;
    let gateway = shop(&origin, &origin).await;

    let text = table(&gateway, &["--host", "api.example.com", "--path", "/gold?v=2"]).await;

    for line in [
        "route     rest by any host, any path",
        "lost      gold by host api.example.com, prefix /gold: method GET is not in [POST]; header x-tier is",
        "missing; query v is not `1`",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    let arguments = ["--host", "api.example.com", "--path", "/ledger"];
    let text = table(&gateway, &arguments).await;
    assert!(text.contains("prefix /ledger: it is of no tenant, not of [billing]"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[tokio::test]
async fn an_endpoint_that_is_ejected_or_unhealthy_is_shown_as_such() {
    let (near, far, ill) = (Origin::start().await, Origin::start().await, Origin::start().await);
    let yaml = r#"
        upstreams:
          - name: shop
            endpoints: [{ address: "{near}", zone: use1-az1 }, { address: "{far}", zone: use1-az2 }, { address: "{ill}", weight: 0 }]
            outlier_detection: { consecutive_5xx: 1, base_ejection: 60s }
          - name: probed
            endpoints: [{ address: "{ill}" }]
            health_check: { path: /__origin/health, interval: 1s, unhealthy_after: 1 }
            locality: { on_panic: fail }
        routes:
          - { name: shop, match: { path: /shop }, to: [{ upstream: shop }] }
          - { name: probed, match: { path: /probed }, to: [{ upstream: probed }] }
        location: { zone: use1-az1 }
    "#;
    let builder = Gateway::builder().origin("near", &near).origin("far", &far).origin("ill", &ill);
    let gateway = builder.yaml(yaml).start().await;
    ill.set_healthy(false).await;
    let shop = arguments("/shop");
    let before = told(&gateway, &shop).await;
    assert_eq!(before["upstreams"][0]["tiers"][0]["tier"], "own zone");
    assert_eq!(before["upstreams"][0]["tiers"][0]["share"], 1.0);

    near.set_script("status=500").await;
    eventually(PATIENCE, || async { gateway.get("/shop").await.status == 200 }).await;

    let told_shop = told(&gateway, &shop).await;
    let tiers = &told_shop["upstreams"][0]["tiers"];
    assert_eq!((&tiers[0]["share"], &tiers[1]["share"]), (&json!(0.0), &json!(1.0)), "{tiers}");
    assert_eq!(tiers[0]["endpoints"][0]["state"], "ejected", "{tiers}");
    assert!(tiers[0]["endpoints"][0]["ejected_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(told_shop["upstreams"][0]["never"][0]["address"], ill.address.to_string());
    let refused = eventually(PATIENCE, || async {
        let told = told(&gateway, &arguments("/probed")).await;
        (told["verdict"]["status"] == 503).then_some(told)
    })
    .await;
    let upstream = &refused["upstreams"][0];
    assert_eq!(upstream["tiers"][0]["endpoints"][0]["health"], "unhealthy", "{upstream}");
    assert_eq!((&upstream["panic"], &upstream["refuses"]["flag"]), (&true.into(), &"no_endpoint".into()));
    assert_eq!(gateway.get("/probed").await.flag(), refused["verdict"]["flag"].as_str().unwrap());
    // It was never asked for a probe: traffic alone knows.
    far.stop().await;
    eventually(PATIENCE, || async {
        gateway.get("/shop").await;
        let told = told(&gateway, &shop).await;
        told["upstreams"][0]["tiers"][1]["endpoints"][0]["state"] == "unreachable"
    })
    .await;
    // Files know nothing of it.
    let files = told_by_files(&gateway, &arguments("/probed")).await;
    assert_eq!(files["verdict"]["upstreams"], json!(["probed"]), "{files}");
}

#[tokio::test]
async fn files_alone_stand_in_for_names_and_have_their_endpoints_read_by_explain_and_simulate() {
    let text = r#"
        upstreams:
          - { name: named, endpoints: [{ address: "shop.internal:80" }], health_check: { path: / } }
          - { name: listed, endpoints_file: listed.yaml }
        routes:
          - { name: named, match: { path: /named }, to: [{ upstream: named }] }
          - { name: listed, match: { path: /listed }, to: [{ upstream: listed }] }
        "#;
    let files = Gateway::builder().yaml(text).files;
    files.write_main(text);
    files.write("listed.yaml", "endpoints: [{ address: \"10.0.0.7:80\" }]");
    let main = files.main().display().to_string();
    let explain = async |path: &str| {
        let arguments = ["explain", "--json", "--config", &main, "--host", "a.test", "--path", path];
        json_of(&Gateway::cli(&arguments).await)
    };

    let (named, listed) = (explain("/named").await, explain("/listed").await);
    let simulated = Gateway::cli(&["simulate", "--json", "--config", &main, "--upstream", "listed"]).await;
    files.write("listed.yaml", "endpoints: [{ adress: \"10.0.0.7:80\" }]");
    let (check, bad) = (
        Gateway::cli(&["check", &main]).await,
        Gateway::cli(&["explain", "--config", &main, "--host", "a.test"]).await,
    );

    let endpoint = |told: &Value| told["upstreams"][0]["tiers"][0]["endpoints"][0]["address"].clone();
    assert_eq!((endpoint(&named), endpoint(&listed)), ("shop.internal:80".into(), "10.0.0.7:80".into()));
    assert_eq!((&named["verdict"]["status"], &listed["verdict"]["status"]), (&Value::Null, &Value::Null));
    let note = |told: &Value| told["notes"][0].as_str().unwrap().to_owned();
    assert!(note(&named).starts_with("named: names in DNS are not looked up here (1)"), "{named}");
    assert!(note(&listed).starts_with("listed: `endpoints_file` was read"), "{listed}");
    let simulated = &json_of(&simulated)["report"]["upstreams"][0];
    assert_eq!(simulated["endpoints"][0]["address"], "10.0.0.7:80");
    assert!(simulated["notes"][0].as_str().unwrap().contains("was read"), "{simulated}");
    assert_eq!((check.code, bad.code), (Some(78), Some(78)), "{check:?} {bad:?}");
    assert!(bad.stderr.contains("did you mean `address`"), "{bad:?}");
}

#[tokio::test]
async fn where_a_key_decides_the_endpoint_is_named() {
    let origins = [Origin::named("a").await, Origin::named("b").await, Origin::named("c").await];
    let gateway =
        Gateway::shop(&origins.each_ref(), "balance: { consistent_hash: { key: { header: x-user } } }").await;

    for user in ["alice", "bob", "carol", "dave", "erin"] {
        let answer = gateway.send(&Request::get("/").header("X-User", user)).await;
        let told =
            told(&gateway, &[arguments("/"), vec!["--header".into(), format!("x-user: {user}")]].concat())
                .await;

        let hash = &told["upstreams"][0]["hash"];
        let went = gateway.line_of(&answer).await["endpoint"].clone();
        assert_eq!((&hash["endpoint"], &hash["by"]), (&went, &"header x-user".into()), "{user}");
    }
    let without = told(&gateway, &arguments("/")).await;
    assert_eq!(without["upstreams"][0]["hash"]["has_key"], false);
    let status = gateway.status().await;
    assert_eq!(status["upstreams"][0]["endpoints"][0]["in_flight"], 0, "asking takes no place");
}

#[tokio::test]
async fn what_no_client_could_send_is_exit_code_2_and_nobody_there_75() {
    let gateway = Gateway::builder().start().await;
    let refused = |told: Exit, word: &str| {
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
        assert!(told.stderr.contains(word), "{told:?}");
    };

    for (header, word) in [
        ("x: 1\r\nx-admin: 1", "the value of `x` cannot be sent"),
        ("x y: 1", "`x y` is no name of a header field"),
        ("nothing", "write name, colon and value"),
    ] {
        let arguments = ["explain", "--host", "a.test", "--header", header];
        refused(gateway.ask(&arguments).await, word);
        let main = gateway.files.main().display().to_string();
        refused(Gateway::cli(&[&arguments[..], &["--config", &main]].concat()).await, word);
    }
    refused(gateway.ask(&["explain", "--host", "a.test", "--path", "/\r\nx: 1"]).await, "is no path");
    refused(gateway.ask(&["explain", "--host", "a.test", "--vpc-endpoint", "vpce-1"]).await, "17 (or 8) hex");
    refused(gateway.ask(&["explain", "--host", "a.test", "--from", "somewhere"]).await, "--from");
    refused(gateway.ask(&["explain", "--path", "/"]).await, "--host");
    let nobody = Gateway::cli(&["explain", "--host", "a.test", "--socket", "/nonexistent/admin.sock"]).await;
    assert_eq!(nobody.code, Some(75), "{nobody:?}");
    gateway.files.write("broken.yaml", "routes: [{}]");
    let broken = gateway.files.path("broken.yaml").display().to_string();
    let broken = Gateway::cli(&["explain", "--host", "a.test", "--config", &broken]).await;
    assert!(broken.code == Some(78) && broken.stderr.contains("broken.yaml"), "{broken:?}");
}

#[tokio::test]
async fn the_socket_tells_what_to_write() {
    let gateway = Gateway::builder().start().await;
    let ask = async |body: String| {
        let socket = tokio::net::UnixStream::connect(gateway.files.path("admin.sock")).await.unwrap();
        let mut client = Http1::over(crate::support::stream::Stream::Unix(socket));
        client.send(&Request::post("/explain", body).honest()).await
    };

    for body in
        ["", "{}", "[]", "{\"host\":1}", "{\"host\":\"a\",\"hots\":1}", "{\"host\":\"a\",\"from\":\"b\"}"]
    {
        let answer = ask(body.to_owned()).await;
        assert_eq!((answer.status, answer.text().contains("write JSON as {\"host\"")), (400, true), "{body}");
    }
    let large = ask(format!("{{\"host\":\"{}\"}}", "a".repeat(300_000))).await;
    assert_eq!((large.status, large.text().contains("256 KiB")), (400, true), "{}", large.text());
    let short = ask("{\"host\":\"a.test\"}".to_owned()).await.json();
    assert_eq!((&short["verdict"]["status"], &short["request"]["path"]), (&404.into(), &"/".into()));
}

fn requests() -> Vec<Asked> {
    vec![
        Asked::get("/"),
        Asked::get("/orders/7?x=1"),
        Asked::get("/orders//a/../7"),
        Asked::get("/orders-old"),
        Asked { host: Some("API.example.com:8443"), ..Asked::get("/orders") },
        Asked { host: Some("x.plat-dev.example.com"), ..Asked::get("/ping") },
        Asked { headers: &[("X-Canary", "1")], ..Asked::get("/split") },
        Asked { headers: &[("Cookie", "a=1; session=alice")], ..Asked::get("/split") },
        Asked { headers: &[("Cookie", "session=bob")], ..Asked::get("/split") },
        Asked { headers: &[("Cookie", "session=dave")], ..Asked::get("/split") },
        Asked {
            method: Some("POST"),
            headers: &[("X-Tier", "1"), ("Content-Length", "0")],
            ..Asked::get("/gold?v=1")
        },
        Asked::get("/gold?v=1"),
        Asked { method: Some("TRACE"), ..Asked::get("/") },
        Asked { endpoint: Some(BILLING), ..Asked::get("/ledger") },
        Asked { endpoint: Some(SEARCH), ..Asked::get("/ledger") },
        Asked { endpoint: Some(BILLING), ..Asked::get("/own") },
        Asked { endpoint: Some(SEARCH), ..Asked::get("/own") },
        Asked { endpoint: Some(STRANGER), ..Asked::get("/") },
        Asked::get("/old?x=1"),
        Asked::get("/robots.txt"),
        Asked { host: Some("nobody.test"), ..Asked::get("/nowhere") },
        Asked { headers: &[("X_Tier", "1")], ..Asked::get("/") },
        Asked { host: Some("a,b"), ..Asked::get("/") },
        Asked { host: Some("exämple.com"), ..Asked::get("/") },
        Asked::get("/a/../.."),
        Asked::get("/a b"),
        Asked::get("/made/x.."),
    ]
}

async fn shop(orders: &Origin, canary: &Origin) -> Gateway {
    let yaml = format!(
        r#"
            listeners: [{{ name: plain, address: "{{plain}}", proxy_protocol: {{ mode: optional, trusted: [127.0.0.0/8] }} }}]
            tenants:
              - {{ name: billing, vpc_endpoints: [{BILLING}] }}
              - {{ name: search, vpc_endpoints: [{SEARCH}] }}
            privatelink: {{ unknown_endpoint: refuse }}
            routes:
              - {{ name: orders, match: {{ hosts: [api.example.com], path: /orders }}, to: [{{ upstream: orders }}], rewrite: {{ strip_prefix: /orders, host: orders.internal }} }}
              - {{ name: ping, match: {{ hosts: ["*.plat-dev.example.com"] }}, to: [{{ upstream: canary }}] }}
              - name: split
                match: {{ hosts: [api.example.com], path: /split }}
                to: [{{ upstream: orders, weight: 50 }}, {{ upstream: canary, weight: 50 }}]
                sticky: {{ cookie: session }}
                overrides: [{{ header: x-canary, value: "1", upstream: canary }}]
              - name: gold
                match: {{ hosts: [api.example.com], path: /gold, methods: [POST], headers: [{{ name: x-tier }}], query: [{{ name: v, value: "1" }}] }}
                to: [{{ upstream: canary }}]
              - {{ name: ledger, match: {{ hosts: [api.example.com], path: /ledger, tenants: [billing] }}, to: [{{ upstream: canary }}] }}
              - {{ name: own, match: {{ hosts: [api.example.com], path: /own }}, to: [{{ upstream: orders }}], allow: {{ tenants: [billing] }} }}
              - {{ name: old, match: {{ path: /old }}, redirect: {{ status: 308, path: /new }} }}
              - {{ name: robots, match: {{ path: {{ exact: /robots.txt }} }}, respond: {{ status: 200, body: "none\n" }} }}
              - {{ name: made, match: {{ path: /made }}, to: [{{ upstream: orders }}], rewrite: {{ pattern: {{ match: "^/made/x(.*)$", with: "/$1" }} }} }}
              - {{ name: rest, match: {{ hosts: ["*"] }}, to: [{{ upstream: orders }}], deny: {{ tenants: [search] }} }}
              - {{ name: nobody, match: {{ hosts: [nobody.test], path: /nowhere, methods: [DELETE] }}, respond: {{ status: 200 }} }}
        "#
    );
    Gateway::builder().origin("orders", orders).origin("canary", canary).yaml(&yaml).start().await
}

async fn behind(gateway: &Gateway, endpoint: Option<&str>) -> Http1 {
    let mut client = Http1::open(gateway.plain).await;
    let header = endpoint.map_or_else(|| v2(CLIENT, &[]), |endpoint| nlb(CLIENT, endpoint));
    client.write(header).await.unwrap();
    client
}

fn arguments(path: &str) -> Vec<String> {
    ["--host", "api.example.com", "--path", path].map(str::to_owned).into()
}

async fn told(gateway: &Gateway, arguments: &[String]) -> Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    json_of(&gateway.ask(&[&["explain", "--json"], &arguments[..]].concat()).await)
}

async fn told_by_files(gateway: &Gateway, arguments: &[String]) -> Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let main = gateway.files.main().display().to_string();
    let told = Gateway::cli(&[&["explain", "--json", "--config", &main], &arguments[..]].concat()).await;
    json_of(&told)
}

async fn table(gateway: &Gateway, arguments: &[&str]) -> String {
    let told = gateway.ask(&[&["explain"], arguments].concat()).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    told.stdout
}

fn json_of(told: &Exit) -> Value {
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    serde_json::from_str(&told.stdout).unwrap()
}

/// Whether no endpoint that is told of has a request in flight.
fn is_quiet(told: &Value) -> bool {
    let list = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let tiers = list(told, "upstreams").into_iter().flat_map(|upstream| list(&upstream, "tiers"));
    let mut endpoints = tiers.flat_map(|tier| list(&tier, "endpoints"));
    endpoints.all(|endpoint| endpoint["in_flight"] == 0)
}

fn without_generation(told: &Value) -> Value {
    let mut told = told.clone();
    told.as_object_mut().unwrap().remove("generation");
    told
}

const CLIENT: &str = "10.0.0.5:40000";
const BILLING: &str = "vpce-0123456789abcdef0";
const SEARCH: &str = "vpce-11111111111111111";
const STRANGER: &str = "vpce-99999999999999999";
