//! Memory of our own, without the heap: shared with the session, or for what is known for the life of the process.

use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::ptr::{from_ref, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Acquire, Ordering::Release};

use crate::call::{call, int};
use crate::files::{self, OwnedFd};

/// Maps the first `bytes` of a file for reading and writing, for the life of the process. None when that fails.
pub fn map_shared(file: &OwnedFd, bytes: usize) -> Option<&'static [AtomicU64]> {
    // Beyond the file's end a touch would be SIGBUS.
    if files::look_at(file.raw()).ok()?.size < bytes as u64 {
        return None;
    }
    let access = int(libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let address =
        unsafe { call(libc::SYS_mmap, [0, bytes, access, int(libc::MAP_SHARED), int(file.raw()), 0]) }.ok()?;
    // SAFETY: the mapping has `bytes` bytes, is page aligned, and is never undone; others write it, hence atomics.
    Some(unsafe { core::slice::from_raw_parts(address as *const AtomicU64, bytes / 8) })
}

fn map_own(bytes: usize) -> Option<usize> {
    let access = int(libc::PROT_READ | libc::PROT_WRITE);
    let flags = int(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    unsafe { call(libc::SYS_mmap, [0, bytes, access, flags, int(-1), 0]) }.ok()
}

/// Memory for what stays. Takes what it needs, page by page, of the room that it was made with.
pub struct Arena {
    at: usize,
    end: usize,
}

impl Arena {
    /// With room for `bytes`. None: the kernel has none.
    pub fn new(bytes: usize) -> Option<Self> {
        let at = map_own(bytes)?;
        Some(Self { at, end: at + bytes })
    }

    /// Returns `count` copies of a value. None: no room is left.
    pub fn many<T: Copy>(&mut self, value: T, count: usize) -> Option<&'static mut [T]> {
        let place: *mut T = self.take(size_of::<T>().checked_mul(count)?, align_of::<T>())?;
        for index in 0..count {
            // SAFETY: the room is for so many.
            let to = unsafe { place.add(index) };
            // SAFETY: as above.
            unsafe { to.write(value) };
        }
        // SAFETY: written above; of a mapping that is never undone, and taken only once.
        Some(unsafe { core::slice::from_raw_parts_mut(place, count) })
    }

    /// Returns a value's place. None: no room is left.
    pub fn one<T>(&mut self, value: T) -> Option<&'static T> {
        let place: *mut T = self.take(size_of::<T>(), align_of::<T>())?;
        // SAFETY: room for one.
        unsafe { place.write(value) };
        // SAFETY: as for `many`.
        Some(unsafe { &*place })
    }

    fn take<T>(&mut self, bytes: usize, alignment: usize) -> Option<*mut T> {
        let place = self.at.next_multiple_of(alignment);
        let end = place.checked_add(bytes).filter(|end| *end <= self.end)?;
        self.at = end;
        Some(place as *mut T)
    }
}

/// Memory for a while, more of it than a thread's stack may have.
pub struct Scratch {
    at: usize,
    length: usize,
}

impl Scratch {
    /// All zeroes. None: the kernel has none.
    pub fn new(length: usize) -> Option<Self> {
        Some(Self { at: map_own(length)?, length })
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: a mapping of that length that only this value knows.
        unsafe { core::slice::from_raw_parts_mut(self.at as *mut u8, self.length) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the mapping that this value was made with, and nobody uses any more.
        let _ = unsafe { call(libc::SYS_munmap, [self.at, self.length, 0, 0, 0, 0]) };
    }
}

/// An array of C strings that ends with NULL, with the strings.
pub struct Words {
    room: Scratch,
    count: usize,
    end: usize,
}

impl Words {
    /// Longest string, with its NUL: room is taken only as it is used.
    const LONGEST: usize = 8192;

    /// With room for `count` strings. None: the kernel has none.
    pub fn new(count: usize) -> Option<Self> {
        let end = (count + 1) * size_of::<usize>();
        Some(Self { room: Scratch::new(end + count * Self::LONGEST)?, count: 0, end })
    }

    /// Adds a string, of which these are the parts. None: no room is left.
    pub fn push(&mut self, parts: &[&[u8]]) -> Option<()> {
        let (start, place) = (self.end, self.count * size_of::<usize>());
        let address = (self.room.at + start).to_ne_bytes();
        let room = self.room.bytes();
        for byte in parts.iter().copied().flatten() {
            *room.get_mut(self.end)? = *byte;
            self.end += 1;
        }
        // Its NUL is there.
        self.end += 1;
        for (to, from) in room.iter_mut().skip(place).zip(address) {
            *to = from;
        }
        self.count += 1;
        Some(())
    }

    /// The array, for as long as this value lives.
    pub fn array(&self) -> *const *const c_char {
        self.room.at as *const *const c_char
    }
}

/// Files that were seen before, by device and number.
#[derive(Default)]
pub struct Seen {
    room: Option<Scratch>,
    count: usize,
}

impl Seen {
    const BYTES: usize = 16;
    const AT_FIRST: usize = 256 * Self::BYTES;

    /// Adds one; whether it was not seen before. None: there is no memory for it.
    pub fn add(&mut self, device: u64, number: u64) -> Option<bool> {
        let mut key = [0; Self::BYTES];
        for (to, from) in key.iter_mut().zip(device.to_ne_bytes().into_iter().chain(number.to_ne_bytes())) {
            *to = from;
        }
        let end = self.count * Self::BYTES;
        let is_full = self.room.as_ref().is_none_or(|room| room.length == end);
        let known = self.room.as_mut().map(Scratch::bytes).unwrap_or_default();
        if known.chunks_exact(Self::BYTES).take(self.count).any(|one| one == key) {
            return Some(false);
        }
        if is_full {
            let mut more = Scratch::new((2 * end).max(Self::AT_FIRST))?;
            for (to, from) in more.bytes().iter_mut().zip(known) {
                *to = *from;
            }
            self.room = Some(more);
        }
        let room = self.room.as_mut().map(Scratch::bytes).unwrap_or_default();
        for (to, from) in room.iter_mut().skip(end).zip(key) {
            *to = from;
        }
        self.count += 1;
        Some(true)
    }
}

/// A value that is completed once, at the start of the process, and read from then on.
pub struct AtStart<T> {
    value: UnsafeCell<T>,
    is_there: AtomicBool,
}

// SAFETY: nobody gets the value before it is whole, nor changes it from then on.
unsafe impl<T: Sync> Sync for AtStart<T> {}

impl<T> AtStart<T> {
    /// What is to be completed.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), is_there: AtomicBool::new(false) }
    }

    /// Returns it; None before it is complete.
    pub fn get(&self) -> Option<&T> {
        if !self.is_there.load(Acquire) {
            return None;
        }
        // SAFETY: nobody writes what is complete.
        Some(unsafe { &*self.value.get() })
    }

    /// Completes it, in its place; `complete` says whether it did.
    ///
    /// # Safety
    /// Called once.
    #[inline]
    pub unsafe fn set(&self, complete: impl FnOnce(&mut T) -> bool) {
        // SAFETY: nobody else writes, as it is the only call, and nobody reads what is not complete.
        let value = unsafe { &mut *self.value.get() };
        self.is_there.store(complete(value), Release);
    }
}

/// Where something lies that is there from some time on; looked at by any thread.
pub struct Known<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Known<T> {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "a static's first value")]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Returns it.
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: NULL, or what `set` was given, which stays.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    /// Puts it there.
    pub fn set(&self, value: &'static T) {
        self.0.store(from_ref(value).cast_mut(), Release);
    }
}
