//! Numbers and addresses in text form. By hand: the code of `core` for them could panic, for all that the compiler sees,
//! and a library in which nothing can panic needs no code for panics, nor what unwinds (docs/how-it-works/interceptors.md).

/// Reads a decimal number.
pub fn number(text: &[u8]) -> Option<u16> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u16, |number, byte| number.checked_mul(10)?.checked_add(digit(*byte, 10)?))
}

/// Reads an IPv4 address, as ::ffff:a.b.c.d, or an IPv6 one.
pub fn ip(text: &[u8]) -> Option<[u8; 16]> {
    if text.contains(&b':') {
        return ipv6(text);
    }
    let [a, b, c, d] = ipv4(text)?;
    Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
}

fn ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let mut parts = text.split(|byte| *byte == b'.');
    let mut ip = [0; 4];
    for to in &mut ip {
        *to = number(parts.next()?)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(ip)
}

fn ipv6(text: &[u8]) -> Option<[u8; 16]> {
    let gap = text.windows(2).position(|two| two == b"::");
    let (front, back) = match gap {
        Some(at) => (text.get(..at)?, text.get(at + 2..)?),
        None => (text, b"".as_slice()),
    };
    let mut front = Groups::read(front)?;
    let back = Groups::read(back)?;
    let is_whole = if gap.is_some() { front.count + back.count < 16 } else { front.count == 16 };
    if !is_whole {
        return None;
    }
    for (to, from) in front.bytes.iter_mut().skip(16 - back.count).zip(back.bytes) {
        *to = from;
    }
    Some(front.bytes)
}

/// Groups of an IPv6 address, as bytes.
struct Groups {
    bytes: [u8; 16],
    count: usize,
}

impl Groups {
    fn read(text: &[u8]) -> Option<Self> {
        let mut groups = Self { bytes: [0; 16], count: 0 };
        for group in text.split(|byte| *byte == b':').filter(|_| !text.is_empty()) {
            if group.contains(&b'.') {
                groups.push(&ipv4(group)?)?;
                continue;
            }
            if group.is_empty() || group.len() > 4 {
                return None;
            }
            let value = group.iter().try_fold(0_u16, |value, byte| Some(value << 4 | digit(*byte, 16)?))?;
            groups.push(&value.to_be_bytes())?;
        }
        Some(groups)
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        for byte in bytes {
            *self.bytes.get_mut(self.count)? = *byte;
            self.count += 1;
        }
        Some(())
    }
}

fn digit(byte: u8, base: u16) -> Option<u16> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => return None,
    };
    Some(u16::from(value)).filter(|value| *value < base)
}

#[cfg(test)]
mod tests {
    use super::{ip, number};
    use std::net::IpAddr;

    #[test]
    fn numbers_are_those_of_sixteen_bits() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"65535"), Some(65535));
        for text in ["", "65536", "99999999999", "-1", "+1", "1 ", "0x1", "a"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        let texts = "10.1.2.3 0.0.0.0 255.255.255.255 1.2.3 1.2.3.4.5 256.1.1.1 1..2.3 :: ::1 1:: fd00:: 1:2:3:4:5:6:7:8 \
            1:2:3:4:5:6:7:8:9 1:2:3:4:5:6:7 1::2::3 fe80::1:2 ::ffff:10.1.2.3 ::10.1.2.3 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 \
            ABCD:ef::0 12345:: g:: : ::: 1: :1 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1:2:3:4::5:6:7:8 1::3:4:5:6:7:8 abc";
        for text in texts.split_whitespace() {
            let expected = text.parse().ok().map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            });
            assert_eq!(ip(text.as_bytes()), expected, "{text}");
        }
    }
}
