//! Tollgate: an API gateway for EC2 fleets behind an AWS Network Load Balancer,
//! built on Cloudflare's Pingora with BoringSSL.
//!
//! This page is the architecture. Whoever is paged reads it once.
//!
//! # The five bets
//!
//! 1. **One immutable [`snapshot::Snapshot`], swapped whole.** A request pins one
//!    from its first byte to its log line. A reload builds a complete new one or
//!    changes nothing.
//! 2. **Decisions are pure functions** of snapshot, live view, request and time:
//!    the [gate], the [route], the pick of an [endpoint](upstream). The data path,
//!    `tollgate check` and `tollgate explain` call the same ones.
//! 3. **What traffic taught us outlives the snapshot**: [`live::LiveState`].
//! 4. **The edge is ours**: accept, TLS, deadlines, age and close happen in
//!    [`edge`], in front of Pingora's `HttpProxy`; then one `ProxyHttp`
//!    implementation, [`gateway::Gateway`], serves every request.
//! 5. **A failed change never costs service**: [`lifecycle::Reloader`].
//!
//! # The floors
//!
//! A module imports only what stands below it; modules of one floor do not know
//! each other. `tests/floors.rs` reads the imports and fails otherwise.
//!
//! ```text
//!   cli                      one verb a file
//!   server                   puts Pingora's services together
//!   admin                    readiness, metrics, the operator's socket, the page
//!   lifecycle                reload, signals, sockets, the end
//!   gateway                  `impl ProxyHttp`: phases, attempts, answers, records
//!   snapshot                 everything that rules a request
//!   live                     what outlives a snapshot
//!   edge                     a connection's way
//!   gate                     the first look at a request, pure and fuzzed
//!   route  upstream          the subjects
//!   limit  tls  identity  jwt
//!   outward                  what the gateway's own errands need: TLS, a document
//!   telemetry                metrics, access log, process log, ids
//!   config                   what operators write
//! ```
//!
//! # A connection's way
//!
//! Accept (Pingora's `Service`, 4 KiB buffers) → [`edge::Caps`] of the process →
//! the [PROXY header](edge::proxy_protocol) → the cap of the client it names → the
//! listener's TLS handshake with its deadline, its certificate from the current snapshot →
//! a watch over the connection: header deadline, pace, age with jitter, drain and
//! its ceiling → requests, whose first lines, chunks and HTTP/2 frames are looked at
//! before Pingora sees them → a lingering close. Whatever ends it early is counted
//! by reason, once.
//!
//! # Who is there
//!
//! [`upstream::discovery`] looks names up by their time to live, and at files, on a
//! thread of its own; what they stand for is in [`upstream::Found`], from which a
//! snapshot takes its endpoints. A change makes a snapshot with other endpoints and
//! nothing else, without a reload. A start and a reload wait, for 3 s at most, until
//! names that are new were looked up once.
//!
//! # What changes by itself, and what by a word
//!
//! The configuration changes by a word alone: [`lifecycle::Reloader`] builds the next
//! snapshot, tells by a [`lifecycle::Plan`] what is different, and swaps. It keeps the
//! one before, whole, for the way back; what is reloaded until it is confirmed goes that
//! way by itself. Endpoints, and certificates whose files change, make a snapshot of the
//! same generation.
//!
//! # Who follows
//!
//! [`lifecycle::Upgrader`] starts the program that is installed now and gives it the
//! listening sockets and what is known, a [`lifecycle::Handover`]. The new process is a
//! [`lifecycle::Heir`] until the old one lets it serve: it begins as any other, takes
//! sockets by their address ([`lifecycle::Sockets`]), and says that it can serve when a
//! connection came through its workers ([`lifecycle::Pulse`]), which feeds systemd's
//! watchdog too. systemd's store and socket units are another way for the same sockets.
//!
//! # Who can serve
//!
//! [`upstream::health`] asks endpoints on a thread of its own and writes into
//! what outlives snapshots; the pick reads it. A start and a reload wait, for 2 s
//! at most, until endpoints that nobody asked before were asked once.
//!
//! Connections to upstreams of HTTP/1 wait for their next request in [`upstream::Idle`];
//! those of HTTP/2 are Pingora's.
//!
//! # Who vouches
//!
//! [`jwt`] signs a token for a request, or finds one that it signed for another with
//! the same claims. Which key signs follows from what time it is: whoever signs looks.
//! What is known of keys is in [`jwt::JwtLive`], which outlives snapshots, so that a
//! reload starts no wait again and a key whose file is gone stays published.
//!
//! # Who asks
//!
//! [`jwt::trust`] verifies the tokens of identity providers, with keys that it fetches on a
//! thread of its own: a request waits for none, but one whose key nobody knows yet. Keys
//! and what was verified with them are in [`jwt::trust::TrustLive`], which outlives
//! snapshots.
//!
//! # Who gets in
//!
//! [`gateway::decide`] asks those who vouch for a route's requests
//! ([`identity::Requirement`]): [`jwt::trust`] for tokens, [`identity::ApiKeys`],
//! [`identity::CertificateConsumers`]. Only where a token's key is not there yet does a
//! request wait, once, and is decided anew. What is known of who asks is a
//! [`identity::Consumer`]; routes, limits and signers ask it for a name, scopes, claims.
//!
//! # How fast, and how much at once
//!
//! [`limit`] decides by a key's hash alone; [`gateway::limits`] takes the key from the
//! request. What is counted is in [`limit::LimitLive`], which outlives snapshots: a
//! limit keeps it as long as all that it depends on stays. A request's places are in
//! its context and are given back when that is dropped.
//! What the gateways of a fleet count together, [`limit::store`] settles up in a Redis,
//! on a thread of its own: a [`limit::Lease`] is asked like any other limit.
//!
//! # What is recorded
//!
//! Of a request that is sampled, [`gateway::spans`] notes the parts, and
//! [`telemetry::spans`] sends them to a collector, on a thread of its own that begins with
//! the first configuration that wants it.
//!
//! # A request's way
//!
//! | phase | what happens | may end with |
//! |---|---|---|
//! | `new_ctx` | pin the snapshot, note the instant | |
//! | `early_request_filter` | the gate; request id and trace; who asks | |
//! | `request_filter` | refusal of the gate; server name's policy; VPC endpoint; route; who vouches; who may use it; limits; body cap; first pick | 400 401 403 404 405 413 414 421 429 431 503 |
//! | `upstream_peer` | the endpoint of this attempt, every timeout set | 503 504 |
//! | `upstream_request_filter` | rewrite, the route's header edits, then what only the gateway sets | 400 |
//! | `request_body_filter` | the body cap | 413 |
//! | `fail_to_connect`, `error_while_proxy` | another attempt, if it is safe | |
//! | `response_filter` | fields of the upstream's connection off, how the client stands at its limits, the route's header edits, request id | |
//! | `fail_to_proxy` | the one place where a transport error becomes a status | 408 502 503 504 |
//! | `logging` | metrics and one access-log line; a cut request's line is written by its context's `Drop` | |

pub mod admin;
pub mod cli;
pub mod config;
pub mod edge;
pub mod gate;
pub mod gateway;
pub mod identity;
pub mod jwt;
pub mod lifecycle;
pub mod limit;
pub mod live;
pub mod outward;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod tls;
pub mod upstream;
