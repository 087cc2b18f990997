//! Rules for `fleet`.

use std::collections::HashMap;

use super::{At, Rules, upstream::is_server_name};
use crate::config::{
    fleet::{FleetSpec, StoreSpec},
    types::Span,
};

impl Rules for FleetSpec {
    fn check(&self, at: &mut At<'_>) {
        if let Some(gateways) = self.gateways {
            at.range("gateways", gateways, 1, MOST_GATEWAYS);
        }
        if self.gateways.is_some() && self.gateways_file.is_some() {
            let text = "the gateways are counted by `gateways` already; write one of the two";
            at.error("gateways_file", text);
        }
        if self.gateways_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            at.error("gateways_file", "no path is written; write one, as `fleet.yaml`, or remove the key");
        }
        if let Some(store) = &self.store {
            check_store(store, at);
        }
    }
}

fn check_store(store: &StoreSpec, at: &mut At<'_>) {
    if at.is_whole("store.addresses") {
        check_addresses(store, at);
    }
    at.range("store.exchange_every", store.exchange_every, Span::millis(10), Span::secs(5));
    at.range("store.timeout", store.timeout, Span::millis(10), Span::secs(10));
    check_login(store, at);
    if let Some(name) = store.tls.as_ref().and_then(|tls| tls.server_name.as_ref())
        && !is_server_name(name)
    {
        let text =
            format!("`{name}` is not a host name; write the name in the certificate, as `redis.internal`");
        at.error("store.tls.server_name", text);
    }
}

fn check_addresses(store: &StoreSpec, at: &mut At<'_>) {
    let addresses = &store.addresses;
    if addresses.is_empty() {
        at.error("store.addresses", "there is no address; write at least one, as `redis.internal:6379`");
    }
    if addresses.len() > MOST_ADDRESSES {
        let text = format!(
            "these are more than {MOST_ADDRESSES}; write some of them: the others are found by those"
        );
        at.error("store.addresses", text);
    }
    if addresses.len() > 1 && !store.cluster && at.is_whole("store.cluster") {
        let text = "several addresses are those of a cluster; write `cluster: true` too, or the one address of the primary";
        at.error("store.addresses", text);
    }
    let mut seen = HashMap::new();
    for (index, address) in addresses.iter().enumerate() {
        let first = *seen.entry(address).or_insert(index);
        if first != index {
            let text = format!("`{address}` is addresses[{first}] already; write it once");
            at.error(format!("store.addresses[{index}]"), text);
        }
    }
}

fn check_login(store: &StoreSpec, at: &mut At<'_>) {
    let password = store.password.as_ref().map(|password| password.tell());
    let given = [("store.username", store.username.as_deref()), ("store.password", password)];
    for (key, text) in given.iter().filter_map(|(key, text)| Some((key, (*text)?))) {
        if text.is_empty() {
            at.error(key, "nothing is written here; write it, or remove the key");
        } else if text.len() > MOST_BYTES {
            at.error(key, format!("this is longer than {MOST_BYTES} bytes; write less"));
        }
    }
    if store.username.is_some() && password.is_none() && at.is_whole("store.password") {
        at.error(
            "store.username",
            "nobody logs in without a password; write `password` too, or remove the key",
        );
    }
    let leaves = store.addresses.iter().find(|address| !address.is_loopback());
    if let (Some(_), None, Some(address), true) = (password, &store.tls, leaves, at.is_whole("store.tls")) {
        let text = format!("it goes to `{address}` for everyone on the way to read; write `tls: {{}}` too");
        at.warn("store.password", text);
    }
}

const MOST_GATEWAYS: u32 = 10_000;
const MOST_ADDRESSES: usize = 64;
/// Of a name or a password; beyond it is a mistake.
const MOST_BYTES: usize = 1024;
