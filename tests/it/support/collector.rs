//! A collector of spans whose answers are the test's. It reads messages as OTLP's JSON
//! has them, and fails the test at a name or a type that is not theirs.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{PATIENCE, eventually};

/// A collector that listens.
pub struct Collector {
    /// For the gateway's configuration.
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answer: Mutex<Answer>,
    /// Before that: one for each message.
    once: Mutex<VecDeque<Answer>>,
    messages: AtomicUsize,
    taken: Mutex<Vec<Message>>,
    /// Why a message was none.
    broken: Mutex<Vec<String>>,
}

/// What it does with a message.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// Keeps it, and says so.
    #[default]
    Take,
    /// Keeps it, and says that it did not keep so many spans.
    TakeBut(u64),
    /// A status line's end and more fields, as `503 Unavailable\r\nRetry-After: 1`.
    Status(&'static str),
    /// These bytes.
    Say(&'static str),
    /// Nothing, ever.
    Nothing,
}

/// What it kept of one message.
#[derive(Clone, Debug)]
pub struct Message {
    /// As it came.
    pub text: String,
    /// Whose spans they are.
    pub resource: BTreeMap<String, String>,
    pub spans: Vec<Span>,
}

/// One span, in words.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace_id: String,
    pub id: String,
    /// Empty: it is the first of its trace.
    pub parent: String,
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: i32,
    pub flags: u32,
    pub begin: u64,
    pub end: u64,
    /// 0 nothing is said of it, 2 an error.
    pub status: i32,
    pub attributes: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; panics without it.
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }
}

impl Collector {
    /// Takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// The section `tracing` for it: everything is recorded, and sent soon.
    pub fn tracing(&self) -> String {
        self.tracing_with("ratio: 100%", "")
    }

    /// The same with other keys of `sampling`, and more of `otlp`.
    pub fn tracing_with(&self, sampling: &str, otlp: &str) -> String {
        let endpoint = format!("endpoint: \"http://{}/v1/traces\", interval: 10ms", self.address);
        format!("tracing: {{ sampling: {{ {sampling} }}, otlp: {{ {endpoint}, {otlp} }} }}")
    }

    /// Does so from now on.
    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// Does so with the next message.
    pub fn answer_once(&self, answer: Answer) {
        self.state.once.lock().unwrap().push_back(answer);
    }

    /// Messages that came, whatever became of them.
    pub fn messages(&self) -> usize {
        self.state.messages.load(Ordering::SeqCst)
    }

    /// What it kept.
    pub fn taken(&self) -> Vec<Message> {
        let broken = self.state.broken.lock().unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        self.state.taken.lock().unwrap().clone()
    }

    /// Every span that it kept.
    pub fn spans(&self) -> Vec<Span> {
        self.taken().into_iter().flat_map(|message| message.spans).collect()
    }

