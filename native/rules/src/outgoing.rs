//! Which connections leave from the pod.

use crate::facts::Line;
use crate::text::{ip, number};
use crate::{Addr, Rules};

/// Port of name servers.
pub const DNS: u16 = 53;

/// Of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// From where a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// This machine.
    Here,
    /// The pod.
    Pod,
    /// The session knows: it depends on what a name stands for.
    Asked,
}

/// Which destinations a line is about; None: any.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    protocol: Option<Protocol>,
    place: Place,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Anywhere,
    /// First bits of an address (IPv4 as ::ffff:a.b.c.d), and how many of them count.
    Network([u8; 16], u32),
    Name,
}

/// Whether a destination is one of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    No,
    Perhaps,
    Yes,
}

/// What a session says about outgoing connections as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    /// Key `outgoing-tcp`.
    pub tcp: bool,
    /// Key `outgoing-udp`.
    pub udp: bool,
    /// Key `outgoing-localhost`: whether loopback is the pod's.
    pub localhost: bool,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { tcp: true, udp: true, localhost: true }
    }
}

impl Rules<'_> {
    /// From where a connection to `to` leaves.
    pub fn leaves(&self, to: &Addr, protocol: Protocol) -> Leaves {
        let is_here = to.is_loopback() || to.is_any();
        let outgoing = &self.outgoing;
        let is_on = match protocol {
            Protocol::Tcp => outgoing.tcp,
            Protocol::Udp => outgoing.udp,
        };
        let stays = is_here && (!outgoing.localhost || self.is_local_port(to.port));
        // Who resolves by himself reads this machine's resolv.conf then.
        let is_local_server = to.port == DNS && !self.names;
        if !self.may_connect(to) || !is_on || stays || is_local_server {
            return Leaves::Here;
        }
        let in_remote = self.others.iter().filter_map(|line| match line {
            Line::Remote(one) => Some(one.has(to, protocol)),
            _ => None,
        });
        let in_local = self.others.iter().filter_map(|line| match line {
            Line::Local(one) => Some(one.has(to, protocol)),
            _ => None,
        });
        match (in_remote.max().unwrap_or(Found::Yes), in_local.max().unwrap_or(Found::No)) {
            (Found::No, _) | (_, Found::Yes) => Leaves::Here,
            (Found::Yes, Found::No) => Leaves::Pod,
            _ => Leaves::Asked,
        }
    }

    /// Whether it is worth a look of what protocol a socket is.
    pub fn may_connect(&self, to: &Addr) -> bool {
        self.network && to.port != 0
    }
}

impl Destination {
    /// Reads "tcp 10.0.0.0/8 443"; `*` stands for any. None: not of this form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = text.split(|byte| *byte == b' ');
        let protocol = match words.next()? {
            b"tcp" => Some(Protocol::Tcp),
            b"udp" => Some(Protocol::Udp),
            b"*" => None,
            _ => return None,
        };
        let place = match words.next()? {
            b"*" => Place::Anywhere,
            text if text.starts_with(b"name:") => Place::Name,
            text => network(text)?,
        };
        let port = match words.next()? {
            b"*" => None,
            text => Some(number(text)?),
        };
        Some(Self { protocol, place, port })
    }

    fn has(&self, to: &Addr, protocol: Protocol) -> Found {
        if self.protocol.is_some_and(|wanted| wanted != protocol) || self.port.is_some_and(|port| port != to.port) {
            return Found::No;
        }
        match self.place {
            Place::Anywhere => Found::Yes,
            Place::Network(network, bits) if begins_alike(&network, &to.ip, bits) => Found::Yes,
            Place::Network(..) => Found::No,
            Place::Name => Found::Perhaps,
        }
    }
}

fn network(text: &[u8]) -> Option<Place> {
    let mut parts = text.split(|byte| *byte == b'/');
    let (first, bits) = (parts.next()?, u32::from(number(parts.next()?)?));
    // Of an IPv4 address, which has no colon, the last 32 of 128 bits count.
    let bits = if first.contains(&b':') { bits } else { bits + 96 };
    (bits <= 128).then_some(Place::Network(ip(first)?, bits))
}

fn begins_alike(one: &[u8; 16], other: &[u8; 16], bits: u32) -> bool {
    let differing = u128::from_be_bytes(*one) ^ u128::from_be_bytes(*other);
    differing.leading_zeros() >= bits
}
