//! Rules for `authentication[].client_certificate`.

use super::At;
use crate::config::client_certificate::{CertificateConsumerSpec, ClientCertificateSpec};

pub(super) fn check(spec: &ClientCertificateSpec, at: &mut At<'_>) {
    if spec.consumers.is_empty() {
        let text = "no certificate is anybody's; write at least one entry of `names` and `consumer`";
        at.error("client_certificate.consumers", text);
    }
    for (index, consumer) in spec.consumers.iter().enumerate() {
        check_consumer(consumer, &format!("client_certificate.consumers[{index}]"), at);
    }
}

fn check_consumer(consumer: &CertificateConsumerSpec, key: &str, at: &mut At<'_>) {
    if consumer.names.is_empty() {
        let text = "no certificate is theirs; write a name, as `spiffe://example.org/ns/shop/sa/orders`";
        at.error(format!("{key}.names"), text);
    }
    match (&consumer.consumer, consumer.consumer_from) {
        (None, None) => {
            let text = "nothing says who they are; write `consumer`, or `consumer_from` for a name of each one's own";
            at.error(key, text);
        }
        (Some(_), Some(_)) => {
            at.error(
                format!("{key}.consumer_from"),
                "`consumer` says who they are already; write one of both",
            );
        }
        _ => {}
    }
    for (nth, scope) in consumer.scopes.iter().enumerate() {
        let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
        if scope.is_empty() || !scope.bytes().all(allowed) {
            let text =
                format!("`{scope}` is not a scope; write visible ASCII without space, quote and backslash");
            at.error(format!("{key}.scopes[{nth}]"), text);
        }
    }
}
