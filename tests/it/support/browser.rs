//! A headless Chromium, through ChromeDriver's HTTP.

use std::{net::SocketAddr, process::Command};

use serde_json::{Value, json};

use super::{Http1, PATIENCE, Request, eventually, process::Process};

/// A browser with one page. It ends with this value.
pub struct Browser {
    driver: Process,
    address: SocketAddr,
    session: String,
    pid: i32,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a page; panics without a browser, which `make test` installs.
    pub async fn open(url: &str) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let driver = Process::spawn_leader(command);
        let address = eventually(PATIENCE, || async { port(&driver.stdout()) }).await;
        let profile = tempfile::tempdir().unwrap();
        let own = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<_> = FLAGS.iter().copied().chain([own.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let made = ask(address, Request::post("/session", wanted.to_string())).await;
        let browser = Self {
            session: made["sessionId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned(),
            pid: made["capabilities"]["goog:processID"].as_i64().unwrap().try_into().unwrap(),
            driver,
            address,
            _profile: profile,
        };
        browser.post("url", json!({ "url": url })).await;
        browser
    }

    /// What this JavaScript returns, run as a function in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The text of the first element of this selector as a person sees it; empty
    /// without one.
    pub async fn text(&self, selector: &str) -> String {
        let found = format!("return (document.querySelector(`{selector}`) || {{}}).innerText || ''");
        self.run(&found).await.as_str().unwrap().to_owned()
    }

    /// Waits until the text of an element has this.
    pub async fn shows(&self, selector: &str, text: &str) {
        let has = super::within(PATIENCE, || async { self.text(selector).await.contains(text) }).await;
        if has.is_none() {
            panic!("`{text}` is not in {selector}: {}", self.text(selector).await);
        }
    }

    /// A command of the developer tools.
    pub async fn tools(&self, command: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// What the browser complained of since the last time.
    pub async fn complaints(&self) -> Vec<Value> {
        self.post("se/log", json!({ "type": "browser" })).await.as_array().unwrap().clone()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}/{path}", self.session);
        ask(self.address, Request::post(&path, body.to_string())).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver starts it in a group of its own.
        // SAFETY: a plain system call. The driver, which would have waited for it, runs.
        if self.driver.ended().is_none() {
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }
}

async fn ask(driver: SocketAddr, request: Request) -> Value {
    let request = request.host("127.0.0.1").header("content-type", "application/json").honest();
    let answer = Http1::open(driver).await.send(&request).await;
    let told: Value = answer.json();
    assert_eq!(answer.status, 200, "{told}");
    told["value"].clone()
}

/// As in `ChromeDriver was started successfully on port 40123.`
fn port(told: &str) -> Option<SocketAddr> {
    let (_, port) = told.split_once("successfully on port ")?;
    let (port, _) = port.split_once('.')?;
    Some(([127, 0, 0, 1], port.parse().unwrap()).into())
}

/// Without a sandbox, which root cannot have, and without words to anyone but the gateway.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
