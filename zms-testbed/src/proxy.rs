use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Held,
    Cut,
    Over,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    connections: Mutex<Vec<TcpStream>>,
}

/// A TCP proxy in front of a server, which can cut or hold its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Open), changed: Condvar::new(), connections: Mutex::default() });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                match *ours.mode.lock().unwrap() {
                    Mode::Over => return,
                    Mode::Cut => continue,
                    Mode::Open | Mode::Held => {}
                }
                let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) else { continue };
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true);
                    ours.connections.lock().unwrap().push(stream.try_clone().unwrap());
                }
                for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    let shared = Arc::clone(&ours);
                    thread::spawn(move || pass(&shared, from, to));
                }
            }
        });
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.set(Mode::Cut);
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Keeps every byte back; connections stay open, new ones too.
    pub fn hold(&self) {
        self.set(Mode::Held);
    }

    /// Passes everything again, also what was kept back.
    pub fn heal(&self) {
        self.set(Mode::Open);
    }

    fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.set(Mode::Over);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut mode = shared.mode.lock().unwrap();
        while *mode == Mode::Held {
            mode = shared.changed.wait(mode).unwrap();
        }
        let open = *mode == Mode::Open;
        drop(mode);
        if !open || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
