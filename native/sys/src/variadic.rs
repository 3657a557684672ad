//! Variadic functions of C, which stable Rust can call but not define.
//!
//! All words of a call but the first are put beside each other, as C's va_arg would find them: those that came in
//! registers in front of those on the stack. So a list that ends with NULL is an array that ends with NULL, in place.

/// Defines `extern "C" fn $name(first, ...) -> c_int`, for words alone (pointers, numbers; nothing floating), as a call of
/// `$run(first, words)`: an `unsafe extern "C" fn(*const c_char, CArray) -> c_int`. What is behind the caller's last word
/// is not to be read.
#[macro_export]
macro_rules! variadic {
    ($(#[$about:meta])* $name:ident => $run:path) => {
        $(#[$about])*
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> core::ffi::c_int {
            const _: unsafe extern "C" fn(*const core::ffi::c_char, $crate::exec::CArray) -> core::ffi::c_int = $run;
            // System V ABI for x86-64, 3.2.3: six words in registers, the rest above the return address. That makes room
            // for the last of the registers, and is back in its place at the end, as a shadow stack wants it.
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "call {run}",
                "pop rcx",
                "add rsp, 32",
                "mov [rsp], rcx",
                "ret",
                run = sym $run,
            );
            // AAPCS64, 6.4.2: eight words in registers, the rest at the stack pointer, which is a multiple of 16.
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "mov x29, sp",
                "str x1, [sp, #24]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "add x1, sp, #24",
                "bl {run}",
                "ldp x29, x30, [sp], #80",
                "ret",
                run = sym $run,
            );
        }
    };
}
