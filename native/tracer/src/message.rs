//! `struct msghdr` of another process (recvmsg(2)), as far as it concerns us.

use inpod_sys::messages::Received;
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

/// Bytes of a `struct mmsghdr`.
pub const ONE_OF_SEVERAL_BYTES: u64 = size_of::<libc::mmsghdr>() as u64;

/// UIO_MAXIOV of the kernel: parts of a message, and messages of a call.
pub const MOST: usize = 1024;

/// Control data of a datagram; more than there are kinds of it for UDP.
const MAX_CONTROL: u64 = 1024;

/// A message.
pub struct Message {
    /// Where its address is, or is to be; 0: nowhere.
    pub name: u64,
    /// Bytes there.
    pub name_room: u32,
    control: u64,
    control_length: u64,
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
        let count = usize::try_from(self.part_count).ok().filter(|count| *count <= MOST)?;
        let mut bytes = vec![0; count * PART_BYTES];
        if !call.read(self.parts_at, &mut bytes) {
            return None;
        }
        let word = |bytes: &[u8], at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        bytes.chunks_exact(PART_BYTES).map(|part| Some((word(part, 0)?, word(part, 8)?))).collect()
    }

    /// Its control data, or room for them.
    pub fn control(&self, call: &Call<'_>) -> Option<Vec<u8>> {
        let mut control = vec![0; self.control_room()];
        call.read(self.control, &mut control).then_some(control)
    }

    /// How many bytes of control data may be written.
    pub fn control_room(&self) -> usize {
        if self.control == 0 {
            return 0;
        }
        self.control_length.min(MAX_CONTROL) as usize
    }

    /// Writes what the kernel would: the sender, control data, and what was cut.
    pub fn tell(
        &self,
        call: &Call<'_>,
        at: u64,
        sender: &SockAddr,
        control: &[u8],
        received: &Received,
    ) -> Result<(), Errno> {
        if self.name != 0 {
            let name = sender.as_bytes();
            call.write(self.name, name.get(..name.len().min(self.name_room as usize)).unwrap_or_default())?;
            call.write(at + NAME_LENGTH_AT, &sender.length().to_ne_bytes())?;
        }
        let control = control.get(..received.control_length).unwrap_or_default();
        call.write(self.control, control)?;
        call.write(at + CONTROL_LENGTH_AT, &(control.len() as u64).to_ne_bytes())?;
        call.write(at + FLAGS_AT, &received.flags.to_ne_bytes())
    }
}
