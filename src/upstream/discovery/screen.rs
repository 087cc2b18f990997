//! Which addresses an answer may have.
//!
//! Owns where no endpoint can be: whoever answers for a name must not lead
//! requests, with their credentials, to the gateway's own ports or to the
//! instance's metadata service. Addresses that operators wrote are not its
//! business.

use std::net::IpAddr;

use ipnet::IpNet;

/// What of an answer is taken.
#[derive(Debug, Default)]
pub(super) struct Screen {
    allow: Vec<IpNet>,
}

impl Screen {
    /// Lets these networks in, too.
    pub(super) fn new(allow: &[IpNet]) -> Self {
        Self { allow: allow.to_vec() }
    }

    /// Whether an endpoint may be there.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        // ::ffff:127.0.0.1 connects to where 127.0.0.1 does.
        let address = address.to_canonical();
        !is_refused(address) || self.allow.iter().any(|network| network.contains(&address))
    }
}

fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 0.0.0.0/8 is "this network": Linux connects to itself.
            let [first, ..] = v4.octets();
            first == 0 || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // ::1, :: and the forgotten ::127.0.0.1.
            let embedded = v6.to_bits() >> 32 == 0;
            // AWS's own services on an instance: the metadata service has fd00:ec2::254.
            let of_the_instance = (first, second) == (0xfd00, 0x0ec2);
            embedded || v6.is_multicast() || v6.is_unicast_link_local() || of_the_instance
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_where_no_endpoint_can_be_are_refused_unless_allowed() {
        let (strict, open) =
            (Screen::default(), Screen::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]));
        let admits = |screen: &Screen, address: &str| screen.admits(address.parse().unwrap());

        for refused in [
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
        ] {
            assert!(!admits(&strict, refused), "{refused}");
        }
        for fine in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "3.3.3.3",
            "2600::1",
            "fd12::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(admits(&strict, fine), "{fine}");
        }
        for allowed in ["127.0.0.2", "::1", "::ffff:127.0.0.2"] {
            assert!(admits(&open, allowed), "{allowed}");
        }
        assert!(!admits(&open, "169.254.169.254"));
    }
}
