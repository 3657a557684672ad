//! Sockets: decided as the layer does, on a copy of the program's descriptor.
//!
//! A call that blocks is made without blocking and then waited for beside, as a signal must be able to end it: from when
//! we have received a call until we answer it, only a fatal signal reaches the thread.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use inpod_ops::guard::guarded;
use inpod_ops::incoming::{self, End};
use inpod_ops::outgoing;
use inpod_ops::plan::Plan;
use inpod_ops::unix_streams;
use inpod_rules::Addr;
use inpod_sys::files::OwnedFd;
use inpod_sys::sockaddr::{SockAddr, UNIX_BYTES};
use inpod_sys::sockets::{self, Ready};
use inpod_sys::Errno;

use crate::call::{Call, Outcome};

/// How often a wait looks for a signal to the thread, and for its end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether a socket blocks is a matter of all its descriptors: one at a time makes it not block for a moment.
static UNBLOCKED: Mutex<()> = Mutex::new(());

pub fn bind(call: &Call<'_>) -> Outcome {
    let Some(wanted) = call.address(1, 2) else { return Outcome::GoOn };
    if !call.state.rules.network || (wanted.port == 0 && !wanted.is_of_one_host()) {
        return Outcome::GoOn;
    }
    if !call.may_wait {
        return Outcome::Later;
    }
    if call.caller().is_skipped() {
        return Outcome::GoOn;
    }
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    match guarded(|| incoming::bind(call.state, fd.raw(), &wanted)) {
        Some(done) => Outcome::Done(done.map(|()| 0)),
        None => Outcome::GoOn,
    }
}

pub fn listen(call: &Call<'_>) -> Outcome {
    if !call.may_wait {
        return Outcome::Later;
    }
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    if let Err(error) = sockets::listen(fd.raw(), call.int(1)) {
        return Outcome::Done(Err(error));
    }
    let told = guarded(|| incoming::listening(call.state, fd.raw())).unwrap_or(Ok(()));
    Outcome::Done(told.map(|()| 0))
}

pub fn accept(call: &Call<'_>) -> Outcome {
    accepted(call, 0)
}

pub fn accept4(call: &Call<'_>) -> Outcome {
    accepted(call, call.int(3))
}

fn accepted(call: &Call<'_>, flags: i32) -> Outcome {
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    if guarded(|| incoming::is_listener(call.state, fd.raw())).is_none() {
        return Outcome::GoOn;
    }
    let accept = || without_blocking(&fd, || sockets::accept(fd.raw(), flags));
    let (connection, real) = match patiently(call, &fd, Ready::ToRead, accept) {
        Waited::Done(Ok(accepted)) => accepted,
        Waited::Done(Err(error)) => return Outcome::Done(Err(error)),
        Waited::NotYet => return Outcome::Later,
    };
    let peer = guarded(|| incoming::accepted(call.state, connection.raw(), &real.addr()?));
    let told = peer.map_or(real, |peer| SockAddr::new(&peer));
    match call.give_address(call.argument(1), call.argument(2), &told) {
        Ok(()) => Outcome::Fd(connection, (flags & libc::SOCK_CLOEXEC) as u32),
        Err(error) => Outcome::Done(Err(error)),
    }
}

pub fn connect(call: &Call<'_>) -> Outcome {
    let Some(wanted) = call.address(1, 2) else { return connect_unix(call) };
    if !call.state.rules.may_connect(&wanted) {
        return Outcome::GoOn;
    }
    if !call.may_wait {
        return Outcome::Later;
    }
    if call.caller().is_skipped() {
        return Outcome::GoOn;
    }
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    match guarded(|| outgoing::connect(call.state, fd.raw(), &wanted)) {
        None => Outcome::GoOn,
        Some(Plan::Fail(number)) => Outcome::Done(Err(Errno(number))),
        Some(Plan::Connect { to, cookie }) => {
            let done = connected(call, &fd, &to).map_err(|Errno(seen)| {
                Errno(guarded(|| outgoing::true_errno(call.state, cookie, seen)).unwrap_or(seen))
            });
            Outcome::Done(done.map(|()| 0))
        }
    }
}

fn connect_unix(call: &Call<'_>) -> Outcome {
    let mut room = [0; UNIX_BYTES];
    let path = call.unix_path(1, 2, &mut room).filter(|path| unix_streams::may_connect(call.state, path));
    let Some(path) = path else { return Outcome::GoOn };
    if !call.may_wait {
        return Outcome::Later;
    }
    let Some(fd) = call.fd(0).filter(|_| !call.caller().is_skipped()) else { return Outcome::GoOn };
    match guarded(|| unix_streams::connect(call.state, fd.raw(), path)) {
        Some(done) => Outcome::Done(done.map(|()| 0)),
        None => Outcome::GoOn,
    }
}