    /// The spans of the request with this path, its own first; waits until they came.
    pub async fn request(&self, path: &str) -> Vec<Span> {
        eventually(PATIENCE, || async {
            let spans = self.spans();
            let own = spans.iter().find(|span| span.kind == 2 && span.get("url.path") == path)?;
            let parts = spans.iter().filter(|span| span.parent == own.id);
            Some([own].into_iter().chain(parts).cloned().collect())
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, state: Arc<State>) {
    let Some(body) = read(&mut connection).await else { return };
    state.messages.fetch_add(1, Ordering::SeqCst);
    let once = state.once.lock().unwrap().pop_front();
    let answer = once.unwrap_or_else(|| state.answer.lock().unwrap().clone());
    let said = match answer {
        Answer::Take | Answer::TakeBut(_) => {
            match parse(&body) {
                Ok(message) => state.taken.lock().unwrap().push(message),
                Err(why) => state.broken.lock().unwrap().push(format!("{why}: {body}")),
            }
            let told = match answer {
                Answer::TakeBut(n) => {
                    format!(r#"{{"partialSuccess":{{"rejectedSpans":"{n}","errorMessage":"too old"}}}}"#)
                }
                _ => "{}".to_owned(),
            };
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())
        }
        Answer::Status(status) => format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
        Answer::Say(bytes) => bytes.to_owned(),
        Answer::Nothing => std::future::pending().await,
    };
    let _ = connection.write_all(said.as_bytes()).await;
}

/// The body of a message; `None` when its sender left before.
async fn read(connection: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
            assert!(head.contains("content-type: application/json"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return Some(body.to_owned());
            }
        }
        let mut piece = [0; 65_536];
        match connection.read(&mut piece).await.ok()? {
            0 => return None,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

fn parse(text: &str) -> Result<Message, String> {
    let request: wire::Request = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let [of_gateway] = &request.resource_spans[..] else { return Err("not one resource".into()) };
    let [scope] = &of_gateway.scope_spans[..] else { return Err("not one scope".into()) };
    assert_eq!((&*scope.scope.name, &*scope.scope.version), ("tollgate", env!("CARGO_PKG_VERSION")));
    let resource = words(&of_gateway.resource.attributes);
    Ok(Message { text: text.to_owned(), resource, spans: scope.spans.iter().map(span).collect() })
}

fn span(wire: &wire::Span) -> Span {
    let is_hex =
        |id: &str, digits| id.len() == digits && id.bytes().all(|b| b"0123456789abcdef".contains(&b));
    assert!(is_hex(&wire.trace_id, 32) && is_hex(&wire.span_id, 16), "{wire:?}");
    assert!(wire.parent_span_id.is_empty() || is_hex(&wire.parent_span_id, 16), "{wire:?}");
    Span {
        trace_id: wire.trace_id.clone(),
        id: wire.span_id.clone(),
        parent: wire.parent_span_id.clone(),
        name: wire.name.clone(),
        kind: wire.kind,
        flags: wire.flags,
        begin: wire.start_time_unix_nano.parse().unwrap(),
        end: wire.end_time_unix_nano.parse().unwrap(),
        status: wire.status.as_ref().map_or(0, |status| status.code),
        attributes: words(&wire.attributes),
    }
}

fn words(attributes: &[wire::KeyValue]) -> BTreeMap<String, String> {
    let word = |value: &wire::AnyValue| match value {
        wire::AnyValue::Text(text) => text.clone(),
        wire::AnyValue::Number(number) => number.parse::<i64>().unwrap().to_string(),
        wire::AnyValue::Flag(flag) => flag.to_string(),
    };
    let all: BTreeMap<_, _> = attributes.iter().map(|own| (own.key.clone(), word(&own.value))).collect();
    assert_eq!(all.len(), attributes.len(), "a key comes twice: {attributes:?}");
    all
}

/// `opentelemetry/proto/trace/v1/trace.proto`, in its JSON.
mod wire {
    use super::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Request {
        pub resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct ResourceSpans {
        pub resource: Resource,
        pub scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Resource {
        pub attributes: Vec<KeyValue>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ScopeSpans {
        pub scope: Scope,
        pub spans: Vec<Span>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Scope {
        pub name: String,
        pub version: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Span {
        pub trace_id: String,
        pub span_id: String,
        #[serde(default)]
        pub parent_span_id: String,
        pub flags: u32,
        pub name: String,
        pub kind: i32,
        pub start_time_unix_nano: String,
        pub end_time_unix_nano: String,
        pub attributes: Vec<KeyValue>,
        pub status: Option<Status>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Status {
        pub code: i32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct KeyValue {
        pub key: String,
        pub value: AnyValue,
    }

    #[derive(Debug, Deserialize)]
    pub enum AnyValue {
        #[serde(rename = "stringValue")]
        Text(String),
        #[serde(rename = "intValue")]
        Number(String),
        #[serde(rename = "boolValue")]
        Flag(bool),
    }
}
