//! The socket table: a file of the session that every layer maps, so that the layer keeps no state of its own.
//!
//! Twin of src/inpod/session/table.py, which describes the layout. Seen here as 64-bit words, little-endian.
//! A socket's slot is
//!
//! ```text
//! word 0       cookie (0: empty, CLAIMED: being written)
//! word 1 to 5  address local (20 bytes), address peer (20 bytes)
//! word 6       errno (low half), kind (next byte)
//! word 7       relay (lowest two bytes)
//! ```

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{fence, AtomicU64};

use crate::addr::ADDR_BYTES;
use crate::Addr;

/// Bytes of the whole file.
pub const TABLE_BYTES: usize = WORDS * 8;

const MAGIC: u64 = u64::from_le_bytes(*b"inpodtb1");
const SLOTS: usize = 65536;
const FLAGS: usize = 1;
const PORTS_AT: usize = 8;
const PORT_WORDS: usize = 6;
const SOCKETS_AT: usize = PORTS_AT + SLOTS * PORT_WORDS;
const SOCKET_WORDS: usize = 8;
const UDP_PORTS_AT: usize = SOCKETS_AT + SLOTS * SOCKET_WORDS;
const WORDS: usize = UDP_PORTS_AT + SLOTS * PORT_WORDS;
const PROBES: usize = 32;
const HASH: u64 = 0x9E37_79B9_7F4A_7C15;
const CLAIMED: u64 = u64::MAX;
const POD_DIRECTORY_SEEN: u64 = 1;

/// What a socket with a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bound to a port that is meant to be the pod's.
    Bound = 1,
    /// Listens on such a port.
    Listener = 2,
    /// Connects, or has connected, to an address of the pod.
    Connecting = 3,
    /// Came from a listener.
    Accepted = 4,
    /// Sends datagrams to addresses of the pod, each by a relay of its own.
    Sending = 5,
}

/// What the table says of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// None for a slot that has been given up.
    pub kind: Option<Kind>,
    /// As getsockname tells.
    pub local: Option<Addr>,
    /// As getpeername tells.
    pub peer: Option<Addr>,
    /// Why its connect failed in the pod; 0: it has not.
    pub errno: i32,
    /// The loopback port that stands for `peer`, of a UDP socket; 0: none.
    pub relay: u16,
}

