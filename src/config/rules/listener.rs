//! Rules for `listeners`.

use super::{At, Rules};
use crate::config::{
    listener::{
        ClientAuthMode, ClientAuthSpec, ExpiredCrl, ListenerSpec, ProxyMode, ProxyProtocolSpec, TlsSpec,
    },
    types::ByteSize,
};

impl Rules for ListenerSpec {
    fn check(&self, at: &mut At<'_>) {
        if let Some(tls) = &self.tls {
            check_tls(tls, at);
        }
        if let Some(proxy) = &self.proxy_protocol {
            check_proxy_protocol(proxy, at);
        }
    }
}

fn check_proxy_protocol(proxy: &ProxyProtocolSpec, at: &mut At<'_>) {
    let is_on = proxy.mode != ProxyMode::Off && at.is_whole("proxy_protocol");
    if is_on && proxy.trusted.is_empty() {
        let text = "no network is trusted; write those of the load balancer, as `[10.0.0.0/16]`";
        at.error("proxy_protocol.trusted", text);
    }
    for (index, network) in proxy.trusted.iter().enumerate().filter(|(_, net)| is_on && net.prefix_len() == 0)
    {
        let text = format!(
            "`{network}` lets whoever reaches the port say who it is; write the networks of the load balancer, or guard the port"
        );
        at.warn(format!("proxy_protocol.trusted[{index}]"), text);
    }
    // A header of version 2 with paths of sockets has 232 bytes.
    at.range("proxy_protocol.max_header", proxy.max_header, ByteSize::new(256), ByteSize::new(64 << 10));
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
        if at.is_whole("tls.client_auth") {
            check_client_auth(auth, index, at);
        }
    }
}

fn check_client_auth(auth: &ClientAuthSpec, index: usize, at: &mut At<'_>) {
    let key = |name: &str| format!("tls.client_auth[{index}].{name}");
    if auth.mode != ClientAuthMode::Off {
        if auth.ca.is_none() {
            at.error(key("ca"), "nobody's clients are accepted; write the file of their authorities");
        }
        if auth.expired_crl != ExpiredCrl::Refuse && auth.crl.is_empty() {
            at.error(
                key("expired_crl"),
                "there is no list that could expire; write `crl`, or remove the key",
            );
        }
        return;
    }
    let written =
        [("ca", auth.ca.is_some()), ("crl", !auth.crl.is_empty()), ("names", !auth.names.is_empty())];
    for (name, _) in written.into_iter().filter(|(_, is_there)| *is_there) {
        let text = "no certificate is asked for; remove the key, or write `optional` or `required`";
        at.error(key(name), text);
    }
}
