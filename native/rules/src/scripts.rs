//! The first line of a script, as execve(2) reads it: the interpreter, and at most one argument.

use core::ffi::CStr;

/// Longest first line that the kernel reads (BINPRM_BUF_SIZE).
pub const SCRIPT_LINE: usize = 256;

/// The line, cut into two strings in place.
#[derive(Clone, Copy, Debug)]
pub struct ScriptLine {
    bytes: [u8; SCRIPT_LINE + 1],
    interpreter_at: usize,
    /// The line's end: there is none.
    argument_at: usize,
}

impl ScriptLine {
    /// Reads the head of a file. None: no script.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let rest = head.strip_prefix(b"#!")?;
        let rest = rest.get(..SCRIPT_LINE - 2).unwrap_or(rest);
        let line = rest.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or(rest);
        let mut bytes = [0; SCRIPT_LINE + 1];
        // A NUL follows, as the line is shorter than the room.
        for (to, from) in bytes.iter_mut().zip(line) {
            *to = *from;
        }
        while let Some(last) = bytes.iter_mut().rev().find(|byte| **byte != 0).filter(|byte| is_blank(**byte)) {
            *last = 0;
        }
        let interpreter_at = after(&bytes, 0, is_blank);
        let end = after(&bytes, interpreter_at, |byte| byte != 0 && !is_blank(byte));
        let argument_at = after(&bytes, end, is_blank);
        if let Some(byte) = bytes.get_mut(end) {
            *byte = 0;
        }
        Some(Self { bytes, interpreter_at, argument_at })
    }

    /// The path of the interpreter; "" where there is none.
    pub fn interpreter(&self) -> &CStr {
        self.text(self.interpreter_at)
    }

    /// All of the rest of the line.
    pub fn argument(&self) -> Option<&CStr> {
        Some(self.text(self.argument_at)).filter(|text| !text.is_empty())
    }

    fn text(&self, at: usize) -> &CStr {
        self.bytes.get(at..).and_then(|rest| CStr::from_bytes_until_nul(rest).ok()).unwrap_or_default()
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn after(bytes: &[u8], from: usize, is_part: impl Fn(u8) -> bool) -> usize {
    from + bytes.iter().skip(from).take_while(|byte| is_part(**byte)).count()
}
