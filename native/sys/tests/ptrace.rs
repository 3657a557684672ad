//! A thread that is stopped to make another call, and dies meanwhile.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
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

#[test]
fn signals_that_come_meanwhile_are_all_had() {
    // A line ends it, signals do not.
    let script = "trap 'echo one' USR1; trap 'echo two' USR2; echo ready; until read -r line; do :; done";
    let pipes = (Stdio::piped(), Stdio::piped());
    let mut child = Command::new("sh").args(["-c", script]).stdin(pipes.0).stdout(pipes.1).spawn().unwrap();
    let (pid, mut said) = (child.id(), BufReader::new(child.stdout.take().unwrap()));
    said.read_line(&mut String::new()).unwrap();
    while !fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap().starts_with("0 0x0 ") {
        thread::yield_now();
    }
    let parent = thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            let mut stopped = Stopped::soon(pid).ok().unwrap();
            stopped.begin().ok().unwrap();
            for signal in [libc::SIGUSR1, libc::SIGUSR2] {
                // SAFETY: takes no pointers.
                unsafe { libc::kill(pid as i32, signal) };
            }
            let parent = stopped.call(libc::SYS_getppid, [0; 6]);
            stopped.end(Err(Errno(libc::EINTR))).ok().unwrap();
            parent
        });
        tracer.join().unwrap()
    });
    assert_eq!(parent, Ok(std::process::id().into()));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let mut lines: Vec<_> = rest.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "two"]);
    assert!(child.wait().unwrap().success());
}
