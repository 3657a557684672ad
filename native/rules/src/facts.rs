//! The facts that a session writes for the layers of its programs: the file `rules` in its folder.
//!
//! Lines of a word, a tab and a value. First line: `inpod-rules 1`. The writer is src/inpod/session/rules.py.
//!
//! Without the heap, and without a copy of what the file says: each program of a session reads it at its start.

use crate::outgoing::{Destination, Outgoing};
use crate::text::number;

/// Which files are the pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesMode {
    /// None.
    Local,
    /// Reading sees the pod's, writing goes to this machine.
    Read,
    /// As `Read`, but only for what the pod has mounted, for what is asked for, and for its view of the network.
    Overrides,
}

/// Whose a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The pod's.
    Pod,
    /// This machine's.
    Here,
}

/// A line of those keys of which there may be many.
#[derive(Clone, Copy, Debug, Default)]
pub enum Line<'t> {
    /// Room that was not needed.
    #[default]
    None,
    /// `remote-tree`, `local-tree`: absolute, without a slash at the end.
    Tree(&'t [u8], Owner),
    /// `local-port`.
    LocalPort(u16),
    /// `only-port`: when there is one, all other ports are local for listeners.
    OnlyPort(u16),
    /// `listen-port`, "80 8080": a listener that asks for the first is had on the second.
    ListenPort(u16, u16),
    /// `outgoing-remote`: when there is one, everything else stays here.
    Remote(Destination),
    /// `outgoing-local`: stay here.
    Local(Destination),
    /// `names-remote`: when there is one, all other names are this machine's. "*.x" is what ends in ".x".
    RemoteName(&'t [u8]),
    /// `names-local`: these are.
    LocalName(&'t [u8]),
    /// `skip`: a program that stays this machine's; what it starts does not.
    Skipped(&'t [u8]),
}

/// What a session says about itself.
#[derive(Clone, Debug)]
pub struct Rules<'t> {
    /// Key `files`.
    pub files: FilesMode,
    /// Key `network`: whether connections and names are the pod's.
    pub network: bool,
    /// Key `incoming`: whether listeners serve the pod's ports.
    pub incoming: bool,
    /// Every [`Line::Tree`]: nearly all questions are about them.
    pub(crate) trees: &'t [Line<'t>],
    /// All others.
    pub(crate) others: &'t [Line<'t>],
    /// Key `home`: hidden entries in it are local.
    pub(crate) home: Option<&'t [u8]>,
    /// Keys `outgoing-…`.
    pub(crate) outgoing: Outgoing,
    /// Key `unix-streams`: whether the session is asked about unix sockets with a path.
    pub unix_streams: bool,
    /// Key `names`: whether names are resolved by the pod.
    pub(crate) names: bool,
    /// Key `hostname`: what the program is told; None: this machine's.
    pub hostname: Option<&'t [u8]>,
    /// Key `tracer`: the program that becomes one that the layer cannot be in; None: nothing is traced.
    pub tracer: Option<&'t [u8]>,
    /// Key `localhost`: `off` leaves listeners on loopback addresses alone.
    pub(crate) localhost: bool,
}

impl<'t> Rules<'t> {
    /// How many lines of room a file needs at most.
    pub fn room_for(text: &[u8]) -> usize {
        text.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Reads the file; `room`: see [`Rules::room_for`]. None: not of this version. Unknown keys and bad values are left
    /// out, and so is what there is no room for.
    pub fn parse(text: &'t [u8], room: &'t mut [Line<'t>]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        if lines.next()? != b"inpod-rules 1" {
            return None;
        }
        let mut rules = Self {
            files: FilesMode::Local,
            network: true,
            incoming: true,
            trees: &[],
            others: &[],
            home: None,
            outgoing: Outgoing::default(),
            localhost: true,
            tracer: None,
            unix_streams: false,
            names: true,
            hostname: None,
        };
        // Trees from the front, all others from the back.
        let (mut front, mut back) = (0, room.len());
        for line in lines {
            let mut parts = line.splitn(2, |byte| *byte == b'\t');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            let line = rules.learn(key, value).unwrap_or_default();
            let place = match line {
                Line::None => continue,
                _ if front == back => continue,
                Line::Tree(..) => {
                    front += 1;
                    front - 1
                }
                _ => {
                    back -= 1;
                    back
                }
            };
            if let Some(to) = room.get_mut(place) {
                *to = line;
            }
        }
        let room: &'t [Line<'t>] = room;
        let (trees, others) = room.split_at_checked(front)?;
        Some(Self { trees, others, ..rules })
    }

    /// Takes a line's value over; returns it where there may be many of its key.
    fn learn(&mut self, key: &[u8], value: &'t [u8]) -> Option<Line<'t>> {
        match key {
            b"files" if value == b"read" => self.files = FilesMode::Read,
            b"files" if value == b"localwithoverrides" => self.files = FilesMode::Overrides,
            b"network" => self.network = value == b"on",
            b"incoming" => self.incoming = value == b"on",
            b"home" => self.home = tree(value),
            b"outgoing-tcp" => self.outgoing.tcp = value == b"on",
            b"outgoing-udp" => self.outgoing.udp = value == b"on",
            b"outgoing-localhost" => self.outgoing.localhost = value == b"on",
            b"unix-streams" => self.unix_streams = value == b"on",
            b"names" => self.names = value == b"on",
            b"hostname" => self.hostname = Some(value),
            b"tracer" => self.tracer = tree(value),
            b"localhost" => self.localhost = value == b"on",
            _ => return line(key, value),
        }
        None
    }
}

fn line<'t>(key: &[u8], value: &'t [u8]) -> Option<Line<'t>> {
    match key {
        b"remote-tree" => tree(value).map(|tree| Line::Tree(tree, Owner::Pod)),
        b"local-tree" => tree(value).map(|tree| Line::Tree(tree, Owner::Here)),
        b"local-port" => number(value).map(Line::LocalPort),
        b"only-port" => number(value).map(Line::OnlyPort),
        b"listen-port" => pair(value).map(|(asked, had)| Line::ListenPort(asked, had)),
        b"outgoing-remote" => Destination::parse(value).map(Line::Remote),
        b"outgoing-local" => Destination::parse(value).map(Line::Local),
        b"names-remote" => Some(Line::RemoteName(value)),
        b"names-local" => Some(Line::LocalName(value)),
        b"skip" => Some(Line::Skipped(value)),
        _ => None,
    }
}

fn tree(value: &[u8]) -> Option<&[u8]> {
    let mut end = value;
    while let [rest @ .., b'/'] = end {
        end = rest;
    }
    (value.starts_with(b"/") && !end.is_empty()).then_some(end)
}

fn pair(value: &[u8]) -> Option<(u16, u16)> {
    let at = value.iter().position(|byte| *byte == b' ')?;
    let (first, second) = value.split_at_checked(at)?;
    Some((number(first)?, number(second.strip_prefix(b" ")?)?))
}
