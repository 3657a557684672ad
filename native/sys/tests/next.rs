//! Originals are found where dlsym finds them, in their newest version.

use core::ffi::CStr;

use inpod_sys::next::{find, Name, Next};

#[test]
fn functions_are_those_that_dlsym_finds() {
    for name in [
        "open\0",
        "connect\0",
        "posix_spawn\0",
        "posix_spawnp\0",
        "glob\0",
        "glob64\0",
        "realpath\0",
        "fopen\0",
        "execve\0",
        "getaddrinfo\0",
        "gethostbyname2_r\0",
        "__xstat\0",
        "statx\0",
        "recvmmsg\0",
        "res_nquery\0",
        "syscall\0",
    ] {
        let text = CStr::from_bytes_with_nul(name.as_bytes()).unwrap();
        // SAFETY: a C string, and a handle that dlsym(3) knows.
        let expected = unsafe { libc::dlsym(libc::RTLD_NEXT, text.as_ptr()) };
        assert!(!expected.is_null(), "{name}");
        assert_eq!(find(Name::new(name)), expected, "{name}");
    }
}

#[test]
fn functions_of_which_there_are_old_versions_only_are_those_that_dlvsym_finds() {
    // Of glibc since 2.34; before, they are no hidden ones.
    for name in ["__res_query\0", "__res_nsend\0"] {
        let text = CStr::from_bytes_with_nul(name.as_bytes()).unwrap();
        let version = if cfg!(target_arch = "aarch64") { c"GLIBC_2.17" } else { c"GLIBC_2.2.5" };
        // SAFETY: C strings, and a handle that dlvsym(3) knows.
        let expected = unsafe { libc::dlvsym(libc::RTLD_NEXT, text.as_ptr(), version.as_ptr()) };
        assert_eq!(find(Name::new(name)), expected, "{name}");
    }
}

#[test]
fn what_no_library_has_is_null_and_looked_up_again() {
    let place = Next::new();
    assert!(place.address(Name::new("no_such_function\0")).is_null());
    assert!(!place.address(Name::new("open\0")).is_null());
    assert_eq!(place.address(Name::new("close\0")), find(Name::new("open\0")));
}
