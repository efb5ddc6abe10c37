//! Keeps a client of librdkafka within networks. It resolves names and dials by itself, also what a cluster advertises, so the one place to
//! judge is its call of `connect`, which it leaves to a callback with the very address that is to be dialled.
//!
//! The crate cannot be told of that callback before it makes the client. So a client with networks is made without brokers, which dials
//! nobody; then it gets the callback, and only then it hears where its brokers are.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::bindings;
use rdkafka::types::RDKafka;
use zms_core::networks::Networks;

use super::client::Ear;
use crate::broker::BrokerError;
use crate::open::Endpoint;

/// By what librdkafka hands to the callback of each client. It is only compared: what it points to is the crate's.
static JUDGES: Mutex<BTreeMap<usize, Arc<Judge>>> = Mutex::new(BTreeMap::new());

fn judges() -> MutexGuard<'static, BTreeMap<usize, Arc<Judge>>> {
    JUDGES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Judge {
    networks: Networks,
    ear: Ear,
}

/// A client that stays within its networks; it dials nobody any more once this is dropped.
pub(super) struct Within {
    client: usize,
    judge: Arc<Judge>,
}

impl Within {
    /// Bounds a client that was made by [`config`](super::client::config), if its endpoint has networks.
    pub fn bind(endpoint: &Endpoint, ear: &Ear, client: *mut RDKafka) -> Result<Option<Self>, BrokerError> {
        let Some(networks) = endpoint.networks.clone() else { return Ok(None) };
        let addresses = endpoint.addresses.join(",");
        let wrong = |why: &str| BrokerError::Refused {
            what: format!("client for cluster {}", endpoint.cluster),
            why: format!("addresses {addresses:?}: {why}"),
        };
        let brokers = CString::new(addresses.as_str()).map_err(|_| wrong("there is a zero byte in them"))?;
        let judge = Arc::new(Judge { networks, ear: ear.clone() });
        // SAFETY: the client lives as long as its owner, who calls this. Its configuration is read-only for threads that read it, and the one
        // field that changes here is read only by threads that dial: they begin with the next call, which synchronises with them.
        let (client, added) = unsafe {
            let opaque = bindings::rd_kafka_opaque(client) as usize;
            judges().insert(opaque, judge.clone());
            bindings::rd_kafka_conf_set_connect_cb(bindings::rd_kafka_conf(client).cast_mut(), Some(connect));
            (opaque, bindings::rd_kafka_brokers_add(client, brokers.as_ptr()))
        };
        let within = Self { client, judge };
        if added > 0 { Ok(Some(within)) } else { Err(wrong("none of them is host:port")) }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let mut judges = judges();
        // A later client may have got the same place in memory.
        if judges.get(&self.client).is_some_and(|judge| Arc::ptr_eq(judge, &self.judge)) {
            judges.remove(&self.client);
        }
    }
}

impl Judge {
    fn allows(&self, address: Option<IpAddr>, broker: &str) -> bool {
        if address.is_some_and(|address| self.networks.contain(address)) {
            return true;
        }
        let found = address.map_or_else(|| "no address of the internet".to_owned(), |address| address.to_string());
        self.ear.outside(format!("{broker}: {found}: outside the networks in which brokers may be ({})", self.networks));
        false
    }
}

/// What librdkafka calls instead of `connect`, on a thread of its own: 0, or why not.
unsafe extern "C" fn connect(
    socket: c_int,
    address: *const libc::sockaddr,
    length: c_int,
    broker: *const c_char,
    opaque: *mut c_void,
) -> c_int {
    let judge = judges().get(&(opaque as usize)).cloned();
    // SAFETY: librdkafka gives a name that ends with a zero and an address of this length, both valid during the call.
    let (broker, found) = unsafe { (CStr::from_ptr(broker).to_string_lossy(), read(address)) };
    let Ok(length) = libc::socklen_t::try_from(length) else { return libc::EINVAL };
    if !judge.is_some_and(|judge| judge.allows(found, &broker)) {
        return libc::EACCES;
    }
    // SAFETY: as above; the socket is open and librdkafka's.
    if unsafe { libc::connect(socket, address, length) } == 0 {
        return 0;
    }
    // The socket does not block: it goes on connecting.
    let why = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    if why == libc::EINPROGRESS { 0 } else { why }
}

/// # Safety
/// There is an address of the family that it says.
unsafe fn read(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise; nothing is said about alignment, so it is copied.
    unsafe {
        match c_int::from(address.read_unaligned().sa_family) {
            libc::AF_INET => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}
