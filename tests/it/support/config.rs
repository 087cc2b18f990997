//! The files of a gateway under test: what a test wrote, and around it what
//! every test needs.
//!
//! Owns placeholders and default sections. A section that the test wrote is
//! taken as it is; one that it did not write gets a default:
//! - `listeners`: `plain` at `{plain}`, and with a certificate `public` at `{tls}`;
//! - `readiness` and `admin` at `{readiness}`, `{metrics}` and a socket in `{dir}`;
//! - `runtime`: two threads, whatever the machine has;
//! - `upstreams`: one for each origin, of its name;
//! - `routes`: everything to the only origin, if there is one alone.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{certs::Issued, origin::Origin, port::Port};

/// A folder with a configuration.
pub struct Files {
    folder: tempfile::TempDir,
    placeholders: Vec<(String, String)>,
    origins: Vec<(String, Origin)>,
    fragments_route: bool,
    ports: Vec<Port>,
    /// The `tls` section of the listener `public`, if there is one.
    tls: Option<String>,
}

impl Files {
    /// A folder without a configuration yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let placeholders = vec![("{dir}".to_owned(), folder.path().display().to_string())];
        let mut files = Self {
            folder,
            placeholders,
            origins: Vec::new(),
            fragments_route: false,
            ports: Vec::new(),
            tls: None,
        };
        ["plain", "tls", "metrics", "readiness"].iter().for_each(|name| files.port(name));
        files
    }

    /// `{name}` becomes a free address.
    pub fn port(&mut self, name: &str) {
        let port = Port::reserve();
        self.placeholders.push((format!("{{{name}}}"), port.address.to_string()));
        self.ports.push(port);
    }

    /// `{name}` becomes the origin's address, `{name_tls}` the one with TLS.
    pub fn origin(&mut self, name: &str, origin: &Origin) {
        self.placeholders.push((format!("{{{name}}}"), origin.address.to_string()));
        if let Some(address) = origin.tls_address {
            self.placeholders.push((format!("{{{name}_tls}}"), address.to_string()));
        }
        self.origins.push((name.to_owned(), origin.clone()));
    }

    /// Writes `tls.pem` and `tls.key`, which the default listener at `{tls}` takes.
    pub fn certificate(&mut self, issued: &Issued) {
        self.pair("tls", issued);
        self.tls("{ certificates: [{ chain: tls.pem, key: tls.key }] }");
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn pair(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.chain);
        self.write_key(&format!("{name}.key"), &issued.key);
    }

    /// The default listener at `{tls}` takes this as its `tls` section.
    pub fn tls(&mut self, section: &str) {
        self.tls = Some(section.to_owned());
    }

    /// Writes a file that only its owner may read.
    pub fn write_key(&self, name: &str, text: &str) {
        self.write(name, text);
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// What a placeholder stands for; panics when there is none of this name.
    pub fn address(&self, name: &str) -> std::net::SocketAddr {
        let wanted = format!("{{{name}}}");
        let found = self.placeholders.iter().find(|(key, _)| *key == wanted);
        found.unwrap_or_else(|| panic!("no {wanted}")).1.parse().unwrap()
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The main file.
    pub fn main(&self) -> PathBuf {
        self.path("tollgate.yaml")
    }

    /// Writes any file, with placeholders filled in; folders are made.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        // As deployments do it: who reads it meanwhile reads a whole file.
        let part = path.with_extension("part");
        std::fs::write(&part, self.fill(text)).unwrap();
        std::fs::rename(part, path).unwrap();
    }

    /// Writes a fragment.
    pub fn write_fragment(&mut self, name: &str, text: &str) {
        let text = dedent(text);
        self.fragments_route |= has_section(&text, "routes");
        self.write(&format!("conf.d/{name}"), &text);
    }

    /// Writes the main file with its defaults.
    pub fn write_main(&self, text: &str) {
        self.write("tollgate.yaml", &self.complete(&dedent(text)));
    }

    /// Fills in the placeholders. `{name: …}` and `{7}` are YAML and patterns.
    pub fn fill(&self, text: &str) -> String {
        self.placeholders.iter().fold(text.to_owned(), |text, (key, value)| text.replace(key, value))
    }

    fn complete(&self, text: &str) -> String {
        let mut whole = text.to_owned();
        let mut section = |name: &str, text: String| {
            if !has_section(&whole, name) && !text.is_empty() {
                whole.push_str(&format!("\n{name}:{text}\n"));
            }
        };
        section("listeners", self.listeners());
        section("readiness", " { address: \"{readiness}\" }".to_owned());
        section("admin", " { socket: admin.sock, metrics: \"{metrics}\" }".to_owned());
        section("runtime", " { threads: 2 }".to_owned());
        section("upstreams", self.upstreams());
        section("routes", self.routes());
        whole
    }

    fn listeners(&self) -> String {
        let mut text = "\n  - { name: plain, address: \"{plain}\" }".to_owned();
        if let Some(section) = &self.tls {
            text.push_str(&format!("\n  - name: public\n    address: \"{{tls}}\"\n    tls: {section}"));
        }
        text
    }

    fn upstreams(&self) -> String {
        let one = |(name, _): &(String, Origin)| {
            format!("\n  - {{ name: {name}, endpoints: [{{ address: \"{{{name}}}\" }}] }}")
        };
        self.origins.iter().map(one).collect()
    }

    fn routes(&self) -> String {
        match &self.origins[..] {
            [(only, _)] if !self.fragments_route => {
                format!("\n  - {{ name: all, to: [{{ upstream: {only} }}] }}")
            }
            _ => String::new(),
        }
    }
}

fn has_section(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

/// Takes away the indentation that all lines share.
fn dedent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let shared = lines.map(indent).min().unwrap_or_default();
    text.lines().map(|line| line.get(shared..).unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn a_written_section_stands_and_a_missing_one_gets_its_default() {
    let files = Files::new();

    files.write_main("\n        admin:\n          socket: mine.sock\n        ");

    let main = std::fs::read_to_string(files.main()).unwrap();
    assert!(main.contains("admin:\n  socket: mine.sock\n") && !main.contains("admin.sock"), "{main}");
    assert!(main.contains(&format!("address: \"{}\"", files.address("plain"))), "{main}");
    assert!(!main.contains("routes:"), "{main}");
}
