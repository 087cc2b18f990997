//! The attributes of a span or a resource, as OTLP writes them in JSON.

use std::net::{IpAddr, SocketAddr};

use crate::telemetry::{json, line};

/// A list of keys and values; each value is an object that says its type.
pub(super) struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Attributes<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b',');
        Self::begin_first(out)
    }

    pub(super) fn begin_first(out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(br#""attributes":["#);
        Self { out, is_first: true }
    }

    pub(super) fn end(self) {
        self.out.push(b']');
    }

    /// Up to the value, whose quote is open.
    fn key(&mut self, key: &'static str, kind: &'static str) {
        let open: &[u8] = if self.is_first { br#"{"key":""# } else { br#",{"key":""# };
        self.is_first = false;
        self.out.extend_from_slice(open);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(br#"","value":{""#);
        self.out.extend_from_slice(kind.as_bytes());
        self.out.extend_from_slice(br#"":""#);
    }

    fn close(&mut self) {
        self.out.extend_from_slice(br#""}}"#);
    }

    pub(super) fn bytes(&mut self, key: &'static str, value: &[u8]) {
        self.key(key, "stringValue");
        text(self.out, "", value);
        self.close();
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.bytes(key, value.as_bytes());
    }

    pub(super) fn some(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn ip(&mut self, key: &'static str, ip: IpAddr) {
        self.key(key, "stringValue");
        line::push_ip(self.out, ip);
        self.close();
    }

    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key, "intValue");
        line::push_number(self.out, value);
        self.close();
    }

    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key, "boolValue");
        // Without the quote that is open: JSON has words for these.
        self.out.pop();
        self.out.extend_from_slice(if value { b"true}}" } else { b"false}}" });
    }

    /// The two attributes of an address.
    pub(super) fn address(&mut self, of: &'static str, address: SocketAddr) {
        let (host, port) = match of {
            "server" => ("server.address", "server.port"),
            _ => ("network.peer.address", "network.peer.port"),
        };
        self.ip(host, address.ip().to_canonical());
        self.number(port, u64::from(address.port()));
    }

    pub(super) fn status(&mut self, status: u16) {
        if status != 0 {
            self.number("http.response.status_code", u64::from(status));
        }
    }

    /// `error.type`: a word, or the status of an answer that is an error.
    pub(super) fn error(&mut self, word: Option<&str>, status: Option<u16>) {
        match (word, status) {
            (Some(word), _) => self.text("error.type", word),
            (None, Some(status @ 1..)) => {
                self.key("error.type", "stringValue");
                line::push_number(self.out, u64::from(status));
                self.close();
            }
            (None, Some(0)) => self.text("error.type", OTHER),
            (None, None) => {}
        }
    }
}

/// A key with the quote that opens its value, and the value, cut.
pub(super) fn text(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    json::push_text(out, json::cut(value, line::MAX_TEXT));
}

/// What OpenTelemetry's conventions call everything that has no word of its own.
pub(super) const OTHER: &str = "_OTHER";
