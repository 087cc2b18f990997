//! The one request that every probe sends, and how it is sent.

use std::{fs, io};

use super::setting::Setting;
use crate::{
    cli::http::{Answer, Client, Url},
    config::types::MethodName,
};

/// What the operator says of the request.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// The path as the upstream gets it, with `?query` if there is one; one that only
    /// reads, and answers with success. Default: that of ADDRESS.
    #[arg(long)]
    path: Option<String>,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: MethodName,
    /// The body; `@FILE` reads it from a file.
    #[arg(long)]
    body: Option<String>,
    /// `Host`, where tokens are bound to it or the upstream needs it. Default: that of
    /// ADDRESS.
    #[arg(long)]
    host: Option<String>,
}

/// A request without its token.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host.
    pub host: String,
    /// The path alone.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// The field that carries the token.
    pub field: String,
}

impl Arguments {
    /// The request towards this address.
    ///
    /// # Errors
    /// A body's file that cannot be read; a path or host that no request can have.
    pub fn fill(&self, url: &Url, setting: &Setting) -> io::Result<Request> {
        let target = self.path.clone().unwrap_or_else(|| url.target.clone());
        let host = self.host.clone().unwrap_or_else(|| url.authority());
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !target.starts_with('/') || !is_visible(&target) || !is_visible(&host) {
            let told = "a path begins with `/`, and path and host have visible ASCII alone";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        let body = match self.body.as_deref().map(|body| (body, body.strip_prefix('@'))) {
            Some((_, Some(file))) => fs::read(file)?,
            Some((text, None)) => text.as_bytes().to_vec(),
            None => Vec::new(),
        };
        Ok(Request {
            method: self.method.method().as_str().to_owned(),
            scheme: url.scheme(),
            host,
            path,
            query,
            body,
            field: setting.signer.header.to_string(),
        })
    }
}

/// Sends the request with one token or another.
pub struct Sender<'a> {
    /// How.
    pub client: Client,
    /// Where.
    pub url: &'a Url,
    /// What.
    pub request: &'a Request,
}

impl Sender<'_> {
    /// Sends it once, with one field for each value.
    ///
    /// # Errors
    /// No connection, or no answer.
    pub fn send(&self, values: &[String]) -> io::Result<Answer> {
        self.client.exchange(self.url, &self.bytes(values))
    }

    fn bytes(&self, values: &[String]) -> Vec<u8> {
        let Request { method, host, path, query, body, field, .. } = self.request;
        let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut text = format!(
            "{method} {path}{query} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tollgate-prove\r\nAccept: */*\r\nConnection: close\r\n"
        );
        values.iter().for_each(|value| text.push_str(&format!("{field}: {value}\r\n")));
        if !body.is_empty() || matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}
