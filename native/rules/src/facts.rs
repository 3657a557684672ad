//! The facts that a session writes for the layers of its programs: the file `rules` in its folder.
//!
//! Lines of a word, a tab and a value. First line: `inpod-rules 1`. The writer is src/inpod/session/rules.py.

use crate::outgoing::{Destination, Outgoing};

/// Which files are the pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesMode {
    /// None.
    Local,
    /// Reading sees the pod's, writing goes to this machine.
    Read,
}

/// Whose a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Pod,
    Here,
}

/// What a session says about itself.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Key `files`.
    pub files: FilesMode,
    /// Key `network`: whether connections and names are the pod's.
    pub network: bool,
    /// Key `incoming`: whether listeners serve the pod's ports.
    pub incoming: bool,
    /// Keys `remote-tree`, `local-tree`: absolute, without a slash at the end.
    pub(crate) trees: Vec<(Vec<u8>, Owner)>,
    /// Key `home`: hidden entries in it are local.
    pub(crate) home: Option<Vec<u8>>,
    /// Key `local-port`.
    pub(crate) local_ports: Vec<u16>,
    /// Key `only-port`: when there is one, all other ports are local for listeners.
    pub(crate) only_ports: Vec<u16>,
    /// Key `listen-port`, "80 8080": a listener that asks for the first is had on the second.
    pub(crate) listen_ports: Vec<(u16, u16)>,
    /// Keys `outgoing-…`.
    pub(crate) outgoing: Outgoing,
    /// Key `unix-streams`: whether the session is asked about unix sockets with a path.
    pub unix_streams: bool,
    /// Key `names`: whether names are resolved by the pod.
    pub(crate) names: bool,
    /// Key `names-remote`: when there is one, all other names are this machine's. "*.x" is what ends in ".x".
    pub(crate) names_remote: Vec<Vec<u8>>,
    /// Key `names-local`: these are.
    pub(crate) names_local: Vec<Vec<u8>>,
    /// Key `hostname`: what the program is told; None: this machine's.
    pub hostname: Option<Vec<u8>>,
    /// Key `tracer`: the program that becomes one that the layer cannot be in; None: nothing is traced.
    pub tracer: Option<Vec<u8>>,
    /// Key `skip`: names of programs that stay this machine's; what they start does not.
    pub(crate) skipped: Vec<Vec<u8>>,
    /// Key `localhost`: `off` leaves listeners on loopback addresses alone.
    pub(crate) localhost: bool,
}

impl Rules {
    /// Reads the file. None: not of this version. Unknown keys and bad values are left out.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        if lines.next()? != b"inpod-rules 1" {
            return None;
        }
        let mut rules = Self {
            files: FilesMode::Local,
            network: true,
            incoming: true,
            trees: Vec::new(),
            home: None,
            local_ports: Vec::new(),
            only_ports: Vec::new(),
            listen_ports: Vec::new(),
            localhost: true,
            tracer: None,
            skipped: Vec::new(),
            outgoing: Outgoing::default(),
            unix_streams: false,
            names: true,
            names_remote: Vec::new(),
            names_local: Vec::new(),
            hostname: None,
        };
        for line in lines {
            let mut parts = line.splitn(2, |byte| *byte == b'\t');
            if let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                rules.learn(key, value);
            }
        }
        Some(rules)
    }

    fn learn(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"files" if value == b"read" => self.files = FilesMode::Read,
            b"network" => self.network = value == b"on",
            b"incoming" => self.incoming = value == b"on",
            b"remote-tree" => self.trees.extend(tree(value).map(|tree| (tree, Owner::Pod))),
            b"local-tree" => self.trees.extend(tree(value).map(|tree| (tree, Owner::Here))),
            b"home" => self.home = tree(value),
            b"local-port" => self.local_ports.extend(port(value)),
            b"only-port" => self.only_ports.extend(port(value)),
            b"listen-port" => self.listen_ports.extend(pair(value)),
            b"outgoing-tcp" => self.outgoing.tcp = value == b"on",
            b"outgoing-udp" => self.outgoing.udp = value == b"on",
            b"outgoing-localhost" => self.outgoing.localhost = value == b"on",
            b"outgoing-remote" => self.outgoing.remote.extend(Destination::parse(value)),
            b"outgoing-local" => self.outgoing.local.extend(Destination::parse(value)),
            b"unix-streams" => self.unix_streams = value == b"on",
            b"names" => self.names = value == b"on",
            b"names-remote" => self.names_remote.push(value.to_vec()),
            b"names-local" => self.names_local.push(value.to_vec()),
            b"hostname" => self.hostname = Some(value.to_vec()),
            b"skip" => self.skipped.push(value.to_vec()),
            b"tracer" => self.tracer = tree(value),
            b"localhost" => self.localhost = value == b"on",
            _ => {}
        }
    }
}

fn tree(value: &[u8]) -> Option<Vec<u8>> {
    let mut end = value;
    while let [rest @ .., b'/'] = end {
        end = rest;
    }
    (value.starts_with(b"/") && !end.is_empty()).then(|| end.to_vec())
}

fn port(value: &[u8]) -> Option<u16> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn pair(value: &[u8]) -> Option<(u16, u16)> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    let (first, second) = value.split_at_checked(at)?;
    Some((port(first)?, port(second.strip_prefix(b" ")?)?))
}
