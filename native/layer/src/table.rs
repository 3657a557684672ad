//! Every libc function that is hooked, with its signature.
//!
//! What the lines mean: `hooked`.
//!
//! Variadic functions of few words are defined with their longest form: stable Rust cannot define variadic ones, and on
//! Linux x86-64 and arm64 integers are passed alike. A thread may be cancelled in an original call: that unwinds by force
//! through our frames, none of which has a destructor then (lib.rs), and not as a panic, so `C` it is (RFC 2945).

#![allow(clippy::too_many_arguments, reason = "libc's own")]

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};

use inpod_sys::exec::CArray;
use inpod_sys::files::AT_CWD;
use inpod_wire::Want;
use libc::{addrinfo, hostent, mmsghdr, mode_t, msghdr, sockaddr, socklen_t, timespec, utsname};

use crate::files::{contents, enter, look, open as opened};
use crate::hooked::hooks;
use crate::hooks;
use crate::hooks::fts::{Entry, Walk};
use crate::hooks::walk::Visit;
use crate::hooks::words::Words;

/// A C string.
type Text = *const c_char;
/// Memory that libc or the program looks into, not we.
type Any = *mut c_void;

hooks! {
    // Opening.
    fn open(path: Text, flags: c_int, mode: mode_t) -> c_int = path opened { path, flags };
    fn open64(path: Text, flags: c_int, mode: mode_t) -> c_int = path opened { path, flags };
    fn __open_2(path: Text, flags: c_int) -> c_int = path opened { path, flags };
    fn __open64_2(path: Text, flags: c_int) -> c_int = path opened { path, flags };
    fn openat(dir: c_int, path: Text, flags: c_int, mode: mode_t) -> c_int = at opened { dir, path, flags };
    fn openat64(dir: c_int, path: Text, flags: c_int, mode: mode_t) -> c_int = at opened { dir, path, flags };
    fn __openat_2(dir: c_int, path: Text, flags: c_int) -> c_int = at opened { dir, path, flags };
    fn __openat64_2(dir: c_int, path: Text, flags: c_int) -> c_int = at opened { dir, path, flags };
    fn creat(path: Text, mode: mode_t) -> c_int = path opened { path, libc::O_WRONLY };
    fn creat64(path: Text, mode: mode_t) -> c_int = path opened { path, libc::O_WRONLY };
    fn fopen(path: Text, mode: Text) -> Any = hook hooks::files::fopen;
    fn fopen64(path: Text, mode: Text) -> Any = hook hooks::files::fopen64;
    fn freopen(path: Text, mode: Text, file: Any) -> Any = hook hooks::files::freopen;
    fn freopen64(path: Text, mode: Text, file: Any) -> Any = hook hooks::files::freopen64;
    fn opendir(path: Text) -> Any = path contents { path, Want::List };
    fn scandir(path: Text, list: Any, filter: Any, order: Any) -> c_int = path contents { path, Want::List };
    fn scandir64(path: Text, list: Any, filter: Any, order: Any) -> c_int = path contents { path, Want::List };
    fn scandirat(dir: c_int, path: Text, list: Any, filter: Any, order: Any) -> c_int
        = at contents { dir, path, Want::List };
    fn scandirat64(dir: c_int, path: Text, list: Any, filter: Any, order: Any) -> c_int
        = at contents { dir, path, Want::List };
    fn nftw(path: Text, visit: Visit, descriptors: c_int, flags: c_int) -> c_int = hook hooks::walk::nftw;
    fn nftw64(path: Text, visit: Visit, descriptors: c_int, flags: c_int) -> c_int = hook hooks::walk::nftw64;
    fn ftw(path: Text, visit: Visit, descriptors: c_int) -> c_int = hook hooks::walk::ftw;
    fn ftw64(path: Text, visit: Visit, descriptors: c_int) -> c_int = hook hooks::walk::ftw64;
    fn fts_open(roots: CArray, options: c_int, compare: Any) -> *mut Walk = hook hooks::fts::fts_open;
    fn fts64_open(roots: CArray, options: c_int, compare: Any) -> *mut Walk = hook hooks::fts::fts64_open;
    fn fts_read(walk: *mut Walk) -> *mut Entry = hook hooks::fts::fts_read;
    fn fts64_read(walk: *mut Walk) -> *mut Entry = hook hooks::fts::fts64_read;
    fn fts_children(walk: *mut Walk, options: c_int) -> *mut Entry = hook hooks::fts::fts_children;
    fn fts64_children(walk: *mut Walk, options: c_int) -> *mut Entry = hook hooks::fts::fts64_children;
    fn catopen(name: Text, flag: c_int) -> isize = hook hooks::catalogues::catopen;
    fn glob(pattern: Text, flags: c_int, on_error: Any, found: Any) -> c_int = hook hooks::files::glob;
    fn glob64(pattern: Text, flags: c_int, on_error: Any, found: Any) -> c_int = hook hooks::files::glob64;
    fn wordexp(text: Text, found: *mut Words, flags: c_int) -> c_int = hook hooks::words::wordexp;

    // Looking.
    fn stat(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn stat64(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn lstat(path: Text, to: Any) -> c_int = path look { path, Want::Lstat };
    fn lstat64(path: Text, to: Any) -> c_int = path look { path, Want::Lstat };
    fn fstatat(dir: c_int, path: Text, to: Any, flags: c_int) -> c_int = at look { dir, path, followed(flags) };
    fn fstatat64(dir: c_int, path: Text, to: Any, flags: c_int) -> c_int = at look { dir, path, followed(flags) };
    fn __xstat(version: c_int, path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn __xstat64(version: c_int, path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn __lxstat(version: c_int, path: Text, to: Any) -> c_int = path look { path, Want::Lstat };
    fn __lxstat64(version: c_int, path: Text, to: Any) -> c_int = path look { path, Want::Lstat };
    fn __fxstatat(version: c_int, dir: c_int, path: Text, to: Any, flags: c_int) -> c_int
        = at look { dir, path, followed(flags) };
    fn __fxstatat64(version: c_int, dir: c_int, path: Text, to: Any, flags: c_int) -> c_int
        = at look { dir, path, followed(flags) };
    fn statx(dir: c_int, path: Text, flags: c_int, mask: c_uint, to: Any) -> c_int
        = at look { dir, path, followed(flags) };
    fn statfs(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn statfs64(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn statvfs(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn statvfs64(path: Text, to: Any) -> c_int = path look { path, Want::Stat };
    fn access(path: Text, mode: c_int) -> c_int = path look { path, Want::Stat };
    fn faccessat(dir: c_int, path: Text, mode: c_int, flags: c_int) -> c_int
        = at look { dir, path, followed(flags) };
    fn eaccess(path: Text, mode: c_int) -> c_int = path look { path, Want::Stat };
    fn euidaccess(path: Text, mode: c_int) -> c_int = path look { path, Want::Stat };
    fn ftok(path: Text, id: c_int) -> c_int = path look { path, Want::Stat };
    fn pathconf(path: Text, name: c_int) -> c_long = path look { path, Want::Stat };
    fn getxattr(path: Text, name: Text, to: Any, size: usize) -> isize = path look { path, Want::Stat };
    fn lgetxattr(path: Text, name: Text, to: Any, size: usize) -> isize = path look { path, Want::Lstat };
    fn listxattr(path: Text, to: Any, size: usize) -> isize = path look { path, Want::Stat };
    fn llistxattr(path: Text, to: Any, size: usize) -> isize = path look { path, Want::Lstat };
    fn inotify_add_watch(fd: c_int, path: Text, mask: c_uint) -> c_int = path contents { path, Want::Read };

    // Names of paths, and the working directory.
    fn readlink(path: Text, to: *mut c_char, room: usize) -> isize = hook hooks::files::readlink;
    fn readlinkat(dir: c_int, path: Text, to: *mut c_char, room: usize) -> isize = hook hooks::files::readlinkat;
    fn __readlink_chk(path: Text, to: *mut c_char, room: usize, size: usize) -> isize
        = hook hooks::files::readlink_chk;
    fn __readlinkat_chk(dir: c_int, path: Text, to: *mut c_char, room: usize, size: usize) -> isize
        = hook hooks::files::readlinkat_chk;
    fn realpath(path: Text, to: *mut c_char) -> *mut c_char = hook hooks::files::realpath;
    fn __realpath_chk(path: Text, to: *mut c_char, size: usize) -> *mut c_char = hook hooks::files::realpath_chk;
    fn canonicalize_file_name(path: Text) -> *mut c_char = hook hooks::files::canonicalize_file_name;
    fn getcwd(to: *mut c_char, size: usize) -> *mut c_char = hook hooks::files::getcwd;
    fn __getcwd_chk(to: *mut c_char, size: usize, room: usize) -> *mut c_char = hook hooks::files::getcwd_chk;
    fn get_current_dir_name() -> *mut c_char = hook hooks::files::get_current_dir_name;
    fn chdir(path: Text) -> c_int = path enter { path };

    // Sockets.
    fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int = hook hooks::sockets::bind;
    fn listen(fd: c_int, backlog: c_int) -> c_int = hook hooks::sockets::listen;
    fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int = hook hooks::sockets::accept;
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int
        = hook hooks::sockets::accept4;
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int = hook hooks::sockets::connect;
    fn getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        = hook hooks::sockets::getsockname;
    fn getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        = hook hooks::sockets::getpeername;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: Any, length: *mut socklen_t) -> c_int
        = hook hooks::sockets::getsockopt;

    fn sendto(fd: c_int, data: Any, size: usize, flags: c_int, address: *const sockaddr, length: socklen_t) -> isize
        = hook hooks::datagrams::sendto;
    fn recvfrom(fd: c_int, to: Any, size: usize, flags: c_int, address: *mut sockaddr, length: *mut socklen_t) -> isize
        = hook hooks::datagrams::recvfrom;
    fn __recvfrom_chk(
        fd: c_int, to: Any, size: usize, room: usize, flags: c_int, address: *mut sockaddr, length: *mut socklen_t,
    ) -> isize = hook hooks::datagrams::recvfrom_chk;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize = hook hooks::datagrams::sendmsg;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize = hook hooks::datagrams::recvmsg;
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int
        = hook hooks::datagrams::sendmmsg;
    fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, limit: *mut timespec) -> c_int
        = hook hooks::datagrams::recvmmsg;

    // Hosts.
    fn getaddrinfo(node: Text, service: Text, hints: *const addrinfo, list: *mut *mut addrinfo) -> c_int
        = hook hooks::hosts::getaddrinfo;
    fn gethostbyname(name: Text) -> *mut hostent = hook hooks::hosts::gethostbyname;
    fn gethostbyname2(name: Text, family: c_int) -> *mut hostent = hook hooks::hosts::gethostbyname2;
    fn gethostbyname_r(
        name: Text, host: *mut hostent, buffer: *mut c_char, length: usize, found: *mut *mut hostent,
        h_errno: *mut c_int,
    ) -> c_int = hook hooks::hosts::gethostbyname_r;
    fn gethostbyname2_r(
        name: Text, family: c_int, host: *mut hostent, buffer: *mut c_char, length: usize, found: *mut *mut hostent,
        h_errno: *mut c_int,
    ) -> c_int = hook hooks::hosts::gethostbyname2_r;

    fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent
        = hook hooks::reverse::gethostbyaddr;
    fn gethostbyaddr_r(
        address: *const c_void, length: socklen_t, family: c_int, host: *mut hostent, buffer: *mut c_char, size: usize,
        found: *mut *mut hostent, h_errno: *mut c_int,
    ) -> c_int = hook hooks::reverse::gethostbyaddr_r;
    fn getnameinfo(
        address: *const sockaddr, length: socklen_t, host: *mut c_char, host_size: socklen_t, service: *mut c_char,
        service_size: socklen_t, flags: c_int,
    ) -> c_int = hook hooks::reverse::getnameinfo;

    // Questions of DNS.
    fn res_query(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_query;
    fn __res_query(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_query;
    fn res_search(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_search;
    fn __res_search(name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_search;
    fn res_nquery(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_nquery;
    fn __res_nquery(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_nquery;
    fn res_nsearch(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_nsearch;
    fn __res_nsearch(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_nsearch;
    fn res_querydomain(
        name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int,
    ) -> c_int = hook hooks::resolver::res_querydomain;
    fn __res_querydomain(
        name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int,
    ) -> c_int = hook hooks::resolver::__res_querydomain;
    fn res_nquerydomain(
        state: Any, name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int,
    ) -> c_int = hook hooks::resolver::res_nquerydomain;
    fn __res_nquerydomain(
        state: Any, name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, size: c_int,
    ) -> c_int = hook hooks::resolver::__res_nquerydomain;
    fn res_send(message: *const u8, length: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_send;
    fn __res_send(message: *const u8, length: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_send;
    fn res_nsend(state: Any, message: *const u8, length: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::res_nsend;
    fn __res_nsend(state: Any, message: *const u8, length: c_int, answer: *mut u8, size: c_int) -> c_int
        = hook hooks::resolver::__res_nsend;

    // The host's name.
    fn gethostname(to: *mut c_char, size: usize) -> c_int = hook hooks::names::gethostname;
    fn uname(to: *mut utsname) -> c_int = hook hooks::names::uname;

    // Users.
    fn setuid(user: c_uint) -> c_int = hook hooks::users::setuid;
    fn seteuid(effective: c_uint) -> c_int = hook hooks::users::seteuid;
    fn setreuid(real: c_uint, effective: c_uint) -> c_int = hook hooks::users::setreuid;
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int = hook hooks::users::setresuid;

    // Calls by number.
    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long
        = hook hooks::syscall::syscall;

    // Programs.
    fn execve(path: Text, arguments: CArray, environment: CArray) -> c_int = hook hooks::exec::execve;
    fn execv(path: Text, arguments: CArray) -> c_int = hook hooks::exec::execv;
    fn execvp(file: Text, arguments: CArray) -> c_int = hook hooks::exec::execvp;
    fn execvpe(file: Text, arguments: CArray, environment: CArray) -> c_int = hook hooks::exec::execvpe;
    fn fexecve(fd: c_int, arguments: CArray, environment: CArray) -> c_int = hook hooks::exec::fexecve;
    fn execveat(dir: c_int, path: Text, arguments: CArray, environment: CArray, flags: c_int) -> c_int
        = hook hooks::exec::execveat;
    fn posix_spawn(
        child: *mut c_int, path: Text, actions: *const c_void, attributes: *const c_void, arguments: CArray,
        environment: CArray,
    ) -> c_int = hook hooks::exec::posix_spawn;
    fn posix_spawnp(
        child: *mut c_int, file: Text, actions: *const c_void, attributes: *const c_void, arguments: CArray,
        environment: CArray,
    ) -> c_int = hook hooks::exec::posix_spawnp;
    fn posix_spawn_file_actions_addchdir_np(actions: Any, path: Text) -> c_int = hook hooks::actions::add_chdir;
    fn posix_spawn_file_actions_addopen(actions: Any, fd: c_int, path: Text, flags: c_int, mode: mode_t) -> c_int
        = hook hooks::actions::add_open;
    fn system(command: Text) -> c_int = hook hooks::shell::system;
    fn popen(command: Text, mode: Text) -> Any = hook hooks::shell::popen;
    variadic fn execl(path: Text, words: CArray) -> c_int = hook hooks::exec::execl;
    variadic fn execlp(file: Text, words: CArray) -> c_int = hook hooks::exec::execlp;
    variadic fn execle(path: Text, words: CArray) -> c_int = hook hooks::exec::execle;

    // Libraries.
    jump fn dlopen(path: Text, flags: c_int) -> Any = hook hooks::libraries::dlopen;
}

/// What a call with these flags wants to see.
fn followed(flags: c_int) -> Want {
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        Want::Lstat
    } else {
        Want::Stat
    }
}
