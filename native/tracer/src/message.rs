//! `struct msghdr` of another process (recvmsg(2)), as far as it concerns us.

use inpod_sys::sockaddr::SockAddr;
use inpod_sys::Errno;

use crate::call::Call;

// struct msghdr and struct iovec of 64-bit machines.
const MESSAGE_BYTES: usize = size_of::<libc::msghdr>();
const NAME_LENGTH_AT: u64 = 8;
const CONTROL_LENGTH_AT: u64 = 40;
const FLAGS_AT: u64 = 48;
const PART_BYTES: usize = size_of::<libc::iovec>();

/// Where in a `struct mmsghdr` the length of its message is.
pub const LENGTH_AT: u64 = MESSAGE_BYTES as u64;

/// UIO_MAXIOV of the kernel.
const MAX_PARTS: usize = 1024;

/// A message.
pub struct Message {
    /// Where its address is, or is to be; 0: nowhere.
    pub name: u64,
    /// Bytes there.
    pub name_room: u32,
    /// Where its control data are.
    pub control: u64,
    /// Bytes there.
    pub control_length: u64,
    parts_at: u64,
    part_count: u64,
}

impl Message {
    /// Reads the one at an address.
    pub fn read(call: &Call<'_>, at: u64) -> Option<Self> {
        let mut bytes = [0; MESSAGE_BYTES];
        if !call.read(at, &mut bytes) {
            return None;
        }
        let word = |at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            name: word(0)?,
            name_room: word(8)? as u32,
            parts_at: word(16)?,
            part_count: word(24)?,
            control: word(32)?,
            control_length: word(40)?,
        })
    }

    /// Addresses and lengths of its parts; None when they cannot be read, or are more than the kernel takes.
    pub fn parts(&self, call: &Call<'_>) -> Option<Vec<(u64, u64)>> {
        let count = usize::try_from(self.part_count).ok().filter(|count| *count <= MAX_PARTS)?;
        let mut bytes = vec![0; count * PART_BYTES];
        if !call.read(self.parts_at, &mut bytes) {
            return None;
        }
        let word = |bytes: &[u8], at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        bytes.chunks_exact(PART_BYTES).map(|part| Some((word(part, 0)?, word(part, 8)?))).collect()
    }

    /// Writes what the kernel would: the sender, no control data, and whether the datagram was cut.
    pub fn tell(&self, call: &Call<'_>, at: u64, sender: &SockAddr, is_cut: bool) -> Result<(), Errno> {
        let name = sender.as_bytes();
        call.write(self.name, name.get(..name.len().min(self.name_room as usize)).unwrap_or_default())?;
        call.write(at + NAME_LENGTH_AT, &sender.length().to_ne_bytes())?;
        call.write(at + CONTROL_LENGTH_AT, &0u64.to_ne_bytes())?;
        call.write(at + FLAGS_AT, &(if is_cut { libc::MSG_TRUNC } else { 0 }).to_ne_bytes())
    }
}
