//! As what this client is known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// `address@name#process#number`, as Java's clients say `address@process#nanoseconds`: no two clients may have the same one in a group.
pub(super) fn client_id(address: Ipv4Addr, name: &str, process: u32, number: u32) -> String {
    format!("{address}@{name}#{process}#{number:08x}")
}

/// Another one for each client of each process.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
    u32::from_ne_bytes(bytes)
}

/// This host's address on the way to a name server. It is only shown to people, so names are not resolved for it.
pub(super) fn own_address(name_servers: &[String]) -> Ipv4Addr {
    // An address for documentation: the one that the default route would be taken from.
    let there = name_servers.iter().find_map(|server| server.parse().ok()).unwrap_or(SocketAddr::from(([192, 0, 2, 1], 9)));
    let own = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        // Sends nothing: it only chooses the route.
        socket.connect(there)?;
        socket.local_addr()
    });
    match own.map(|own| own.ip()) {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) | Err(_) => Ipv4Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_which_client_it_is() {
        assert_eq!(client_id(Ipv4Addr::new(10, 0, 0, 5), "zms", 4711, 0x2a), "10.0.0.5@zms#4711#0000002a");
        assert_eq!(own_address(&["127.0.0.1:9876".to_owned()]), Ipv4Addr::LOCALHOST);
        assert_ne!(random(), random());
    }
}
