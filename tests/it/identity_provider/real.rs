//! A real provider (`oidc-provider` from npm) with keys of its own: a person logs in,
//! lists products, creates an order.

use std::process::Command;

use serde_json::Value;

use super::*;
use crate::{
    signing::{claims_of, only_token, pem},
    support::{PATIENCE, Tls, certs, eventually, process::Process},
};
use tollgate::config::signer::Algorithm;

/// The provider, as a process.
struct Provider {
    issuer: String,
    _process: Process,
}

impl Provider {
    async fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(script("provider.mjs"));
        let process = Process::spawn(command);
        let issuer = eventually(PATIENCE, || async {
            let why = process.stderr();
            assert!(
                process.ended().is_none(),
                "is it installed, as `make test` does? npm ci --prefix {FOLDER}: {why}"
            );
            process.stdout().lines().next().map(str::to_owned)
        })
        .await;
        Self { issuer, _process: process }
    }

    /// The tokens that the shop gets once this person has logged in and agreed.
    async fn log_in(&self, person: &str, scope: &str) -> Value {
        let mut command = Command::new("node");
        command.arg(script("login.mjs")).args([&self.issuer, person, scope]);
        let exit = crate::support::process::Exit::of(command).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        serde_json::from_str(&exit.stdout).unwrap()
    }

    /// It signs with another key from now on.
    async fn rotate(&self) {
        let address = self.issuer.strip_prefix("http://").unwrap().parse().unwrap();
        crate::support::Http1::open(address).await.send(&Request::get("/rotate").honest()).await;
    }
}

fn script(name: &str) -> String {
    format!("{}/{FOLDER}/{name}", env!("CARGO_MANIFEST_DIR"))
}

const FOLDER: &str = "tests/it/identity_provider/oidc";

/// Readers list products, buyers create orders; at `partner.example.com` both show a
/// certificate too.
async fn shop(origin: &Origin, provider: &Provider, partners: &certs::Authority) -> Gateway {
    let jwt = |scope: &str| {
        format!(
            "jwt: {{ issuer: \"{}\", audience: [api], typ: [at+jwt], scopes: [{scope}], refetch_after: 1s }}",
            provider.issuer
        )
    };
    let names = ["api.example.com", "partner.example.com"];
    let tls = "{ certificates: [{ chain: tls.pem, key: tls.key }], client_auth: [{ hosts: [partner.example.com], mode: required, ca: partners.pem }] }";
    Gateway::builder()
        .origin("origin", origin)
        .pair("tls", &certs::server(&certs::authority(), &names))
        .file("partners.pem", &partners.pem().unwrap())
        .tls(tls)
        .key("keys/a.pem", &pem(Algorithm::Es256))
        .yaml(&format!(
            "authentication: [{{ name: reader, {} }}, {{ name: buyer, {} }}]\n\
             signers: [{{ name: default, issuer: \"https://gw.test\", keys: keys, claims: [consumer, scope, {{ token: client_id }}] }}]\n\
             routes:\n\
             - {{ name: products, match: {{ path: /products, methods: [GET] }}, authenticate: [reader], sign: default, to: [{{ upstream: origin }}] }}\n\
             - {{ name: orders, match: {{ path: /orders, methods: [POST] }}, authenticate: [buyer], sign: default, to: [{{ upstream: origin }}] }}",
            jwt("products.read"),
            jwt("orders.write")
        ))
        .start()
        .await
}

fn with(request: Request, token: &Value) -> Request {
    request.header("authorization", &format!("Bearer {}", token.as_str().unwrap()))
}

