//! Names in /proc (proc(5)), put together without the heap and without `core::fmt`, whose code could panic.

use core::ffi::CStr;

use crate::text::until_nul;

/// Longest one: "/proc/4294967295/fd/-2147483648".
const LONGEST: usize = 48;

/// A name in /proc.
pub struct ProcPath {
    bytes: [u8; LONGEST],
    length: usize,
}

impl ProcPath {
    /// "/proc/THREAD/FACT"; `thread` None: of this process.
    pub fn of(thread: Option<u32>, fact: &str) -> Self {
        let mut path = Self { bytes: [0; LONGEST], length: 0 };
        path.push(b"/proc/");
        match thread {
            None => path.push(b"self"),
            Some(thread) => path.push_number(thread),
        }
        path.push(b"/");
        path.push(fact.as_bytes());
        path
    }

    /// "/proc/THREAD/fd/FD". There is none of a negative descriptor.
    pub fn of_fd(thread: Option<u32>, fd: i32) -> Self {
        let mut path = Self::of(thread, "fd/");
        match u32::try_from(fd) {
            Ok(fd) => path.push_number(fd),
            Err(_) => path.push(b"-"),
        }
        path
    }

    /// As a C string.
    pub fn as_c_str(&self) -> &CStr {
        until_nul(&self.bytes).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        // A NUL stays behind it.
        let room = self.bytes.iter_mut().take(LONGEST - 1).skip(self.length);
        for (to, from) in room.zip(text) {
            *to = *from;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut rest = number;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(10 - count..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::ProcPath;

    #[test]
    fn names_are_those_of_proc() {
        assert_eq!(ProcPath::of(None, "exe").as_c_str(), c"/proc/self/exe");
        assert_eq!(ProcPath::of(Some(70), "cmdline").as_c_str(), c"/proc/70/cmdline");
        assert_eq!(ProcPath::of_fd(None, 0).as_c_str(), c"/proc/self/fd/0");
        assert_eq!(ProcPath::of_fd(Some(u32::MAX), i32::MAX).as_c_str(), c"/proc/4294967295/fd/2147483647");
        assert_eq!(ProcPath::of_fd(None, -1).as_c_str(), c"/proc/self/fd/-");
    }
}
