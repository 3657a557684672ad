//! The system call instruction.

use core::arch::asm;

/// Number of an error (errno(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Makes a system call.
///
/// # Safety
/// What the call reads or writes through its arguments must be valid for it, as its man page says.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel's calling convention for x86-64 (syscall(2)); rcx and r11 are lost; the arguments are the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// Makes a system call.
///
/// # Safety
/// What the call reads or writes through its arguments must be valid for it, as its man page says.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel's calling convention for arm64 (syscall(2)); the arguments are the caller's.
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") a => result,
            in("x8") number, in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    outcome(result)
}

fn outcome(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// A descriptor, flag or other signed argument, as the kernel takes it.
pub(crate) fn int(value: i32) -> usize {
    value as isize as usize
}