#[tokio::test]
async fn a_person_logs_in_lists_products_and_creates_an_order() {
    let (origin, provider, partners) = (Origin::start().await, Provider::start().await, certs::authority());
    let gateway = shop(&origin, &provider, &partners).await;
    let (list, create) = (Request::get("/products"), Request::post("/orders", r#"{"item":1}"#));
    let tokens = provider.log_in("alice", "openid products.read orders.write").await;
    let access = &tokens["access_token"];

    for request in [&list, &create] {
        let answer = gateway.send(&with(request.clone(), access)).await;

        assert_eq!(answer.status, 200, "{answer:?}");
        let echo = answer.echo();
        let claims = claims_of(&gateway, only_token(&echo)).await;
        assert_eq!((&claims["sub"], &claims["consumer"]), (&json!("alice"), &json!("alice")), "{claims:?}");
        assert_eq!(
            (&claims["client_id"], &claims["scope"]),
            (&json!("shop"), &json!("products.read orders.write"))
        );
        // What the client showed is not the origin's to have.
        assert_eq!(echo.header("authorization"), None);

        // Without one, with one that is for the shop itself, with one that was changed.
        let changed = json!(access.as_str().unwrap().replacen('.', ".e", 1));
        let before = origin.requests().await;
        let without = gateway.send(request).await;
        assert_eq!(without.status, 401);
        assert!(without.header("www-authenticate").unwrap().starts_with("Bearer"), "{without:?}");
        for bad in [&tokens["id_token"], &changed] {
            let refused = gateway.send(&with(request.clone(), bad)).await;
            assert_eq!(refused.status, 401, "{refused:?}");
        }
        assert_eq!(origin.requests().await, before);
    }
}

#[tokio::test]
async fn who_may_read_alone_creates_no_order() {
    let (origin, provider, partners) = (Origin::start().await, Provider::start().await, certs::authority());
    let gateway = shop(&origin, &provider, &partners).await;
    let access = provider.log_in("bob", "openid products.read").await["access_token"].clone();

    assert_eq!(gateway.send(&with(Request::get("/products"), &access)).await.status, 200);
    let order = gateway.send(&with(Request::post("/orders", "{}"), &access)).await;

    assert_eq!(order.status, 403, "{order:?}");
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn a_host_asks_for_a_certificate_too() {
    let (origin, provider, partners) = (Origin::start().await, Provider::start().await, certs::authority());
    let gateway = shop(&origin, &provider, &partners).await;
    let access = provider.log_in("carol", "openid orders.write").await["access_token"].clone();
    let order = with(Request::post("/orders", "{}"), &access).host("partner.example.com");
    let shown = Tls::to("partner.example.com").certificate(&certs::client(&partners, "carol's shop"));
    let stranger = Tls::to("partner.example.com").certificate(&certs::client(&certs::authority(), "x"));

    let mut partner = gateway.connect_tls(&shown).await.unwrap();
    let created = partner.send(&order).await;
    let unnamed = partner.send(&Request::post("/orders", "{}").host("partner.example.com")).await;

    assert_eq!((created.status, unnamed.status), (200, 401));
    let claims = claims_of(&gateway, only_token(&created.echo())).await;
    assert_eq!(claims["sub"], "carol");
    for tls in [Tls::to("partner.example.com"), stranger] {
        let let_in = match gateway.connect_tls(&tls).await {
            Ok(mut client) => client.try_send(&order).await.is_ok_and(|answer| answer.status == 200),
            Err(_) => false,
        };
        assert!(!let_in);
    }
}

#[tokio::test]
async fn the_provider_takes_another_key_and_nobody_notices() {
    let (origin, provider, partners) = (Origin::start().await, Provider::start().await, certs::authority());
    let gateway = shop(&origin, &provider, &partners).await;
    let old = provider.log_in("alice", "openid products.read").await["access_token"].clone();
    provider.rotate().await;

    let new = provider.log_in("alice", "openid products.read").await["access_token"].clone();

    let status = async |token| gateway.send(&with(Request::get("/products"), token)).await.status;
    // Within a second after the start no key is fetched on account of a token.
    eventually(PATIENCE, || async { status(&new).await == 200 }).await;
    assert_eq!(status(&old).await, 200);
}
