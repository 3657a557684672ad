//! Every system call that is trapped.

use crate::call::{Call, Outcome};
use crate::{datagrams, files, names, programs, sockets};

/// What of a session wants a call trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The pod's network.
    Network,
    /// The pod's files.
    Files,
    /// Which program it is: some are left alone.
    Programs,
}

/// Which calls of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those whose argument of this index is not NULL.
    Given(u8),
    /// Those whose argument of this index lacks this bit.
    Without(u8, u32),
    /// Those that ask for SO_ERROR.
    SocketError,
}

/// One system call.
pub struct Trapped {
    /// As in the manual.
    pub name: &'static str,
    /// On this machine.
    pub number: i64,
    /// What wants it.
    pub part: Part,
    /// Which of them.
    pub when: When,
    pub(crate) decide: fn(&Call<'_>) -> Outcome,
}

macro_rules! calls {
    ($($(#[$cfg:meta])? $name:ident $number:ident $part:ident $when:expr => $decide:path;)*) => {
        /// All of them.
        pub const CALLS: &[Trapped] = &[$(
            $(#[$cfg])?
            Trapped {
                name: stringify!($name), number: libc::$number, part: Part::$part, when: $when, decide: $decide,
            },
        )*];
    };
}

/// A descriptor and no path: the kernel's own business.
const BY_FD: u32 = libc::AT_EMPTY_PATH as u32;

calls! {
    bind SYS_bind Network When::Always => sockets::bind;
    listen SYS_listen Network When::Always => sockets::listen;
    accept SYS_accept Network When::Always => sockets::accept;
    accept4 SYS_accept4 Network When::Always => sockets::accept4;
    connect SYS_connect Network When::Always => sockets::connect;
    getsockname SYS_getsockname Network When::Always => sockets::getsockname;
    getpeername SYS_getpeername Network When::Always => sockets::getpeername;
    getsockopt SYS_getsockopt Network When::SocketError => sockets::getsockopt;
    sendto SYS_sendto Network When::Given(4) => datagrams::sendto;
    recvfrom SYS_recvfrom Network When::Given(4) => datagrams::recvfrom;
    uname SYS_uname Network When::Always => names::uname;
    sendmsg SYS_sendmsg Network When::Always => datagrams::sendmsg;
    sendmmsg SYS_sendmmsg Network When::Always => datagrams::sendmmsg;
    recvmsg SYS_recvmsg Network When::Always => datagrams::recvmsg;
    recvmmsg SYS_recvmmsg Network When::Always => datagrams::recvmmsg;

    openat SYS_openat Files When::Always => files::openat;
    openat2 SYS_openat2 Files When::Always => files::openat2;
    newfstatat SYS_newfstatat Files When::Without(3, BY_FD) => files::newfstatat;
    statx SYS_statx Files When::Without(2, BY_FD) => files::statx;
    statfs SYS_statfs Files When::Always => files::statfs;
    faccessat SYS_faccessat Files When::Always => files::faccessat;
    faccessat2 SYS_faccessat2 Files When::Without(3, BY_FD) => files::faccessat2;
    readlinkat SYS_readlinkat Files When::Always => files::readlinkat;
    getcwd SYS_getcwd Files When::Always => files::getcwd;
    chdir SYS_chdir Files When::Always => files::chdir;
    getxattr SYS_getxattr Files When::Always => files::getxattr;
    lgetxattr SYS_lgetxattr Files When::Always => files::lgetxattr;
    listxattr SYS_listxattr Files When::Always => files::listxattr;
    llistxattr SYS_llistxattr Files When::Always => files::llistxattr;
    inotify_add_watch SYS_inotify_add_watch Files When::Always => files::inotify_add_watch;
    execve SYS_execve Programs When::Always => programs::execve;
    execveat SYS_execveat Programs When::Always => programs::execveat;

    #[cfg(target_arch = "x86_64")] open SYS_open Files When::Always => files::open;
    #[cfg(target_arch = "x86_64")] creat SYS_creat Files When::Always => files::creat;
    #[cfg(target_arch = "x86_64")] stat SYS_stat Files When::Always => files::stat;
    #[cfg(target_arch = "x86_64")] lstat SYS_lstat Files When::Always => files::lstat;
    #[cfg(target_arch = "x86_64")] access SYS_access Files When::Always => files::access;
    #[cfg(target_arch = "x86_64")] readlink SYS_readlink Files When::Always => files::readlink;
}

/// Rings would do files and sockets behind our back; every program can do without (ENOSYS).
pub const NOT_THERE: &[i64] = &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