/// The mapped file.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Table<'a> {
    /// None when the words are no table.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let is_table = words.len() == WORDS && words.first()?.load(Acquire) == MAGIC;
        is_table.then_some(Self { words })
    }

    /// Whether some program of this session may stand in, or have open, a directory of the replica.
    pub fn pod_directory_seen(&self) -> bool {
        self.words.get(FLAGS).is_some_and(|flags| flags.load(Relaxed) & POD_DIRECTORY_SEEN != 0)
    }

    /// Makes [`Table::pod_directory_seen`] true for good.
    pub fn set_pod_directory_seen(&self) {
        if let Some(flags) = self.words.get(FLAGS) {
            flags.fetch_or(POD_DIRECTORY_SEEN, Relaxed);
        }
    }

    /// Returns peer and local address of the connection that the session makes from loopback port `port`.
    pub fn port(&self, port: u16) -> Option<(Addr, Addr)> {
        self.addresses(PORTS_AT, port)
    }

    /// As [`Table::port`], for the datagrams that come from UDP port `port`.
    pub fn udp_port(&self, port: u16) -> Option<(Addr, Addr)> {
        self.addresses(UDP_PORTS_AT, port)
    }

    fn addresses(&self, ports_at: usize, port: u16) -> Option<(Addr, Addr)> {
        let at = ports_at + usize::from(port) * PORT_WORDS;
        let slot = self.words.get(at..at + PORT_WORDS)?;
        let words = [slot.first()?, slot.get(1)?, slot.get(2)?, slot.get(3)?, slot.get(4)?];
        let generation = slot.get(5)?;
        let before = generation.load(Acquire);
        let (peer, local) = two_addresses(words.map(|word| word.load(Acquire)));
        let is_whole = before & 0xFFFF_FFFF != 0 && generation.load(Acquire) == before;
        is_whole.then_some(peer.zip(local)).flatten()
    }

    /// Returns what is known of a socket.
    pub fn socket(&self, cookie: u64) -> Option<Socket> {
        let slot = self.find(cookie)?;
        let [first, words @ .., facts, relay] = slot else { return None };
        let [a, b, c, d, e] = words else { return None };
        let (local, peer) = two_addresses([a, b, c, d, e].map(|word| word.load(Acquire)));
        let facts = facts.load(Acquire);
        let relay = relay.load(Acquire) as u16;
        let [e0, e1, e2, e3, kind, ..] = facts.to_le_bytes();
        // Overwritten meanwhile by another socket's.
        (first.load(Acquire) == cookie).then_some(Socket {
            kind: match kind {
                1 => Some(Kind::Bound),
                2 => Some(Kind::Listener),
                3 => Some(Kind::Connecting),
                4 => Some(Kind::Accepted),
                5 => Some(Kind::Sending),
                _ => None,
            },
            local,
            peer,
            errno: i32::from_le_bytes([e0, e1, e2, e3]),
            relay,
        })
    }

    /// Writes what is known of a socket, over what was known.
    pub fn put(&self, cookie: u64, socket: &Socket) {
        if cookie == 0 || cookie == CLAIMED {
            return;
        }
        let Some([first, words @ .., facts, relay]) = self.claim(cookie) else { return };
        // Who sees one of the words below sees CLAIMED as well.
        fence(Release);
        let mut bytes = [0; 2 * ADDR_BYTES];
        let none = [0; ADDR_BYTES];
        let local = socket.local.map_or(none, Addr::to_bytes);
        let peer = socket.peer.map_or(none, Addr::to_bytes);
        for (to, from) in bytes.iter_mut().zip(local.iter().chain(&peer)) {
            *to = *from;
        }
        for (word, bytes) in words.iter().zip(bytes.chunks_exact(8)) {
            word.store(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)), Relaxed);
        }
        let [e0, e1, e2, e3] = socket.errno.to_le_bytes();
        let kind = socket.kind.map_or(0, |kind| kind as u8);
        facts.store(u64::from_le_bytes([e0, e1, e2, e3, kind, 0, 0, 0]), Relaxed);
        relay.store(u64::from(socket.relay), Relaxed);
        first.store(cookie, Release);
    }

    /// Forgets a socket. Its slot stays taken, as those behind it are found by passing it.
    pub fn forget(&self, cookie: u64) {
        if self.find(cookie).is_some() {
            self.put(cookie, &Socket::default());
        }
    }

    fn find(&self, cookie: u64) -> Option<&'a [AtomicU64]> {
        for slot in self.probe(cookie) {
            match slot.first()?.load(Acquire) {
                0 => return None,
                found if found == cookie => return Some(slot),
                _ => {}
            }
        }
        None
    }

    /// Takes a slot for writing: the socket's own, an empty one, or the one of the oldest socket that does not listen
    /// (cookies grow, and nothing tells us of a socket's end).
    fn claim(&self, cookie: u64) -> Option<&'a [AtomicU64]> {
        let mut oldest: Option<(u64, &[AtomicU64])> = None;
        for slot in self.probe(cookie) {
            let first = slot.first()?;
            let found = first.load(Acquire);
            if found == 0 || found == cookie {
                if first.compare_exchange(found, CLAIMED, AcqRel, Acquire).is_ok() {
                    return Some(slot);
                }
            } else if found != CLAIMED && kind_of(slot) != Kind::Listener as u8 {
                oldest = oldest.filter(|(cookie, _)| *cookie < found).or(Some((found, slot)));
            }
        }
        // Lost to another writer, the facts of this socket are not kept: it tells its real addresses.
        let (found, slot) = oldest?;
        slot.first()?.compare_exchange(found, CLAIMED, AcqRel, Acquire).is_ok().then_some(slot)
    }

    fn probe(&self, cookie: u64) -> impl Iterator<Item = &'a [AtomicU64]> {
        let words = self.words;
        let first = (cookie.wrapping_mul(HASH) >> 48) as usize;
        (0..PROBES).filter_map(move |step| {
            let at = SOCKETS_AT + (first + step) % SLOTS * SOCKET_WORDS;
            words.get(at..at + SOCKET_WORDS)
        })
    }
}

fn kind_of(slot: &[AtomicU64]) -> u8 {
    slot.get(6).map_or(0, |facts| (facts.load(Relaxed) >> 32) as u8)
}

fn two_addresses(words: [u64; 5]) -> (Option<Addr>, Option<Addr>) {
    let mut first = [0; ADDR_BYTES];
    let mut second = [0; ADDR_BYTES];
    let to = first.iter_mut().chain(second.iter_mut());
    for (to, from) in to.zip(words.iter().flat_map(|word| word.to_le_bytes())) {
        *to = from;
    }
    (Addr::from_bytes(&first), Addr::from_bytes(&second))
}
