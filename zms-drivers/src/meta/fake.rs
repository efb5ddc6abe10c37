//! One in memory, with ZooKeeper's rules for versions, parents, children and transactions. Rights are not checked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Access, Change, Link, MetaError, MetaStore, Node, Seen, Tree};

/// See the module. Clones of the `Arc` are the same store.
#[derive(Debug)]
pub struct FakeMeta {
    me: Weak<Self>,
    state: Mutex<State>,
    /// Bumped after every change that a reader could see.
    changed: watch::Sender<u64>,
    link: watch::Sender<Link>,
}

#[derive(Debug, Clone, Default)]
struct State {
    nodes: BTreeMap<String, Node>,
    /// Of nodes that were made by this store.
    access: BTreeMap<String, Access>,
    zxid: i64,
    connections: u64,
    closed: bool,
}

impl FakeMeta {
    /// An empty, connected one.
    pub fn new() -> Arc<Self> {
        let state = State { connections: 1, ..State::default() };
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            link: watch::Sender::new(Link::Up(1)),
        })
    }

    /// From now on it is not reachable; what readers see stays as it was.
    pub fn cut(&self) {
        self.link.send_replace(Link::Down("cut by a test".to_owned()));
    }

    /// It is reachable again, and readers see what happened meanwhile.
    pub fn heal(&self) {
        let connections = {
            let mut state = self.lock();
            state.connections += 1;
            state.connections
        };
        self.link.send_replace(Link::Up(connections));
        self.tell();
    }

    /// Somebody else writes: makes the node with all its parents, or changes it; also while this store is cut off.
    pub fn put(&self, path: &str, data: impl AsRef<[u8]>) {
        {
            let mut state = self.lock();
            let parents: Vec<String> = path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()).collect();
            for parent in parents {
                if !state.nodes.contains_key(&parent) {
                    state.insert(parent, &[], false);
                }
            }
            match state.nodes.get(path).map(|node| node.ephemeral) {
                None => state.insert(path.to_owned(), data.as_ref(), false),
                Some(_) => state.set(path, data.as_ref()),
            }
        }
        self.tell();
    }

    /// Somebody else deletes it with everything below.
    pub fn remove(&self, path: &str) {
        {
            let mut state = self.lock();
            let below = format!("{path}/");
            state.zxid += 1;
            state.nodes.retain(|known, _| known != path && !known.starts_with(&below));
        }
        self.tell();
    }

    /// The value of a node, whatever the link.
    pub fn value(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().nodes.get(path).map(|node| node.data.to_vec())
    }

    /// The rights of a node that this store made or gave rights to, whatever the link.
    pub fn access(&self, path: &str) -> Option<Access> {
        self.lock().access.get(path).copied()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn up(&self) -> Result<(), MetaError> {
        match &*self.link.borrow() {
            Link::Up(_) if !self.lock().closed => Ok(()),
            Link::Up(_) => Err(MetaError::Unavailable("the store was closed".to_owned())),
            Link::Down(why) => Err(MetaError::Unavailable(why.clone())),
        }
    }

    /// Keeps a receiver up to date with what `look` sees while the link is up.
    fn follow<T: PartialEq + Send + Sync + 'static>(
        &self,
        first: T,
        look: impl Fn(&State) -> T + Send + 'static,
    ) -> watch::Receiver<T> {
        let (sender, receiver) = watch::channel(first);
        let (mut changed, mut link) = (self.changed.subscribe(), self.link.subscribe());
        // The store lives as long as somebody can still change it; a task that holds it would keep it for ever.
        let this = self.me.clone();
        tokio::spawn(async move {
            loop {
                let Some(store) = this.upgrade() else { return };
                if matches!(*link.borrow_and_update(), Link::Up(_)) {
                    changed.borrow_and_update();
                    let seen = look(&store.lock());
                    sender.send_if_modified(|known| {
                        let differs = *known != seen;
                        *known = seen;
                        differs
                    });
                }
                drop(store);
                tokio::select! {
                    result = changed.changed() => if result.is_err() { return },
                    result = link.changed() => if result.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }
}

impl State {
    fn insert(&mut self, path: String, data: &[u8], ephemeral: bool) {
        self.zxid += 1;
        self.nodes.insert(path, Node { data: data.into(), version: 0, mzxid: self.zxid, ephemeral });
    }

    fn set(&mut self, path: &str, data: &[u8]) {
        self.zxid += 1;
        let zxid = self.zxid;
        if let Some(node) = self.nodes.get_mut(path) {
            (node.data, node.version, node.mzxid) = (data.into(), node.version + 1, zxid);
        }
    }

    fn has_children(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.nodes.range(below.clone()..).next().is_some_and(|(known, _)| known.starts_with(&below))
    }

    fn expect(&self, path: &str, version: Option<i32>) -> Result<(), MetaError> {
        let node = self.nodes.get(path).ok_or_else(|| MetaError::Missing(path.to_owned()))?;
        match version {
            Some(version) if version != node.version => Err(MetaError::Changed(path.to_owned())),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, change: &Change) -> Result<i32, MetaError> {
        match change {
            Change::Check { path, version } => self.expect(path, Some(*version)).map(|()| -1),
            Change::Create { path, data, access } => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                if self.nodes.contains_key(path) {
                    return Err(MetaError::Exists(path.clone()));
                }
                if !parent.is_empty() && !self.nodes.contains_key(parent) {
                    return Err(MetaError::Missing(parent.to_owned()));
                }
                self.insert(path.clone(), data, false);
                self.access.insert(path.clone(), *access);
                Ok(0)
            }
            Change::Set { path, data, version } => {
                self.expect(path, *version)?;
                self.set(path, data);
                Ok(self.nodes[path].version)
            }
            Change::Delete { path, version } => {
                self.expect(path, *version)?;
                if self.has_children(path) {
                    return Err(MetaError::HasChildren(path.clone()));
                }
                self.zxid += 1;
                self.nodes.remove(path);
                self.access.remove(path);
                Ok(-1)
            }
        }
    }
}

#[async_trait]
impl MetaStore for FakeMeta {
    async fn get(&self, path: &str) -> Result<Option<Node>, MetaError> {
        self.up()?;
        Ok(self.lock().nodes.get(path).cloned())
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, MetaError> {
        self.up()?;
        let state = self.lock();
        if !state.nodes.contains_key(path) {
            return Ok(None);
        }
        let below = format!("{path}/");
        let names = state.nodes.range(below.clone()..).take_while(|(known, _)| known.starts_with(&below));
        Ok(Some(names.map(|(known, _)| known[below.len()..].to_owned()).filter(|name| !name.contains('/')).collect()))
    }

    async fn apply(&self, changes: &[Change]) -> Result<Vec<i32>, MetaError> {
        self.up()?;
        let versions = {
            let mut state = self.lock();
            let mut next = state.clone();
            let versions = changes.iter().map(|change| next.apply(change)).collect::<Result<_, _>>()?;
            *state = next;
            versions
        };
        self.tell();
        Ok(versions)
    }

    async fn ensure_access(&self, path: &str, access: Access) -> Result<bool, MetaError> {
        self.up()?;
        let mut state = self.lock();
        if !state.nodes.contains_key(path) {
            return Err(MetaError::Missing(path.to_owned()));
        }
        Ok(state.access.insert(path.to_owned(), access) != Some(access))
    }

    fn node(&self, path: &str) -> watch::Receiver<Seen> {
        let path = path.to_owned();
        self.follow(Seen::NotYet, move |state| state.nodes.get(&path).cloned().map_or(Seen::Absent, Seen::There))
    }

    fn tree(&self, prefix: &str) -> watch::Receiver<Option<Arc<Tree>>> {
        let prefix = prefix.to_owned();
        self.follow(None, move |state| {
            let below = format!("{prefix}/");
            let inside = |path: &String| *path == prefix || path.starts_with(&below);
            let nodes = state.nodes.iter().filter(|(path, _)| inside(path));
            Some(Arc::new(nodes.map(|(path, node)| (path.clone(), node.clone())).collect()))
        })
    }

    fn ephemeral(&self, path: &str, data: Vec<u8>) -> watch::Sender<Vec<u8>> {
        let (sender, mut wanted) = watch::channel(data);
        let (this, path) = (self.me.clone(), path.to_owned());
        let mut link = self.link.subscribe();
        tokio::spawn(async move {
            loop {
                let Some(store) = this.upgrade() else { return };
                if store.up().is_ok() {
                    let data = wanted.borrow_and_update().clone();
                    let mut state = store.lock();
                    match state.nodes.get(&path) {
                        Some(node) if *node.data == *data => {}
                        Some(_) => state.set(&path, &data),
                        None => state.insert(path.clone(), &data, true),
                    }
                    drop(state);
                    store.tell();
                }
                drop(store);
                let gone = tokio::select! {
                    result = wanted.changed() => result.is_err(),
                    result = link.changed() => result.is_err(),
                };
                if gone {
                    if let Some(store) = this.upgrade() {
                        store.remove(&path);
                    }
                    return;
                }
            }
        });
        sender
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    async fn close(&self) {
        {
            let mut state = self.lock();
            state.closed = true;
            state.nodes.retain(|_, node| !node.ephemeral);
        }
        self.tell();
    }
}
