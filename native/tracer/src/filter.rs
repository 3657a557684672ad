//! The filter, as a program of classic BPF (seccomp(2)): arch, then a list of calls.
//!
//! The kernel remembers which calls a filter allows whatever their arguments are, so the length of the list costs only
//! trapped calls. A 32-bit call is let through: those programs are refused before they start.

use inpod_rules::{FilesMode, Rules};
use inpod_sys::seccomp::Step;

use crate::table::{Part, Trapped, When, CALLS, NOT_THERE};

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const FAIL: u32 = 0x0005_0000;

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// struct seccomp_data
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// First number of the x32 calls, which have numbers of their own on the same arch.
const X32: u32 = 0x4000_0000;

/// Returns the program for a session; only what its rules want is trapped.
pub fn program(rules: &Rules<'_>) -> Vec<Step> {
    let mut steps = vec![load(ARCH_AT), jump(JUMP_EQUAL, ARCH, 1, 0), end(ALLOW), load(NUMBER_AT)];
    if cfg!(target_arch = "x86_64") {
        steps.extend([jump(JUMP_AT_LEAST, X32, 0, 1), end(FAIL | libc::ENOSYS as u32)]);
    }
    for number in NOT_THERE {
        steps.extend([jump(JUMP_EQUAL, *number as u32, 0, 1), end(FAIL | libc::ENOSYS as u32)]);
    }
    let is_wanted = |call: &&Trapped| match call.part {
        Part::Network => rules.network,
        Part::Files => rules.files != FilesMode::Local,
        Part::Programs => true,
    };
    for call in CALLS.iter().filter(is_wanted) {
        let body = body(call.when);
        steps.push(jump(JUMP_EQUAL, call.number as u32, 0, body.len() as u8));
        steps.extend(body);
    }
    steps.push(end(ALLOW));
    steps
}

/// What follows once the number fits; ends in each of its ways.
fn body(when: When) -> Vec<Step> {
    match when {
        When::Always => vec![end(NOTIFY)],
        When::Given(index) => vec![
            load(argument(index)),
            jump(JUMP_EQUAL, 0, 0, 3),
            load(argument(index) + 4),
            jump(JUMP_EQUAL, 0, 0, 1),
            end(ALLOW),
            end(NOTIFY),
        ],
        When::Without(index, bits) => {
            vec![load(argument(index)), jump(JUMP_ANY_BIT, bits, 0, 1), end(ALLOW), end(NOTIFY)]
        }
        When::SocketError => vec![
            load(argument(1)),
            jump(JUMP_EQUAL, libc::SOL_SOCKET as u32, 0, 3),
            load(argument(2)),
            jump(JUMP_EQUAL, libc::SO_ERROR as u32, 0, 1),
            end(NOTIFY),
            end(ALLOW),
        ],
    }
}

/// Where the low half of an argument is: both machines are little-endian.
fn argument(index: u8) -> u32 {
    ARGUMENTS_AT + 8 * u32::from(index)
}

fn load(at: u32) -> Step {
    Step { code: LOAD, jt: 0, jf: 0, k: at }
}

fn end(verdict: u32) -> Step {
    Step { code: RETURN, jt: 0, jf: 0, k: verdict }
}

fn jump(kind: u16, value: u32, if_true: u8, if_false: u8) -> Step {
    Step { code: kind, jt: if_true, jf: if_false, k: value }
}
