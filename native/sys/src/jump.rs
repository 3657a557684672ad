//! Functions of libc that look at who called them, by their return address: what comes in between must leave it as it is,
//! so it ends in a jump.

use core::ffi::c_void;

/// Where a call goes on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Onward {
    /// A function that takes the same arguments, but for the second.
    pub to: *const c_void,
    /// The second argument.
    pub second: usize,
}

/// Defines `extern "C" fn $name(first, second)`, two words, as a jump to where `$plan(second)` says: an
/// `extern "C" fn(c_int) -> Onward`.
#[macro_export]
macro_rules! jump {
    ($(#[$about:meta])* $name:ident => $plan:path) => {
        $(#[$about])*
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() {
            const _: extern "C" fn(core::ffi::c_int) -> $crate::jump::Onward = $plan;
            // System V ABI for x86-64, 3.2.3: two words come in rdi and rsi, and are returned in rax and rdx. The push makes
            // the stack a multiple of 16.
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "push rdi",
                "mov edi, esi",
                "call {plan}",
                "pop rdi",
                "mov rsi, rdx",
                "jmp rax",
                plan = sym $plan,
            );
            // AAPCS64, 6.8.2 and 6.9: two words come and are returned in x0 and x1; x16 is for such jumps.
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-32]!",
                "mov x29, sp",
                "str x0, [sp, #16]",
                "mov w0, w1",
                "bl {plan}",
                "mov x16, x0",
                "ldr x0, [sp, #16]",
                "ldp x29, x30, [sp], #32",
                "br x16",
                plan = sym $plan,
            );
        }
    };
}
