//! Where brokers may be.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Private ranges and loopback.
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"];
/// Where machines of a cloud keep their credentials (169.254.169.254): a wider network does not open them.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];
/// Most networks of a list.
const MOST: usize = 64;

/// Networks (CIDR) in which brokers may be. What a cluster advertises is dialled, so without a list a cluster could send us anywhere.
///
/// Link-local addresses are outside unless a network that lies within them is named: `0.0.0.0/0` does not open them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Why a text is no list of networks; the message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// One of them.
    #[error("network {0:?}: an address and the length of its prefix, like 10.0.0.0/8 or fd00::/8, or one address")]
    Network(String),
    /// All of them.
    #[error("{0} networks: 1 to {MOST}")]
    Count(usize),
}

fn parsed(networks: &[&str]) -> Vec<IpNet> {
    networks.iter().map(|text| text.parse().expect("our own networks are networks")).collect()
}

impl Default for Networks {
    /// Private ranges and loopback.
    fn default() -> Self {
        Self(parsed(&PRIVATE))
    }
}

impl Networks {
    /// Reads networks, each `address/prefix` or one address.
    ///
    /// # Errors
    /// [`NetworksError`].
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworksError> {
        let wrong = |text: &str| NetworksError::Network(crate::names::shown(text));
        let one = |text: &str| {
            let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| wrong(text)))?;
            Ok(net.trunc())
        };
        let mut networks = texts.into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let count = networks.len();
        if !(1..=MOST).contains(&count) {
            return Err(NetworksError::Count(count));
        }
        networks.dedup();
        Ok(Self(networks))
    }

    /// May a broker be there?
    pub fn contain(&self, address: IpAddr) -> bool {
        // `::ffff:169.254.169.254` is the same machine.
        let address = address.to_canonical();
        if address.is_unspecified() {
            return false;
        }
        let local = parsed(&LINK_LOCAL).into_iter().find(|local| local.contains(&address));
        self.0.iter().any(|net| net.contains(&address) && local.is_none_or(|local| local.contains(net)))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Separated by commas or white space.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        Self::new(text.split([',', ' ', '\t', '\r', '\n']).filter(|part| !part.is_empty()))
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(IpNet::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::new(texts.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_where_companies_have_them_and_never_link_local_by_a_wide_network() {
        let wide: Networks = "0.0.0.0/0, ::/0".parse().unwrap();
        let named: Networks = "169.254.10.0/24".parse().unwrap();
        for (address, usual, anywhere, there) in [
            ("10.1.2.3", true, true, false),
            ("172.31.0.1", true, true, false),
            ("172.32.0.1", false, true, false),
            ("127.0.0.1", true, true, false),
            ("::1", true, true, false),
            ("fd12::1", true, true, false),
            ("::ffff:10.1.2.3", true, true, false),
            ("8.8.8.8", false, true, false),
            ("2001:db8::1", false, true, false),
            ("169.254.169.254", false, false, false),
            ("::ffff:169.254.169.254", false, false, false),
            ("fe80::1", false, false, false),
            ("0.0.0.0", false, false, false),
            ("169.254.10.7", false, false, true),
        ] {
            let at = address.parse().unwrap();
            let seen = (Networks::default().contain(at), wide.contain(at), named.contain(at));
            assert_eq!(seen, (usual, anywhere, there), "{address}");
        }
    }

    #[test]
    fn a_list_is_read_as_people_write_it_and_comes_back_the_same() {
        let list: Networks = "10.1.2.3/8,\n192.168.1.7 fd00::/8".parse().unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/8, 192.168.1.7/32, fd00::/8");
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Networks>(&json).unwrap(), list);
        assert_eq!("".parse::<Networks>(), Err(NetworksError::Count(0)));
        for wrong in ["10.0.0.0/33", "broker-1", "10.0.0.0/8/8"] {
            assert!(matches!(wrong.parse::<Networks>(), Err(NetworksError::Network(_))), "{wrong}");
        }
    }
}
