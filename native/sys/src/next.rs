//! The original of a hooked function: the next library's.
//!
//! As dlsym(3) with RTLD_NEXT finds it, or dlvsym(3) where there are old versions only, but without the lock that these
//! take: so an original is looked up at its first call, wherever that is (a signal handler, a child of vfork or of a fork
//! that another thread's dlopen(3) raced with), and a program pays for the few that it uses.
//!
//! Reads what ld.so keeps for debuggers (link.h: `_r_debug`, `struct link_map`) and the tables of the libraries
//! (elf(5); for DT_GNU_HASH the only description is ld.so itself, `do_lookup_x`).

use core::ffi::{c_char, c_void, CStr};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::text::c_text;

/// A function's name, and what tables of names know it by.
///
/// Two words, which are passed in registers: a larger one would be passed as a pointer to a constant, which has a pointer in
/// it, which ld.so would have to fill in every program.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// A C string that is never freed.
    text: *const c_char,
    hash: u32,
}

impl Name {
    /// Of a name that ends with a NUL and has no other; else of none.
    pub const fn new(text: &'static str) -> Self {
        let text = match CStr::from_bytes_with_nul(text.as_bytes()) {
            Ok(text) => text,
            Err(_) => c"",
        };
        Self { text: text.as_ptr(), hash: hash_of(text.to_bytes()) }
    }
}

/// Where one original is.
pub struct Next(AtomicPtr<c_void>);

impl Next {
    /// Not looked up yet.
    #[allow(clippy::new_without_default, reason = "a place for each name, never two of them by chance")]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Returns the address of the function of that name, always the same one; NULL when no library has it.
    #[inline]
    pub fn address(&self, name: Name) -> *mut c_void {
        let found = self.0.load(Relaxed);
        if found.is_null() {
            self.look_up(name)
        } else {
            found
        }
    }

    #[cold]
    #[inline(never)]
    fn look_up(&self, name: Name) -> *mut c_void {
        let found = find(name);
        self.0.store(found, Relaxed);
        found
    }
}

/// Defines functions of libc that are looked up at their first call, behind the library that calls: a look-up by ld.so costs
/// each program, whether it makes the call or not. `or`: what a call returns when no library has the function.
#[macro_export]
macro_rules! of_next {
    ($(
        $(#[$about:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, or $missing:expr;
    )*) => {
        $(
            $(#[$about])*
            #[inline]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                const NAME: $crate::next::Name = $crate::next::Name::new(concat!(stringify!($name), "\0"));
                static PLACE: $crate::next::Next = $crate::next::Next::new();
                let found = PLACE.address(NAME);
                if found.is_null() {
                    return $missing;
                }
                type Function = unsafe extern "C" fn($($type),*) -> $result;
                // SAFETY: the address of the libc function of this name, which has this signature.
                let function = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Function>(found) };
                // SAFETY: the caller's promise.
                unsafe { function($($argument),*) }
            }
        )*
    };
}

/// The hash of a name in DT_GNU_HASH.
const fn hash_of(name: &[u8]) -> u32 {
    let mut hash: u32 = 5381;
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        hash = hash.wrapping_mul(33).wrapping_add(*byte as u32);
        rest = tail;
    }
    hash
}

/// struct link_map of link.h. The objects that were there at the start stay for good.
#[repr(C)]
struct Object {
    base: usize,
    name: *const c_char,
    dynamic: *const [usize; 2],
    next: *const Object,
}

/// struct r_debug of link.h.
#[repr(C)]
struct Debug {
    version: i32,
    first: *const Object,
}

extern "C" {
    static _r_debug: Debug;
    /// Ours: the linker defines it in every object.
    static _DYNAMIC: [usize; 2];
}

/// Returns the objects that ld.so has loaded, in the order in which it searches them.
fn objects() -> impl Iterator<Item = &'static Object> {
    // SAFETY: ld.so defines it, and sets it up before any code of a library runs.
    let mut next = unsafe { _r_debug.first };
    core::iter::from_fn(move || {
        // SAFETY: ld.so's list: its members are never freed as long as they are in it, its pointers are changed whole.
        let object = unsafe { next.as_ref() }?;
        next = object.next;
        Some(object)
    })
}

fn is_ours(object: &&Object) -> bool {
    object.dynamic == &raw const _DYNAMIC
}

/// Returns the path by which ld.so found our library.
pub fn own_path() -> Option<&'static CStr> {
    let ours = objects().find(is_ours)?;
    // SAFETY: a C string that stays, as our library is never unloaded.
    unsafe { c_text(ours.name) }
}

/// Returns the function of that name in the first library behind ours; NULL when there is none.
///
/// Where all its versions are hidden, for programs that were linked long ago, one of these: such a program called.
pub fn find(name: Name) -> *mut c_void {
    let found = find_version(name, false);
    if found.is_null() {
        find_version(name, true)
    } else {
        found
    }
}

fn find_version(name: Name, takes_hidden: bool) -> *mut c_void {
    let behind_us = objects().skip_while(|object| !is_ours(object)).skip(1);
    // SAFETY: an object of ld.so's list.
    let found = behind_us.filter_map(|object| unsafe { find_in(object, name, takes_hidden) }).next();
    found.unwrap_or_default()
}

