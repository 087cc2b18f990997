//! Rules for `listeners`.

use super::{At, Rules};
use crate::config::listener::{ListenerSpec, TlsSpec};

impl Rules for ListenerSpec {
    fn check(&self, at: &mut At<'_>) {
        if let Some(tls) = &self.tls {
            check_tls(tls, at);
        }
    }
}

fn check_tls(tls: &TlsSpec, at: &mut At<'_>) {
    let none = tls.certificates.is_empty() && tls.certificate_directory.is_none();
    if none && at.is_whole("tls") {
        at.error("tls", "there is no certificate; write `certificates` or `certificate_directory`");
    }
    for (index, auth) in tls.client_auth.iter().enumerate() {
        let key = format!("tls.client_auth[{index}].hosts");
        if auth.hosts.is_empty() && at.is_whole("tls.client_auth") {
            at.error(key, "no host is named; write at least one, or remove the key for every host");
        }
    }
}
