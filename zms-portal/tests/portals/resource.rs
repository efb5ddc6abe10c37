//! What effects change: it does each piece of work once, however often it is asked, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Counts {
    /// How often each piece was asked for, by flow and number.
    asked: BTreeMap<(String, usize), usize>,
    workers: BTreeSet<String>,
}

pub struct Resource {
    pub port: u16,
    counts: Arc<Mutex<Counts>>,
}

impl Resource {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let kept = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = counts.clone();
                std::thread::spawn(move || serve(&stream, &counts));
            }
        });
        Self { port, counts: kept }
    }

    /// Pieces of work that were done.
    pub fn done(&self) -> usize {
        self.counts.lock().unwrap().asked.len()
    }

    /// How often work was asked for.
    pub fn asked(&self) -> usize {
        self.counts.lock().unwrap().asked.values().sum()
    }

    /// Portals that asked.
    pub fn workers(&self) -> usize {
        self.counts.lock().unwrap().workers.len()
    }

    /// Numbers of the pieces of a flow that were done.
    pub fn of(&self, flow: &str) -> Vec<usize> {
        let counts = self.counts.lock().unwrap();
        counts.asked.keys().filter(|(of, _)| of == flow).map(|(_, n)| *n).collect()
    }

    /// Undoes one piece, for the control of the checker.
    pub fn forget(&self, flow: &str, n: usize) {
        self.counts.lock().unwrap().asked.remove(&(flow.to_owned(), n));
    }
}

/// Works for a moment before and after, so that kills fall there too.
fn serve(stream: &TcpStream, counts: &Mutex<Counts>) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return;
    }
    let [worker, flow, n] = line.split_whitespace().collect::<Vec<_>>()[..] else { return };
    std::thread::sleep(Duration::from_millis(3));
    {
        let mut counts = counts.lock().unwrap();
        counts.workers.insert(worker.to_owned());
        *counts.asked.entry((flow.to_owned(), n.parse().unwrap())).or_default() += 1;
    }
    std::thread::sleep(Duration::from_millis(3));
    // Who asked may be dead by now.
    let _ = (&mut &*stream).write_all(b"k");
}