/// # Safety
/// `object` is loaded.
unsafe fn find_in(object: &Object, name: Name, takes_hidden: bool) -> Option<*mut c_void> {
    // SAFETY: the caller's promise.
    let tables = unsafe { Tables::of(object) }?;
    let mut index = tables.first_with(name.hash)?;
    loop {
        // SAFETY: the chain goes on until the bit below says that it ends.
        let found = unsafe { at(tables.chains, index - tables.first_index) };
        if found | 1 == name.hash | 1 {
            // SAFETY: a name's text is a C string.
            let text = unsafe { CStr::from_ptr(name.text) };
            // SAFETY: a symbol of the table, as it has a place in the chain.
            if let Some(value) = unsafe { tables.function(index, text, takes_hidden) } {
                return Some((object.base + value) as *mut c_void);
            }
        }
        if found & 1 != 0 {
            return None;
        }
        index += 1;
    }
}

// Tags of the dynamic section (elf.h).
const STRINGS: usize = 5;
const SYMBOLS: usize = 6;
const GNU_HASH: usize = 0x6fff_fef5;
const VERSIONS: usize = 0x6fff_fff0;

const TYPE_FUNCTION: u8 = 2;

/// Of a symbol's version: not for who names no version.
const IS_HIDDEN: u16 = 0x8000;

/// Elf64_Sym.
#[derive(Clone, Copy)]
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: u64,
}

/// What an object has to be looked through.
struct Tables {
    strings: *const c_char,
    symbols: *const Symbol,
    versions: *const u16,
    /// Filter of names: words of 64 bits, their number and how far a hash is shifted for its second bit.
    filter: *const u64,
    filter_words: u32,
    shift: u32,
    buckets: *const u32,
    bucket_count: u32,
    chains: *const u32,
    first_index: u32,
}

impl Tables {
    /// None where there is no DT_GNU_HASH, without which nothing has been linked for twenty years.
    ///
    /// # Safety
    /// `object` is loaded.
    unsafe fn of(object: &Object) -> Option<Self> {
        let (mut strings, mut symbols, mut versions, mut hash) = (0, 0, 0, 0);
        let mut entry = object.dynamic;
        // SAFETY: the dynamic section of a loaded object ends with a tag of 0.
        while let Some([tag, value]) = unsafe { entry.as_ref() }.filter(|[tag, _]| *tag != 0) {
            match *tag {
                STRINGS => strings = *value,
                SYMBOLS => symbols = *value,
                VERSIONS => versions = *value,
                GNU_HASH => hash = *value,
                _ => {}
            }
            // SAFETY: the entry was not the last.
            entry = unsafe { entry.add(1) };
        }
        if strings == 0 || symbols == 0 || hash == 0 {
            return None;
        }
        // ld.so makes them addresses in its own libraries' copies, but leaves those alone that cannot be written.
        let place = |value: usize| if value < object.base { value + object.base } else { value };
        let head = place(hash) as *const u32;
        // SAFETY: the table begins with four words, then come the filter, the buckets and the chains.
        let [bucket_count, first_index, filter_words, shift] = unsafe { *head.cast::<[u32; 4]>() };
        // SAFETY: as above.
        let filter = unsafe { head.add(4) }.cast::<u64>();
        // SAFETY: as above.
        let buckets = unsafe { filter.add(filter_words as usize) }.cast::<u32>();
        // SAFETY: as above.
        let chains = unsafe { buckets.add(bucket_count as usize) };
        Some(Self {
            strings: place(strings) as *const c_char,
            symbols: place(symbols) as *const Symbol,
            versions: if versions == 0 { null() } else { place(versions) as *const u16 },
            filter,
            filter_words,
            shift,
            buckets,
            bucket_count,
            chains,
            first_index,
        })
    }

    /// Index of the first symbol whose hash may be this; None: there is none.
    fn first_with(&self, hash: u32) -> Option<u32> {
        let word = (hash / 64).checked_rem(self.filter_words)?;
        // SAFETY: one of the filter's words.
        let word = unsafe { at(self.filter, word) };
        let bits = 1 << (hash % 64) | 1 << (hash.wrapping_shr(self.shift) % 64);
        if word & bits != bits {
            return None;
        }
        let bucket = hash.checked_rem(self.bucket_count)?;
        // SAFETY: one of the buckets.
        let index = unsafe { at(self.buckets, bucket) };
        (index >= self.first_index && index != 0).then_some(index)
    }

    /// Returns the offset of a function, where a symbol is one of that name: for everybody, unless hidden ones are taken.
    ///
    /// An indirect function is none: its symbol is that of its chooser. Nothing that is hooked is indirect.
    ///
    /// # Safety
    /// `index` is of a symbol of the table.
    unsafe fn function(&self, index: u32, name: &CStr, takes_hidden: bool) -> Option<usize> {
        // SAFETY: the caller's promise.
        let symbol = unsafe { at(self.symbols, index) };
        // SAFETY: a symbol's name is an offset into the strings.
        let text = unsafe { self.strings.add(symbol.name as usize) };
        // SAFETY: the strings are C strings.
        if unsafe { CStr::from_ptr(text) } != name || symbol.section == 0 || symbol.info & 15 != TYPE_FUNCTION {
            return None;
        }
        // SAFETY: every symbol has a version where there are versions.
        let is_hidden = !self.versions.is_null() && unsafe { at(self.versions, index) } & IS_HIDDEN != 0;
        (takes_hidden || !is_hidden).then_some(symbol.value)
    }
}

/// # Safety
/// `table` has a member of that index.
unsafe fn at<T: Copy>(table: *const T, index: u32) -> T {
    // SAFETY: the caller's promise.
    let place = unsafe { table.add(index as usize) };
    // SAFETY: the caller's promise.
    unsafe { *place }
}
