//! A thread that is stopped to make another call, and dies meanwhile.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use inpod_sys::ptrace::Stopped;
use inpod_sys::Errno;

#[test]
fn death_of_a_child_is_told_to_who_started_it() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id();
    let begun = thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            let mut stopped = Stopped::soon(pid).ok().unwrap();
            // SAFETY: takes no pointers.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            while !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ") {
                thread::yield_now();
            }
            stopped.begin()
        });
        tracer.join().unwrap()
    });
    assert_eq!(begun, Err(Errno(libc::ESRCH)));
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}
