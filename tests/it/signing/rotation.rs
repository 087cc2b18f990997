//! A key takes the place of another under load, and no verifier refuses anything: one
//! that keeps the key set and asks for it anew at its own times.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs,
    time::SystemTime,
};

use tollgate::{
    config::signer::Algorithm,
    jwt::{Expected, PublicKeys, verify},
};

use super::{jwks, only_token, pem, signing};
use crate::support::{Gateway, Origin, PATIENCE, Request, eventually};

/// An upstream's verifier, and what it met.
struct Verifier {
    keys: RefCell<PublicKeys>,
    kids: RefCell<HashSet<String>>,
    verified: Cell<u32>,
}

impl Verifier {
    async fn new(gateway: &Gateway) -> Self {
        let keys = RefCell::new(fetch(gateway).await);
        Self { keys, kids: RefCell::default(), verified: Cell::default() }
    }

    async fn fetch(&self, gateway: &Gateway) {
        let keys = fetch(gateway).await;
        *self.keys.borrow_mut() = keys;
    }

    fn verify(&self, token: &str) {
        let verified = verify(token, &self.keys.borrow(), &Expected::default(), SystemTime::now());
        let verified = verified.unwrap_or_else(|flaw| panic!("401: {flaw:?}"));
        self.kids.borrow_mut().insert(verified.header["kid"].as_str().unwrap().to_owned());
        self.verified.set(self.verified.get() + 1);
    }

    /// Waits until so many more tokens were verified.
    async fn more(&self, tokens: u32) {
        let wanted = self.verified.get() + tokens;
        eventually(PATIENCE, || async { self.verified.get() >= wanted }).await;
    }
}

async fn fetch(gateway: &Gateway) -> PublicKeys {
    PublicKeys::parse(&jwks(gateway, &Request::get("/jwks.json")).await.body).unwrap()
}

async fn load(gateway: &Gateway, verifier: &Verifier, over: &Cell<bool>) {
    let mut client = gateway.connect().await;
    while !over.get() {
        verifier.verify(only_token(&client.send(&Request::get("/")).await.echo()));
    }
}

async fn reload(gateway: &Gateway) {
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
}

#[tokio::test]
async fn no_token_is_refused_while_keys_change_under_load() {
    let origin = Origin::start().await;
    for more in ["", "bind: [path]"] {
        let spec = format!("verifiers: [{{ name: v, networks: [127.0.0.0/8] }}], {more}");
        let gateway = signing(&origin, &spec).start().await;
        let (verifier, over) = (Verifier::new(&gateway).await, Cell::new(false));
        let rotation = async {
            verifier.more(20).await;
            gateway.files.write_key("keys/b.pem", &pem(Algorithm::Es256));
            reload(&gateway).await;
            verifier.more(20).await;
            assert_eq!(verifier.kids.borrow().len(), 1, "a key signed that nobody fetched");
            verifier.fetch(&gateway).await;
            verifier.more(20).await;
            fs::remove_file(gateway.files.path("keys/a.pem")).unwrap();
            reload(&gateway).await;
            verifier.fetch(&gateway).await;
            verifier.more(20).await;
            over.set(true);
        };
        let workers = futures::future::join_all((0..4).map(|_| load(&gateway, &verifier, &over)));

        tokio::join!(rotation, workers);

        assert_eq!(verifier.kids.borrow().len(), 2, "{more}");
    }
}
