//! What a connection pays before its handshake: the PROXY header.

use std::hint::black_box;

use tollgate::edge::proxy_protocol::{Header, Parsed, parse};

use crate::{Bench, allocations, promise};

/// What must not allocate.
pub fn promises() -> bool {
    let kept = headers().map(|(name, header)| {
        assert!(
            matches!(parse(&header, MAX), Parsed::Whole(Header { length, .. }) if length == header.len())
        );
        promise(
            &format!("PROXY header, {name}"),
            allocations(|| {
                black_box(parse(black_box(&header), MAX));
            }),
        )
    });
    kept.iter().all(|kept| *kept)
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("proxy_header");
    for (name, header) in headers() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| matches!(parse(black_box(&header), MAX), Parsed::Whole(_)));
        });
    }
    group.finish();
}

/// The last one is what an NLB sends for a client of a VPC endpoint.
fn headers() -> [(&'static str, Vec<u8>); 5] {
    let v4 = [203, 0, 113, 7, 10, 0, 0, 5, 0x12, 0x67, 1, 0xbb];
    let endpoint = b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9";
    let checksum = [3, 0, 4, 0xfa, 0x52, 0x72, 0xe1];
    let noop = [4, 0, 3, 0, 0, 0];
    [
        ("v1/tcp4", b"PROXY TCP4 203.0.113.7 10.0.0.5 4711 443\r\n".to_vec()),
        ("v1/tcp6", b"PROXY TCP6 2001:db8:1:2:3:4:5:7 2001:db8::5 4711 443\r\n".to_vec()),
        ("v2/tcp4", binary(&v4, &[])),
        ("v2/endpoint", binary(&v4, endpoint)),
        ("v2/endpoint, checksum", binary(&v4, &[&checksum[..], endpoint, &noop].concat())),
    ]
}

fn binary(addresses: &[u8], values: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len() + values.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], addresses, values].concat()
}

/// The default.
const MAX: usize = 4096;
