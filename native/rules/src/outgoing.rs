//! Which connections leave from the pod.

use std::net::IpAddr;

use crate::{Addr, Rules};

/// Of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which destinations a line is about; None: any.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    protocol: Option<Protocol>,
    /// First bits of an address (IPv4 as ::ffff:a.b.c.d), and how many of them count.
    network: Option<([u8; 16], u32)>,
    port: Option<u16>,
}

/// What a session says about outgoing connections.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Key `outgoing-tcp`.
    pub tcp: bool,
    /// Key `outgoing-udp`.
    pub udp: bool,
    /// Key `outgoing-localhost`: whether loopback is the pod's.
    pub localhost: bool,
    /// Key `outgoing-remote`: when there is one, everything else stays here.
    pub remote: Vec<Destination>,
    /// Key `outgoing-local`: stay here.
    pub local: Vec<Destination>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { tcp: true, udp: true, localhost: true, remote: Vec::new(), local: Vec::new() }
    }
}

impl Rules {
    /// Whether the session decides where a connection to `to` goes.
    pub fn connects_remotely(&self, to: &Addr, protocol: Protocol) -> bool {
        let is_here = to.is_loopback() || to.is_any();
        let outgoing = &self.outgoing;
        let is_on = match protocol {
            Protocol::Tcp => outgoing.tcp,
            Protocol::Udp => outgoing.udp,
        };
        self.may_connect(to)
            && is_on
            && !(is_here && (!outgoing.localhost || self.is_local_port(to.port)))
            && (outgoing.remote.is_empty() || outgoing.remote.iter().any(|wanted| wanted.has(to, protocol)))
            && !outgoing.local.iter().any(|unwanted| unwanted.has(to, protocol))
    }

    /// Whether it is worth a look of what protocol a socket is.
    pub fn may_connect(&self, to: &Addr) -> bool {
        self.network && to.port != 0
    }
}

impl Destination {
    /// Reads "tcp 10.0.0.0/8 443"; `*` stands for any. None: not of this form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let protocol = match words.next()? {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "*" => None,
            _ => return None,
        };
        let network = match words.next()? {
            "*" => None,
            text => Some(network(text)?),
        };
        let port = match words.next()? {
            "*" => None,
            text => Some(text.parse().ok()?),
        };
        Some(Self { protocol, network, port })
    }

    fn has(&self, to: &Addr, protocol: Protocol) -> bool {
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && self.port.is_none_or(|port| port == to.port)
            && self.network.is_none_or(|(network, bits)| begins_alike(&network, &to.ip, bits))
    }
}

fn network(text: &str) -> Option<([u8; 16], u32)> {
    let (ip, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match ip.parse().ok()? {
        IpAddr::V4(ip) if bits <= 32 => Some((ip.to_ipv6_mapped().octets(), bits + 96)),
        IpAddr::V6(ip) if bits <= 128 => Some((ip.octets(), bits)),
        _ => None,
    }
}

fn begins_alike(one: &[u8; 16], other: &[u8; 16], bits: u32) -> bool {
    let differing = u128::from_be_bytes(*one) ^ u128::from_be_bytes(*other);
    differing.leading_zeros() >= bits
}
