//! The parser: what is a header, what is not, and what is not yet.

mod encode;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use proptest::prelude::*;

use self::encode::V2;
use super::{oracle::proxy_protocol, *};

const MAX: usize = 4096;
const VPCE: &str = "vpce-08d2bf15fac5001c9";

fn whole(bytes: &[u8]) -> Header<'_> {
    match parse(bytes, MAX) {
        Parsed::Whole(header) => header,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn flaw(bytes: &[u8]) -> Flaw {
    match parse(bytes, MAX) {
        Parsed::Bad(flaw) => flaw,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn client_of(bytes: &[u8]) -> Option<String> {
    whole(bytes).client.map(|client| client.to_string())
}

fn good() -> Vec<Vec<u8>> {
    let unix = V2 { version_command: 0x21, family: 0x31, addresses: vec![b'a'; 216], tlvs: Vec::new() };
    let local = V2 { version_command: 0x20, family: 0, addresses: Vec::new(), tlvs: Vec::new() };
    let unspecified =
        V2 { version_command: 0x21, family: 0, addresses: b"whatever".to_vec(), tlvs: Vec::new() };
    vec![
        b"PROXY TCP4 203.0.113.7 10.0.0.5 4711 443\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 0 1\r\n".to_vec(),
        b"PROXY TCP6 :: :: 0 0\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:DB8:0:0:0::1 65535 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n".to_vec(),
        V2::v4().bytes(),
        V2::v4().endpoint(VPCE).tlv(3, [0; 4]).tlv(4, [0; 20]).bytes(),
        V2::tcp("[2001:db8::7]:4712", "[2001:db8::1]:443").endpoint(VPCE).bytes(),
        local.raw(),
        V2 { addresses: vec![0; 40], ..local }.raw(),
        unspecified.raw(),
        unix.tlv(2, "api.example.com").raw(),
    ]
}

#[test]
fn every_beginning_of_a_header_waits_for_no_more_than_the_header() {
    for header in good() {
        for length in 0..header.len() {
            let Parsed::Incomplete(missing) = parse(&header[..length], MAX) else {
                panic!("{:?} of {}", parse(&header[..length], MAX), header[..length].escape_ascii());
            };
            assert!(
                missing > 0 && length + missing <= header.len(),
                "{missing} {}",
                header[..length].escape_ascii()
            );
        }
        let followed = [&header[..], b"\x16\x03\x01GET / HTTP/1.1\r\n"].concat();
        assert_eq!(whole(&followed).length, header.len(), "{}", header.escape_ascii());
        proxy_protocol(&followed);
    }
}

#[test]
fn a_header_tells_the_client_of_either_family() {
    assert_eq!(client_of(&good()[0]).as_deref(), Some("203.0.113.7:4711"));
    assert_eq!(client_of(&good()[3]).as_deref(), Some("[2001:db8::7]:65535"));
    assert_eq!(client_of(&V2::v4().bytes()).as_deref(), Some("203.0.113.7:4711"));
    assert_eq!(client_of(&good()[8]).as_deref(), Some("[2001:db8::7]:4712"));
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_ipv4() {
    let text = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n";
    let binary = V2::tcp("[::ffff:203.0.113.7]:1", "[::1]:2").bytes();

    assert_eq!(client_of(text).as_deref(), Some("203.0.113.7:1"));
    assert_eq!(client_of(&binary).as_deref(), Some("203.0.113.7:1"));
}

#[test]
fn who_has_no_address_is_nobody() {
    for index in [4, 5, 9, 10, 11, 12] {
        assert_eq!(client_of(&good()[index]), None, "{}", good()[index].escape_ascii());
    }
    // What stands behind LOCAL is to be discarded, well-formed or not.
    let local = V2 { version_command: 0x20, ..V2::v4().endpoint(VPCE).tlv(3, [1; 4]) };
    assert_eq!((whole(&local.raw()).client, whole(&local.raw()).vpc_endpoint), (None, None));
    assert_eq!(whole(&V2 { family: 0xff, ..local }.raw()).client, None);
}

#[test]
fn text_has_one_spelling() {
    for bad in [
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN \r \r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        "PROXY TCP6 [::1] ::2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 0x1 2\r\n",
    ] {
        assert_eq!(flaw(bad.as_bytes()), Flaw::Malformed, "{bad:?}");
        proxy_protocol(bad.as_bytes());
    }
}

#[test]
fn text_is_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "a".repeat(length - 16));

    assert_eq!(whole(line(107).as_bytes()).length, 107);
    assert_eq!(flaw(line(108).as_bytes()), Flaw::TooLarge);
    // Known before its end has come.
    assert_eq!(flaw(&line(200).as_bytes()[..107]), Flaw::TooLarge);
}

#[test]
fn binary_knows_its_versions_commands_and_families() {
    let with = |version_command, family| V2 { version_command, family, ..V2::v4() }.raw();
    for version in [0x01, 0x11, 0x31, 0xf1] {
        assert_eq!(flaw(&with(version, 0x11)), Flaw::Version, "{version:#x}");
    }
    for command in [0x22, 0x2f] {
        assert_eq!(flaw(&with(command, 0x11)), Flaw::Malformed, "{command:#x}");
    }
    // Not the datagrams either: this is a stream.
    for family in [0x01, 0x02, 0x10, 0x12, 0x13, 0x20, 0x22, 0x30, 0x32, 0x41, 0xff] {
        assert_eq!(flaw(&with(0x21, family)), Flaw::Malformed, "{family:#x}");
    }
}

#[test]
fn binary_is_as_long_as_it_says_and_no_longer_than_allowed() {
    let long = V2::v4().tlv(4, vec![0; MAX - 28 - 3]);
    assert_eq!(whole(&long.bytes()).length, MAX);
    // Known from its first 16 bytes.
    let longer = V2::v4().tlv(4, vec![0; MAX - 28 - 2]).bytes();
    assert_eq!(flaw(&longer[..16]), Flaw::TooLarge);
    let mut longest = V2::v4().raw();
    longest[14..16].fill(0xff);
    assert_eq!(flaw(&longest), Flaw::TooLarge);
    for family in [0x11, 0x21, 0x31] {
        let needed = [(0x11, 12), (0x21, 36), (0x31, 216)].into_iter().find(|(f, _)| *f == family).unwrap().1;
        let short = V2 { family, addresses: vec![0; needed - 1], ..V2::v4() };
        assert_eq!(flaw(&short.raw()), Flaw::Malformed, "{family:#x}");
    }
}

#[test]
fn a_vpc_endpoint_is_told_from_whatever_stands_around_it() {
    let header = V2::v4()
        .tlv(4, [])
        .tlv(0x20, [7; 30])
        .tlv(0xea, [2, 9, 9])
        .endpoint(VPCE)
        .tlv(5, [1; 128])
        .tlv(0xee, [0])
        .bytes();

    assert_eq!(whole(&header).vpc_endpoint, Some(VPCE));
    assert_eq!(whole(&V2::v4().bytes()).vpc_endpoint, None);
}

#[test]
fn a_vpc_endpoint_is_an_id_and_stands_once() {
    let longest = format!("vpce-{}", "a".repeat(32));
    assert_eq!(whole(&V2::v4().endpoint(&longest).bytes()).vpc_endpoint, Some(&*longest));
    let too_long = format!("{longest}a");
    for bad in
        ["", "vpce-", "vpc-0123", "VPCE-0123", "vpce-0A", "vpce-0/1", "vpce-0\n", "vpce-svc-1", &too_long]
    {
        assert_eq!(flaw(&V2::v4().endpoint(bad).bytes()), Flaw::Malformed, "{bad:?}");
    }
    assert_eq!(flaw(&V2::v4().endpoint(VPCE).endpoint(VPCE).bytes()), Flaw::Malformed);
    assert_eq!(flaw(&V2::v4().endpoint(VPCE).endpoint("vpce-1").bytes()), Flaw::Malformed);
    assert_eq!(flaw(&V2::v4().tlv(0xea, []).bytes()), Flaw::Malformed);
}

#[test]
fn values_fill_their_space() {
    let header = V2::v4().endpoint(VPCE).tlv(4, [0; 3]);
    let length = header.raw().len() - 28;
    for cut in 1..length {
        let mut short = header.raw();
        short.truncate(28 + cut);
        let block = u16::try_from(12 + cut).unwrap();
        short[14..16].copy_from_slice(&block.to_be_bytes());
        // The first value alone is a header too.
        let expected = if cut == 26 { Ok(()) } else { Err(Flaw::Malformed) };
        let parsed = match parse(&short, MAX) {
            Parsed::Whole(_) => Ok(()),
            Parsed::Bad(flaw) => Err(flaw),
            other => panic!("{other:?}"),
        };
        assert_eq!(parsed, expected, "{cut}");
    }
    let mut overrun = header.raw();
    overrun[29..31].fill(0xff);
    assert_eq!(flaw(&overrun), Flaw::Malformed);
}

#[test]
fn a_checksum_is_looked_at_and_stands_once() {
    let header = V2::v4().tlv(3, [0; 4]).endpoint(VPCE);
    assert_eq!(whole(&header.bytes()).vpc_endpoint, Some(VPCE));
    for at in 16..header.bytes().len() {
        let mut bent = header.bytes();
        // Not where another value, or a length, would be meant.
        if (28..31).contains(&at) || (35..38).contains(&at) {
            continue;
        }
        bent[at] ^= 1;
        assert!(matches!(flaw(&bent), Flaw::Checksum | Flaw::Malformed), "{at}");
    }
    let mut bent = header.bytes();
    bent[16] ^= 1;
    assert_eq!(flaw(&bent), Flaw::Checksum);
    assert_eq!(flaw(&V2::v4().tlv(3, [0; 3]).raw()), Flaw::Malformed);
    assert_eq!(flaw(&V2::v4().tlv(3, [0; 5]).raw()), Flaw::Malformed);
    assert_eq!(flaw(&V2::v4().tlv(3, [0; 4]).tlv(3, [0; 4]).raw()), Flaw::Malformed);
}

#[test]
fn everything_else_is_something_else() {
    let mut wrong = V2::v4().raw();
    wrong[11] = b'\r';
    for other in
        [&wrong, &b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00", b"proxy UNKNOWN\r\n", b"POST", b"\r\nG"]
    {
        assert_eq!(parse(other, MAX), Parsed::Other, "{}", other.escape_ascii());
    }
}

#[test]
fn the_corpus_of_proxy_headers_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proxy_protocol");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 10, "there is no corpus");
    for file in files {
        // Shown only when the oracle panics: the file to look at.
        eprintln!("{}", file.display());
        proxy_protocol(&fs::read(file).unwrap());
    }
}

fn address() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        (from, to) in address(), ports in any::<(u16, u16)>(), id in "vpce-[0-9a-z]{1,32}",
        others in proptest::collection::vec((5..=0xe0_u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        at in 0..7_usize, rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let client = SocketAddr::new(from.to_canonical(), ports.0);
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        let text = format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1);
        let ends = [SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1)].map(|end| end.to_string());
        let mut binary = V2::tcp(&ends[0], &ends[1]);
        binary.tlvs = others;
        binary.tlvs.insert(at.min(binary.tlvs.len()), (0xea, [b"\x01", id.as_bytes()].concat()));
        binary = binary.tlv(3, [0; 4]);

        for (header, endpoint) in [(text.into_bytes(), None), (binary.bytes(), Some(&*id))] {
            let sent = [&header[..], &rest].concat();
            let told = whole(&sent);

            prop_assert_eq!((told.length, told.client, told.vpc_endpoint), (header.len(), Some(client), endpoint));
            proxy_protocol(&sent);
        }
    }

    #[test]
    fn a_bent_header_never_surprises(
        which in 0..13_usize, flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut header = good()[which].clone();
        for (at, byte) in flips {
            let at = at.index(header.len());
            header[at] = byte;
        }

        proxy_protocol(&header);
    }
}