fn connected(call: &Call<'_>, fd: &OwnedFd, to: &Addr) -> Result<(), Errno> {
    match without_blocking(fd, || sockets::connect(fd.raw(), to)) {
        (Err(Errno(libc::EINPROGRESS)), true) => {}
        (started, _) => return started,
    }
    // connect(2): a signal ends the wait and not the connecting, and so does SO_SNDTIMEO.
    wait(call, fd, Ready::ToWrite).map_err(|error| match error {
        Errno(libc::EAGAIN) => Errno(libc::EINPROGRESS),
        other => other,
    })?;
    match sockets::take_error(fd.raw()) {
        0 if sockets::is_unconnected(fd.raw()) => Err(Errno(libc::ECONNABORTED)),
        0 => Ok(()),
        number => Err(Errno(number)),
    }
}

pub fn getsockname(call: &Call<'_>) -> Outcome {
    named(call, End::Local)
}

pub fn getpeername(call: &Call<'_>) -> Outcome {
    named(call, End::Peer)
}

fn named(call: &Call<'_>, end: End) -> Outcome {
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    let Ok(real) = sockets::name_of(fd.raw(), end == End::Peer) else { return Outcome::GoOn };
    match guarded(|| incoming::told(call.state, fd.raw(), end, &real.addr()?)) {
        Some(told) => call.give_address(call.argument(1), call.argument(2), &SockAddr::new(&told)).map(|()| 0).into(),
        None => Outcome::GoOn,
    }
}

/// Of SO_ERROR, which the question clears.
pub fn getsockopt(call: &Call<'_>) -> Outcome {
    let Some(fd) = call.fd(0) else { return Outcome::GoOn };
    let mut room = [0; 4];
    let is_known = || guarded(|| call.state.table.socket(sockets::cookie(fd.raw())?)).is_some();
    if !call.read(call.argument(4), &mut room) || u32::from_ne_bytes(room) < 4 || !is_known() {
        return Outcome::GoOn;
    }
    let seen = sockets::take_error(fd.raw());
    let told = if seen == 0 { None } else { guarded(|| outgoing::true_error(call.state, fd.raw(), seen)) };
    let given = call
        .write(call.argument(3), &told.unwrap_or(seen).to_ne_bytes())
        .and_then(|()| call.write(call.argument(4), &4u32.to_ne_bytes()));
    given.map(|()| 0).into()
}

/// What came of a call that may block.
pub enum Waited<T> {
    /// This.
    Done(Result<T, Errno>),
    /// It blocks, and we must not.
    NotYet,
}

/// Makes a call that is EAGAIN until the socket is ready, and says whether the program's own would wait; waits then.
pub fn patiently<T>(
    call: &Call<'_>,
    fd: &OwnedFd,
    ready: Ready,
    make: impl Fn() -> (Result<T, Errno>, bool),
) -> Waited<T> {
    loop {
        // What a thread that was killed would take is for the others that have the socket.
        if call.may_wait && !call.is_waiting() {
            return Waited::Done(Err(Errno(libc::EINTR)));
        }
        match make() {
            (Err(Errno(libc::EAGAIN)), true) => {}
            (done, _) => return Waited::Done(done),
        }
        if !call.may_wait {
            return Waited::NotYet;
        }
        if let Err(error) = wait(call, fd, ready) {
            return Waited::Done(Err(error));
        }
    }
}

/// Whether the program's own calls on a socket wait.
pub fn is_blocking(fd: &OwnedFd) -> bool {
    let _one = UNBLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    sockets::is_blocking(fd.raw())
}

/// Makes a call that does not wait; returns also whether the program's own would.
fn without_blocking<T>(fd: &OwnedFd, make: impl FnOnce() -> T) -> (T, bool) {
    let one = UNBLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    // Not before: it may be another one's moment.
    if !sockets::is_blocking(fd.raw()) {
        drop(one);
        return (make(), false);
    }
    sockets::set_blocking(fd.raw(), false);
    let done = make();
    sockets::set_blocking(fd.raw(), true);
    (done, true)
}

/// Waits until a socket is ready. Errors: EINTR for a signal to the thread, or its end; EAGAIN for the socket's limit.
fn wait(call: &Call<'_>, fd: &OwnedFd, ready: Ready) -> Result<(), Errno> {
    let end = sockets::time_limit(fd.raw(), ready).map(|limit| Instant::now() + limit);
    loop {
        if sockets::is_ready(fd.raw(), ready, LOOK_EVERY) {
            return Ok(());
        }
        if !call.is_waiting() || call.is_signalled() {
            return Err(Errno(libc::EINTR));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Err(Errno(libc::EAGAIN));
        }
    }
}
