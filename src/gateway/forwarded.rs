//! What the upstream is told of where a request came from.
//!
//! Owns every field that speaks of it. Always holds: a field whose sender does
//! not count for it ([`Believed`]) is gone before a route's own changes, or is
//! written anew after them.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_proxy::Session;

use super::{context::RequestContext, headers::append_list, marks::Marks};
use crate::{
    config::server::ForwardedField::{self, *},
    identity::Believed,
    tls::TlsFacts,
};

/// Takes off what the request's sender says of itself and cannot know, but for
/// what [`tell`] writes over.
pub fn strip(headers: &mut HeaderMap, ctx: &RequestContext) {
    if ctx.head.marks.any(Marks::CLAIMS) {
        strip_claims(headers, ctx.believed);
    }
}

fn strip_claims(headers: &mut HeaderMap, believed: Believed) {
    let may_stay: &[(&HeaderName, ForwardedField)] = &[
        (&header::FORWARDED, Forwarded),
        (&X_REAL_IP, XRealIp),
        (&X_FORWARDED_FOR, XForwardedFor),
        (&X_FORWARDED_PROTO, XForwardedProto),
        (&X_FORWARDED_HOST, XForwardedHost),
        (&X_FORWARDED_PORT, XForwardedPort),
        (&X_FORWARDED_PREFIX, XForwardedPrefix),
    ];
    let stays = |name: &HeaderName| may_stay.iter().any(|(own, field)| *own == name && believed.has(*field));
    let claims = |name: &&HeaderName| {
        let claim = may_stay.iter().any(|(own, _)| own == name)
            || [&X_AMZN_VPCE_ID, &CLIENT_CERT, &CLIENT_CERT_CHAIN].contains(name)
            || OTHER_REQUESTS.contains(&name.as_str())
            || name.as_str().starts_with("x-forwarded-");
        claim && !stays(name)
    };
    let gone: Vec<_> = headers.keys().filter(claims).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Writes what the gateway itself knows: to the end of what is believed, else in
/// the place of it.
pub fn tell(headers: &mut HeaderMap, ctx: &RequestContext, secure: bool) {
    let Some(connection) = &ctx.connection else { return };
    let believed = ctx.believed;
    if believed.has(XForwardedFor) {
        append_list(headers, &X_FORWARDED_FOR, &connection.client_value);
    } else {
        headers.insert(&X_FORWARDED_FOR, connection.client_value.clone());
    }
    if believed.has(Forwarded) && headers.contains_key(header::FORWARDED) {
        append_list(headers, &header::FORWARDED, &element(connection.caller.client));
    }
    if let Some(endpoint) = &connection.caller.vpc_endpoint
        && let Ok(endpoint) = HeaderValue::from_str(endpoint)
    {
        headers.insert(&X_AMZN_VPCE_ID, endpoint);
    }
    let scheme = if secure { HTTPS } else { HTTP };
    put(headers, &X_FORWARDED_PROTO, scheme, believed.has(XForwardedProto));
    if let Some(host) = &ctx.head.host {
        put(headers, &X_FORWARDED_HOST, host.clone(), believed.has(XForwardedHost));
    }
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue, keep: bool) {
    if keep {
        headers.entry(name).or_insert(value);
    } else {
        headers.insert(name, value);
    }
}

/// Tells the upstream the client's certificate (RFC 9440), if it wants to know and there
/// is one that was verified.
pub fn tell_certificate(headers: &mut HeaderMap, session: &Session, ctx: &RequestContext) {
    if !ctx.upstream().is_some_and(|upstream| upstream.wants_certificate) {
        return;
    }
    let facts = session.digest().and_then(|d| d.ssl_digest.as_ref()?.extension.get::<TlsFacts>());
    if let Some(field) = facts.and_then(TlsFacts::client_cert) {
        headers.insert(&CLIENT_CERT, field.clone());
    }
}

/// RFC 7239: an IPv6 address stands in brackets and quotes.
fn element(client: SocketAddr) -> HeaderValue {
    let text = match client.ip().to_canonical() {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("for=unknown"))
}

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Through which VPC endpoint, in the words of AWS's own gateways.
static X_AMZN_VPCE_ID: HeaderName = HeaderName::from_static("x-amzn-vpce-id");

/// By which some servers take a request for another one than that which was let in: of
/// another target, or of another method.
const OTHER_REQUESTS: [&str; 5] =
    ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method", "x-method-override"];

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::server::ForwardedSpec, identity::TrustedHops};

    const CLAIMS: [&str; 14] = [
        "client-cert",
        "client-cert-chain",
        "forwarded",
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-user",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-amzn-vpce-id",
    ];

    fn left(believed: Believed) -> Vec<String> {
        let value = HeaderValue::from_static("6.6.6.6");
        let mut headers: HeaderMap =
            CLAIMS.iter().map(|n| (HeaderName::from_static(n), value.clone())).collect();
        headers.insert("x-tenant", value);
        strip_claims(&mut headers, believed);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn no_claim_of_a_client_is_left() {
        assert_eq!(left(Believed::NOTHING), ["x-tenant"]);
    }

    #[test]
    fn of_a_trusted_hop_only_what_it_writes_is_left() {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let spec = ForwardedSpec { trusted, fields: vec![XForwardedFor, XForwardedPort, XRealIp] };

        let believed = TrustedHops::new(&spec).believe("10.0.0.1".parse().unwrap());

        assert_eq!(left(believed), ["x-forwarded-for", "x-forwarded-port", "x-real-ip", "x-tenant"]);
    }

    #[test]
    fn an_ipv6_element_is_quoted() {
        assert_eq!(element("[2001:db8::1]:5".parse().unwrap()), "for=\"[2001:db8::1]\"");
    }
}
