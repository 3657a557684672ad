//! Has a thread make another call in the place of the one that it waits in (ptrace(2)).
//!
//! What a caller is (its working directory, its program) nobody else can change. So it is stopped at the return from its
//! call, steps back over the system call instruction with other registers, and is let go. Nothing of its memory is written.

#[cfg(target_arch = "x86_64")]
pub use x86_64::Stopped;

#[cfg(not(target_arch = "x86_64"))]
pub use elsewhere::Stopped;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::mem::MaybeUninit;

    use crate::call::{call, int, Errno};

    /// Bytes of the instruction `syscall`.
    const INSTRUCTION: u64 = 2;

    /// What a stop at the edge of a system call is reported as (PTRACE_O_TRACESYSGOOD).
    const AT_CALL: i32 = libc::SIGTRAP | 0x80;

    /// A thread that will stop at the return from its call; goes on when dropped.
    ///
    /// The caller's thread must have no other child or tracee: a thread that executes a program may get another number, so
    /// its stops are awaited by none.
    pub struct Stopped {
        thread: i32,
        /// That was about to be delivered.
        signal: i32,
        own: libc::user_regs_struct,
        /// Its signal mask, from when it has stopped.
        mask: Option<u64>,
    }

    impl Stopped {
        /// Asks a thread that waits in a call to stop when the call returns. EPERM: a debugger has it.
        pub fn soon(thread: u32) -> Result<Self, Errno> {
            let thread = thread as i32;
            ptrace(libc::PTRACE_SEIZE, thread, 0, libc::PTRACE_O_TRACESYSGOOD as usize)?;
            // SAFETY: all zeroes is valid.
            let own = unsafe { MaybeUninit::zeroed().assume_init() };
            let stopped = Self { thread, signal: 0, own, mask: None };
            ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0)?;
            Ok(stopped)
        }

        /// Waits for the stop, before any of the thread's own code runs: a trap of ours, or a signal on its way.
        pub fn begin(&mut self) -> Result<(), Errno> {
            self.wait()?;
            self.own = registers(self.thread)?;
            // Of signals that come now each would be a stop more, and only one can be delivered when we let go.
            self.mask = Some(signal_mask(self.thread)?);
            set_signal_mask(self.thread, u64::MAX)
        }

        /// Has it make a call.
        pub fn call(&mut self, number: i64, arguments: [u64; 6]) -> Result<u64, Errno> {
            let [rdi, rsi, rdx, r10, r8, r9] = arguments;
            let own = self.own;
            let rip = own.rip - INSTRUCTION;
            let other = libc::user_regs_struct {
                rip,
                rax: number as u64,
                orig_rax: u64::MAX,
                rdi,
                rsi,
                rdx,
                r10,
                r8,
                r9,
                ..own
            };
            set_registers(self.thread, &other)?;
            self.until_edge()?;
            self.until_edge()?;
            match registers(self.thread)?.rax as i64 {
                error @ -4095..0 => Err(Errno(-error as i32)),
                value => Ok(value as u64),
            }
        }

        /// Gives it its own registers back, and the result of the call that it made itself.
        pub fn end(self, result: Result<u64, Errno>) -> Result<(), Errno> {
            let rax = result.unwrap_or_else(|Errno(number)| i64::from(-number) as u64);
            set_registers(self.thread, &libc::user_regs_struct { rax, orig_rax: u64::MAX, ..self.own })
        }

        fn until_edge(&mut self) -> Result<(), Errno> {
            loop {
                ptrace(libc::PTRACE_SYSCALL, self.thread, 0, 0)?;
                if self.wait()? == AT_CALL {
                    return Ok(());
                }
            }
        }

        /// Waits for a stop, and returns its signal. ESRCH: the thread has ended, which is left to its parent to be told: that
        /// may be another thread of ours, from which the status would be taken.
        fn wait(&mut self) -> Result<i32, Errno> {
            let how = int(libc::__WALL | libc::__WNOTHREAD | libc::WSTOPPED);
            let status = loop {
                let (thread, code, _) = waited(libc::P_ALL, 0, how | int(libc::WEXITED | libc::WNOWAIT))?;
                if matches!(code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
                    return Err(Errno(libc::ESRCH));
                }
                // Killed by now, there is no stop any more.
                let (is_there, _, status) = waited(libc::P_PID, thread, how | int(libc::WNOHANG))?;
                if is_there != 0 {
                    self.thread = thread;
                    break status;
                }
            };
            let signal = status & 0xff;
            if status >> 8 == 0 && signal != AT_CALL && signal != libc::SIGTRAP {
                // Delivered when we let go.
                self.signal = signal;
            }
            Ok(signal)
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            if let Some(mask) = self.mask {
                let _ = set_signal_mask(self.thread, mask);
            }
            let _ = ptrace(libc::PTRACE_DETACH, self.thread, 0, int(self.signal));
        }
    }

    /// waitid(2): returns the thread, or 0, what became of it, and its status: of a stop the signal and, above 8 bits, the
    /// event.
    fn waited(kind: libc::idtype_t, thread: i32, how: usize) -> Result<(i32, i32, i32), Errno> {
        let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
        loop {
            let at = found.as_mut_ptr() as usize;
            // SAFETY: room for what is found; no usage is asked for.
            match unsafe { call(libc::SYS_waitid, [kind as usize, int(thread), at, how, 0, 0]) } {
                Err(Errno(libc::EINTR)) => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        // SAFETY: all zeroes is valid, and so is what the kernel wrote.
        let found = unsafe { found.assume_init() };
        // SAFETY: the kernel wrote of a child, or nothing.
        let thread = unsafe { found.si_pid() };
        // SAFETY: as above.
        Ok((thread, found.si_code, unsafe { found.si_status() }))
    }

    fn registers(thread: i32) -> Result<libc::user_regs_struct, Errno> {
        let mut found = MaybeUninit::<libc::user_regs_struct>::zeroed();
        ptrace(libc::PTRACE_GETREGS, thread, 0, found.as_mut_ptr() as usize)?;
        // SAFETY: all zeroes is valid, and so is what the kernel wrote.
        Ok(unsafe { found.assume_init() })
    }

    fn set_registers(thread: i32, to: &libc::user_regs_struct) -> Result<(), Errno> {
        ptrace(libc::PTRACE_SETREGS, thread, 0, core::ptr::from_ref(to) as usize)
    }

    /// Linux 3.11.
    fn signal_mask(thread: i32) -> Result<u64, Errno> {
        let mut mask = 0u64;
        ptrace(libc::PTRACE_GETSIGMASK, thread, size_of::<u64>(), (&raw mut mask) as usize)?;
        Ok(mask)
    }

    fn set_signal_mask(thread: i32, mask: u64) -> Result<(), Errno> {
        ptrace(libc::PTRACE_SETSIGMASK, thread, size_of::<u64>(), (&raw const mask) as usize)
    }

    /// `size` is that of a mask, 0 for others; `data` is a number, or room for what the request is about.
    fn ptrace(request: libc::c_uint, thread: i32, size: usize, data: usize) -> Result<(), Errno> {
        // SAFETY: as each of the callers gives it.
        unsafe { call(libc::SYS_ptrace, [request as usize, int(thread), size, data, 0, 0]) }.map(|_| ())
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use crate::call::Errno;

    /// Not there: the registers are others.
    pub enum Stopped {}

    impl Stopped {
        /// ENOSYS.
        pub fn soon(_: u32) -> Result<Self, Errno> {
            Err(Errno(libc::ENOSYS))
        }

        /// Never called.
        pub fn begin(&mut self) -> Result<(), Errno> {
            Err(Errno(libc::ENOSYS))
        }

        /// Never called.
        pub fn call(&mut self, _: i64, _: [u64; 6]) -> Result<u64, Errno> {
            Err(Errno(libc::ENOSYS))
        }

        /// Never called.
        pub fn end(self, _: Result<u64, Errno>) -> Result<(), Errno> {
            Err(Errno(libc::ENOSYS))
        }
    }
}
