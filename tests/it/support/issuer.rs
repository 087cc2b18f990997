//! An identity provider whose answers and whose keys are the test's.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use boring::ssl::{SslAcceptor, SslMethod};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tollgate::{config::signer::Algorithm, jwt::SigningKey};

use super::certs::Issued;

/// A provider that listens. Its tokens are for `api` and count for an hour.
pub struct Issuer {
    /// For the gateway's configuration.
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
    is_https: bool,
}

struct State {
    key: Mutex<Arc<SigningKey>>,
    answer: Mutex<Answer>,
    fetches: AtomicUsize,
    /// Those that were let through while they are held back.
    passes: Semaphore,
}

/// What it says when it is asked for its keys.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Its keys.
    Keys,
    /// Its keys, once the test says so.
    KeysLater,
    /// These bytes.
    Say(String),
    /// This body, as JSON.
    Body(String),
    /// Nothing, ever.
    Nothing,
}

impl Issuer {
    /// Says its keys to everyone.
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), None).await
    }

    /// The same over TLS, with this certificate.
    pub async fn https(certificate: &Issued) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Some(certificate)).await
    }

    /// At this address.
    pub async fn at(address: SocketAddr, certificate: Option<&Issued>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            key: Mutex::new(Arc::new(SigningKey::generate(Algorithm::Es256).unwrap())),
            answer: Mutex::new(Answer::Keys),
            fetches: AtomicUsize::new(0),
            passes: Semaphore::new(0),
        });
        let (shared, acceptor) = (state.clone(), certificate.map(acceptor));
        let is_https = acceptor.is_some();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(accepted(connection, acceptor.clone(), address, shared.clone()));
            }
        });
        Self { address, state, task, is_https }
    }

    /// What its tokens have as `iss`.
    pub fn name(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let host = if self.is_https { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// Where its keys are.
    pub fn jwks(&self) -> String {
        format!("{}/jwks", self.name())
    }

    /// The `jwt` of an entry in `authentication`, with more keys.
    pub fn jwt(&self, more: &str) -> String {
        let (issuer, jwks) = (self.name(), self.jwks());
        format!("jwt: {{ issuer: \"{issuer}\", jwks: \"{jwks}\", audience: [api], {more} }}")
    }

    /// Says so from now on.
    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// Lets through one who waits for [`Answer::KeysLater`].
    pub fn let_through(&self) {
        self.state.passes.add_permits(1);
    }

    /// Has another key from now on, and that alone.
    pub fn rotate(&self) {
        *self.state.key.lock().unwrap() = Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
    }

    /// The key that it signs with now.
    pub fn key(&self) -> Arc<SigningKey> {
        self.state.key.lock().unwrap().clone()
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// A token of `alice`, with these claims changed; `null` takes one out.
    pub fn token(&self, changes: Value) -> String {
        let key = self.key();
        let header = json!({ "alg": "ES256", "kid": key.public.kid.as_str() });
        self.signed(&header, &self.claims(changes))
    }

    /// What every token says, with these changed.
    pub fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({ "iss": self.name(), "aud": "api", "sub": "alice", "exp": now() + 3600 });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    /// Signs anything with its key.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        self.key().compact(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The set of these keys.
pub fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public.to_json()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn acceptor(certificate: &Issued) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    let chain = boring::x509::X509::stack_from_pem(certificate.chain.as_bytes()).unwrap();
    builder.set_certificate(&chain[0]).unwrap();
    chain[1..].iter().for_each(|one| builder.add_extra_chain_cert(one.clone()).unwrap());
    let key = boring::pkey::PKey::private_key_from_pem(certificate.key.as_bytes()).unwrap();
    builder.set_private_key(&key).unwrap();
    builder.build()
}

async fn accepted(
    connection: TcpStream,
    acceptor: Option<SslAcceptor>,
    address: SocketAddr,
    state: Arc<State>,
) {
    let Some(acceptor) = acceptor else { return serve(connection, address, &state).await };
    if let Ok(stream) = tokio_boring::accept(&acceptor, connection).await {
        serve(stream, address, &state).await;
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr, state: &State) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => request.extend_from_slice(&piece[..n]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    if request.starts_with("GET /.well-known/openid-configuration ") {
        let own = format!("http://{address}");
        let told = json!({ "issuer": own, "jwks_uri": format!("{own}/jwks") }).to_string();
        drop(stream.write_all(ok(&told).as_bytes()).await);
        return;
    }
    assert!(request.starts_with("GET /jwks HTTP/1.1\r\n"), "{request}");
    state.fetches.fetch_add(1, Ordering::SeqCst);
    let answer = state.answer.lock().unwrap().clone();
    let keys = || ok(&key_set(&[&state.key.lock().unwrap()]));
    let said = match answer {
        Answer::Keys => keys(),
        Answer::KeysLater => {
            state.passes.acquire().await.unwrap().forget();
            keys()
        }
        Answer::Say(bytes) => bytes,
        Answer::Body(body) => ok(&body),
        Answer::Nothing => std::future::pending().await,
    };
    drop(stream.write_all(said.as_bytes()).await);
    drop(stream.shutdown().await);
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
