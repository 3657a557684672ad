//! Addresses of sockets, and their 20 bytes in messages and in the table.

/// Bytes of an address in messages and in the table.
pub const ADDR_BYTES: usize = 20;

/// First 12 bytes of an IPv4 address in IPv6 form, ::ffff:a.b.c.d.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

const LOOPBACK_V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Family of a socket: a v6 socket may have a mapped IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
}

/// An IP address and a port, as a socket of `family` sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    /// Of the socket.
    pub family: Family,
    /// In host byte order.
    pub port: u16,
    /// IPv4 as ::ffff:a.b.c.d.
    pub ip: [u8; 16],
}

impl Addr {
    /// Returns the IPv4 address `ip` for a socket of `family`.
    pub fn v4(family: Family, ip: [u8; 4], port: u16) -> Self {
        let [a, b, c, d] = ip;
        Self { family, port, ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] }
    }

    /// Returns the loopback address that a socket can use: ::1 only where it takes no IPv4.
    pub fn loopback(family: Family, is_v6_only: bool, port: u16) -> Self {
        if is_v6_only {
            return Self { family, port, ip: LOOPBACK_V6 };
        }
        Self::v4(family, [127, 0, 0, 1], port)
    }

    /// The four bytes of an IPv4 address, mapped or not.
    pub fn ipv4(&self) -> Option<[u8; 4]> {
        let [.., a, b, c, d] = self.ip;
        self.ip.starts_with(&MAPPED).then_some([a, b, c, d])
    }

    /// 127.0.0.0/8 or ::1.
    pub fn is_loopback(&self) -> bool {
        self.ip == LOOPBACK_V6 || matches!(self.ipv4(), Some([127, ..]))
    }

    /// 0.0.0.0 or ::, which connect(2) takes for loopback.
    pub fn is_any(&self) -> bool {
        self.ip == [0; 16] || self.ipv4() == Some([0; 4])
    }

    /// Multicast, or IPv4's broadcast to all.
    pub fn is_for_many(&self) -> bool {
        match self.ipv4() {
            Some([first, ..]) => (224..240).contains(&first) || self.ipv4() == Some([255; 4]),
            None => self.ip.starts_with(&[0xff]),
        }
    }

    /// Whether it is an address of one host, and told by its bytes alone: those of a link need the device, too.
    pub fn is_of_one_host(&self) -> bool {
        let is_of_link = matches!(self.ip, [0xfe, second, ..] if second & 0xc0 == 0x80);
        !self.is_loopback() && !self.is_any() && !self.is_for_many() && !is_of_link
    }

    /// Whether a socket of this family can name the address: an IPv4 socket has no IPv6 peer.
    pub fn is_expressible(&self) -> bool {
        self.family == Family::V6 || self.ipv4().is_some()
    }

    /// Returns the address as u8 family (4 or 6), u8 zero, u16 port little-endian, 16 bytes ip.
    pub fn to_bytes(self) -> [u8; ADDR_BYTES] {
        let mut bytes = [0; ADDR_BYTES];
        let [low, high] = self.port.to_le_bytes();
        let family = match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        for (to, from) in bytes.iter_mut().zip([family, 0, low, high].iter().chain(&self.ip)) {
            *to = *from;
        }
        bytes
    }

    /// Reads what [`Addr::to_bytes`] wrote; None where there is no address (family 0).
    pub fn from_bytes(bytes: &[u8; ADDR_BYTES]) -> Option<Self> {
        let [family, _, low, high, ip @ ..] = *bytes;
        let family = match family {
            4 => Family::V4,
            6 => Family::V6,
            _ => return None,
        };
        Some(Self { family, port: u16::from_le_bytes([low, high]), ip })
    }
}
