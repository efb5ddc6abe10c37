//! Who was dialled.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Listens, counts who comes, and hears nobody any further. It ends with the process.
#[derive(Debug, Clone)]
pub struct Counted {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Counted {
    /// On this address of the host, on a port that the system gives.
    ///
    /// # Panics
    /// If nothing can listen there.
    pub fn listen(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let counted = Self { address: listener.local_addr().unwrap(), came: Arc::default() };
        let came = Arc::clone(&counted.came);
        std::thread::spawn(move || {
            // Counted before it is hung up on: who hears of that finds it counted.
            while let Ok(_stream) = listener.accept() {
                came.fetch_add(1, Ordering::AcqRel);
            }
        });
        counted
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many came since this was asked last.
    pub fn came(&self) -> usize {
        self.came.swap(0, Ordering::AcqRel)
    }
}
