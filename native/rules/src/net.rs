//! Which sockets are the pod's, by address.

use crate::facts::Line;
use crate::{Addr, FilesMode, Rules};

/// Where libc asks a daemon of this machine for names, before the files and servers that are the pod's: nscd, and
/// systemd-resolved.
const NAME_DAEMONS: &[&[u8]] =
    &[b"/var/run/nscd/socket", b"/run/nscd/socket", b"/run/systemd/resolve/io.systemd.Resolve"];

impl Rules<'_> {
    /// Returns the loopback address that a TCP socket really gets when its program asks for `wanted`.
    ///
    /// None: the layer keeps out. A port of 0 is a client's or a test's, a local port a debugger's or the user's choice.
    pub fn bind(&self, wanted: &Addr, is_v6_only: bool) -> Option<Addr> {
        if !self.network || !self.incoming || !self.is_pod_port(wanted.port) {
            return None;
        }
        let had = self.others.iter().find_map(|line| match line {
            Line::ListenPort(asked, had) if *asked == wanted.port => Some(*had),
            _ => None,
        });
        let port = had.unwrap_or(wanted.port);
        if wanted.is_loopback() {
            return self.localhost.then_some(Addr { port, ..*wanted });
        }
        Some(Addr::loopback(wanted.family, is_v6_only, port))
    }

    /// Whether the pod resolves `name`. `hostname` is this machine's, which the pod cannot know.
    pub fn resolves_remotely(&self, name: &[u8], hostname: &[u8]) -> bool {
        self.network
            && self.names
            && !name.is_empty()
            && !is_numeric(name)
            && !name.eq_ignore_ascii_case(b"localhost")
            && !name.eq_ignore_ascii_case(b"localhost.")
            && name != hostname
            && self.is_chosen_name(name)
    }

    /// Whether a unix socket is as if it were not there: it would answer for this machine.
    pub fn hides_socket(&self, path: &[u8]) -> bool {
        self.network && self.names && self.files != FilesMode::Local && NAME_DAEMONS.contains(&path)
    }

    fn is_chosen_name(&self, name: &[u8]) -> bool {
        let is_listed = |line: &Line<'_>| match line {
            Line::RemoteName(wanted) => Some(is_like(name, wanted)),
            _ => None,
        };
        let is_local = |line: &Line<'_>| matches!(line, Line::LocalName(unwanted) if is_like(name, unwanted));
        // The best of the list; true where there is no list.
        let is_remote = is_of_address(name) || self.others.iter().filter_map(is_listed).max().unwrap_or(true);
        is_remote && !self.others.iter().any(is_local)
    }

    /// Whether the pod tells an address's name: loopback has the same everywhere.
    pub fn names_remotely(&self, addr: &Addr) -> bool {
        self.network && self.names && !addr.is_loopback() && !addr.is_any()
    }

    fn is_pod_port(&self, port: u16) -> bool {
        let is_listed = |line: &Line<'_>| match line {
            Line::OnlyPort(only) => Some(*only == port),
            _ => None,
        };
        port != 0 && !self.is_local_port(port) && self.others.iter().filter_map(is_listed).max().unwrap_or(true)
    }

    pub(crate) fn is_local_port(&self, port: u16) -> bool {
        self.others.iter().any(|line| matches!(line, Line::LocalPort(local) if *local == port))
    }
}

/// Whether a name is what DNS has in the place of an address: no list of names is about those.
fn is_of_address(name: &[u8]) -> bool {
    is_like(name, b"*.in-addr.arpa") || is_like(name, b"*.ip6.arpa")
}

/// Whether a name is one of a pattern: itself, or "*." and what its names end in.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    match pattern.strip_prefix(b"*") {
        None => name.eq_ignore_ascii_case(pattern),
        Some(end) => {
            let begin = name.len().checked_sub(end.len()).filter(|begin| *begin > 0);
            begin.and_then(|begin| name.get(begin..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
        }
    }
}

/// Whether a host is an address in text form: any IPv6 one has a colon, and no name ends in an all-digit label.
fn is_numeric(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    name.contains(&b':')
        || (!last.is_empty() && last.iter().all(u8::is_ascii_digit))
        || (last.starts_with(b"0x") && last.iter().skip(2).all(u8::is_ascii_hexdigit))
}
