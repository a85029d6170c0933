//! Which addresses this server connects to for an LLM. By default only those that anybody on the internet could reach
//! as well: none of this machine, of its network, or of its cloud. Pure.
//!
//! Judged is the address that is connected to, never a name: what a name means can change between two questions.

use crate::sabotage;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be connected to.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// Everything: for places that whoever runs this server has named in its settings.
    Anywhere,
    /// The internet, and these networks: for places that are named in documents.
    Public(Vec<IpNet>),
}

/// A block of addresses that are not the internet's.
struct Special {
    net: IpNet,
    guard: Guard,
}

/// How a special block is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// By any network that holds the address.
    Normal,
    /// Only by a network that lies within the block: whoever lists `0.0.0.0/0` does not mean the keys of the cloud.
    Strict,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, guard: Guard) -> Special {
    Special { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), guard }
}

const fn v6(first: u16, second: u16, prefix: u8, guard: Guard) -> Special {
    let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    Special { net: IpNet::V6(Ipv6Net::new_assert(address, prefix)), guard }
}

use Guard::{Normal, Strict};

/// The registries of special addresses (RFC 6890 and its successors), and what clouds have put elsewhere.
const SPECIAL: &[Special] = &[
    v4(0, 0, 0, 0, 8, Strict),
    v4(10, 0, 0, 0, 8, Normal),
    v4(100, 64, 0, 0, 10, Normal),
    // The metadata of Alibaba's cloud; Azure's; Oracle's.
    v4(100, 100, 100, 200, 32, Strict),
    v4(168, 63, 129, 16, 32, Strict),
    v4(192, 0, 0, 192, 32, Strict),
    v4(127, 0, 0, 0, 8, Strict),
    // Link-local, and with it the metadata of most clouds.
    v4(169, 254, 0, 0, 16, Strict),
    v4(172, 16, 0, 0, 12, Normal),
    v4(192, 0, 0, 0, 24, Normal),
    v4(192, 0, 2, 0, 24, Normal),
    v4(192, 88, 99, 0, 24, Normal),
    v4(192, 168, 0, 0, 16, Normal),
    v4(198, 18, 0, 0, 15, Normal),
    v4(198, 51, 100, 0, 24, Normal),
    v4(203, 0, 113, 0, 24, Normal),
    v4(224, 0, 0, 0, 4, Strict),
    v4(240, 0, 0, 0, 4, Strict),
    // `::`, `::1`, and addresses that hold one of the fourth version without saying so.
    v6(0, 0, 8, Strict),
    // Amazon's metadata and pod identities, and Scaleway's metadata, within the private addresses.
    v6(0xfd00, 0xec2, 32, Strict),
    v6(0xfd00, 0x42, 32, Strict),
    v6(0xfe80, 0, 10, Strict),
    v6(0xff00, 0, 8, Strict),
    v6(0xfc00, 0, 7, Normal),
    v6(0x2001, 0, 23, Normal),
    v6(0x2001, 0xdb8, 32, Normal),
    // Tunnels, whose addresses hold another one.
    v6(0x2002, 0, 16, Strict),
    v6(0x3fff, 0, 20, Normal),
];

/// What the internet's addresses of the sixth version begin with.
const GLOBAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// What a network without the fourth version writes its addresses in (NAT64, RFC 6052).
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

impl Reach {
    /// Says whether this address may be connected to.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let listed = match self {
            Self::Anywhere => return true,
            Self::Public(_) if sabotage::REACH_ANYWHERE => return true,
            Self::Public(listed) => listed,
        };
        let meant = meant(address);
        let guards = SPECIAL.iter().filter(|special| special.net.contains(&meant));
        let is_global = match meant {
            IpAddr::V4(_) => true,
            IpAddr::V6(meant) => GLOBAL.contains(&meant),
        };
        let mut guarded = false;
        for special in guards {
            guarded = true;
            let opens = |net: &&IpNet| special.guard == Normal || special.net.contains(*net);
            if !listed.iter().filter(opens).any(|net| net.contains(&meant)) {
                return false;
            }
        }
        guarded || is_global || listed.iter().any(|net| net.contains(&meant))
    }
}

/// The address that packets end up at: one of the fourth version that is written in the sixth is what it is.
fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        address => address,
    }
}

/// Reads a network such as `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| "write a network such as 10.0.0.0/8 or fd00::/8")?,
    };
    if net.trunc() != net {
        return Err(format!("{net} is an address within a network; write {}", net.trunc()));
    }
    if meant(net.addr()) != net.addr() {
        return Err("write this as a network of IPv4: that is how its addresses are judged".to_owned());
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listed: &[&str]) -> Reach {
        Reach::Public(listed.iter().map(|net| network(net).unwrap()).collect())
    }

    fn allowed<'a>(reach: &Reach, addresses: &[&'a str]) -> Vec<&'a str> {
        addresses.iter().copied().filter(|address| reach.allows(address.parse().unwrap())).collect()
    }

    /// None of them is the internet's.
    const ODD: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "fc00::1",
        "fd00::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
    ];

    #[test]
    fn x01_nothing_special_is_reached_unless_it_is_listed() {
        assert_eq!(allowed(&reach(&[]), ODD), Vec::<&str>::new());
        let public = [
            "8.8.8.8",
            "172.32.0.1",
            "192.0.1.1",
            "169.253.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ];
        assert_eq!(allowed(&reach(&[]), &public), public);
    }

    #[test]
    fn x01_a_network_opens_what_it_holds_and_no_more() {
        for (listed, opened) in [
            (
                &["127.0.0.0/8", "::1/128"][..],
                &[
                    "127.0.0.1",
                    "127.255.255.254",
                    "::1",
                    "::ffff:127.0.0.1",
                    "::ffff:7f00:1",
                    "64:ff9b::7f00:1",
                ][..],
            ),
            (&["127.0.0.1"], &["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1"]),
            (&["10.0.0.0/8"], &["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"]),
            (&["169.254.169.254/32"], &["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]),
            (&["fd00::/8"], &["fd00::1"]),
            (&["100.64.0.0/10"], &["100.64.0.1"]),
            (&["100.100.100.200/32", "100.64.0.0/10"], &["100.64.0.1", "100.100.100.200"]),
            (&["64:ff9b:1::/48"], &["64:ff9b:1::1"]),
        ] {
            assert_eq!(allowed(&reach(listed), ODD), opened, "{listed:?}");
        }
    }

    #[test]
    fn x01_a_wide_network_opens_neither_this_machine_nor_the_keys_of_the_cloud() {
        let wide = reach(&["0.0.0.0/0", "::/0"]);
        let never = [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:42::42",
            "fe80::1",
            "ff02::1",
            "2002:7f00:1::1",
        ];
        assert_eq!(allowed(&wide, &never), Vec::<&str>::new());
        let private = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"];
        assert_eq!(allowed(&wide, &private), private);
    }

    #[test]
    fn a_network_is_written_in_one_way() {
        for odd in [
            "",
            "10.0.0.1/8",
            "10/8",
            "0x7f.1",
            "127.1/8",
            "::ffff:10.0.0.0/104",
            "::ffff:10.0.0.1",
            "example",
            "10.0.0.0/33",
        ] {
            assert!(network(odd).is_err(), "{odd:?}");
        }
        assert!(network("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
    }

    #[test]
    fn what_the_operator_has_named_is_reached_anywhere() {
        assert_eq!(allowed(&Reach::Anywhere, ODD), ODD);
    }
}
