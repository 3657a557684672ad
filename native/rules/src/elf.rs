//! Can the layer reach a program? By its first bytes, as execve(2) and ld.so(8) read them.

use crate::scripts::SCRIPT_LINE;

/// How much of a program is read at once: nearly always all that is looked at.
pub const HEAD_BYTES: usize = 1024;

const CLASS_64: u8 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const MAX_HEADERS: u16 = 64;
/// Go writes its notes with this name; such programs make system calls of their own even when they use libc.
const GO_NOTE: &[u8] = b"Go\0\0";
/// Bun's own sections, and those of what `bun build --compile` makes, have names that begin so. It opens files by system
/// calls of its own.
const BUN_SECTION: &[u8] = b".bun";
/// Bun's section headers lie at its end, some 100 MB behind its start. Smaller programs are not asked for the names.
const LEAST_BUN_BYTES: u64 = 32 << 20;
const SECTION_NAMES: usize = 1024;

/// What a file is to execve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The layer will be in it, or it is no program that we know: the kernel decides.
    Reachable,
    /// Runs an interpreter (`crate::scripts`).
    Script,
    /// The layer cannot be in it.
    Beyond(Why),
}

/// Why the layer cannot be in a program, or may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No dynamic linker.
    Static,
    /// Its own system calls.
    Go,
    /// Its own system calls, for files.
    Bun,
    /// Another libc, whose linker would refuse the layer and end the program.
    Musl,
    /// Another word size.
    Bits32,
    /// The linker ignores LD_PRELOAD.
    SetId,
    /// May be executed, but not read: nobody knows.
    Unreadable,
}

impl Why {
    /// The word in a WARN message.
    pub fn word(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Go => "go",
            Self::Bun => "bun",
            Self::Musl => "musl",
            Self::Bits32 => "32-bit",
            Self::SetId => "set-id",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Looks at a program by its first bytes, [`HEAD_BYTES`] where it has so many; `read(offset, room)` fills `room` from
/// further behind and returns how many bytes there were.
pub fn look(head: &[u8], read: impl FnMut(u64, &mut [u8]) -> usize) -> Program {
    if head.starts_with(b"#!") {
        return Program::Script;
    }
    if !head.starts_with(b"\x7fELF") {
        return Program::Reachable;
    }
    if head.get(4) != Some(&CLASS_64) {
        return Program::Beyond(Why::Bits32);
    }
    let Some((at, size, count)) = program_headers(head) else { return Program::Reachable };
    look_at_headers(&mut Reader { head, read }, at, size, count.min(MAX_HEADERS))
}

struct Reader<'h, R> {
    head: &'h [u8],
    read: R,
}

impl<R: FnMut(u64, &mut [u8]) -> usize> Reader<'_, R> {
    fn fill(&mut self, offset: u64, room: &mut [u8]) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.head.get(start..).and_then(|rest| rest.get(..room.len())) {
            Some(found) => {
                room.copy_from_slice(found);
                found.len()
            }
            None => (self.read)(offset, room),
        }
    }
}

/// Offset, size and number of the program headers (elf(5), Elf64_Ehdr).
fn program_headers(head: &[u8]) -> Option<(u64, u16, u16)> {
    Some((u64_at(head, 32)?, u16_at(head, 54)?, u16_at(head, 56)?))
}

fn look_at_headers(
    reader: &mut Reader<'_, impl FnMut(u64, &mut [u8]) -> usize>,
    at: u64,
    size: u16,
    count: u16,
) -> Program {
    let mut has_interpreter = false;
    for index in 0..count {
        let mut header = [0; 56];
        let from = at.saturating_add(u64::from(index) * u64::from(size));
        if reader.fill(from, &mut header) < header.len() {
            return Program::Reachable;
        }
        let (Some(kind), Some(offset)) = (u32_at(&header, 0), u64_at(&header, 8)) else { continue };
        let length = u64_at(&header, 32).unwrap_or(0) as usize;
        let mut content = [0; SCRIPT_LINE];
        let wanted = length.min(content.len());
        if kind == PT_INTERP {
            has_interpreter = true;
            let interpreter = some(reader, offset, &mut content, wanted);
            if interpreter.windows(8).any(|window| window == b"/ld-musl") {
                return Program::Beyond(Why::Musl);
            }
        } else if kind == PT_NOTE && some(reader, offset, &mut content, wanted).windows(4).any(|part| part == GO_NOTE) {
            return Program::Beyond(Why::Go);
        }
    }
    if !has_interpreter {
        Program::Beyond(Why::Static)
    } else if is_bun(reader) == Some(true) {
        Program::Beyond(Why::Bun)
    } else {
        Program::Reachable
    }
}

/// Looks at the names of a large program's sections (elf(5), Elf64_Shdr).
fn is_bun(reader: &mut Reader<'_, impl FnMut(u64, &mut [u8]) -> usize>) -> Option<bool> {
    let head = reader.head;
    let at = u64_at(head, 40)?;
    if at < LEAST_BUN_BYTES {
        return Some(false);
    }
    let (size, index) = (u16_at(head, 58)?, u16_at(head, 62)?);
    let mut header = [0; 64];
    let length = reader.fill(at.saturating_add(u64::from(size) * u64::from(index)), &mut header);
    let header = header.get(..length)?;
    let (offset, wanted) = (u64_at(header, 24)?, u64_at(header, 32)? as usize);
    let mut names = [0; SECTION_NAMES];
    let names = some(reader, offset, &mut names, wanted.min(SECTION_NAMES));
    Some(names.windows(BUN_SECTION.len()).any(|part| part == BUN_SECTION))
}

fn some<'a>(
    reader: &mut Reader<'_, impl FnMut(u64, &mut [u8]) -> usize>,
    offset: u64,
    room: &'a mut [u8],
    wanted: usize,
) -> &'a [u8] {
    let length = room.get_mut(..wanted).map_or(0, |room| reader.fill(offset, room));
    room.get(..length).unwrap_or_default()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
