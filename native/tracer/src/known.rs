//! Which threads run a program that is left alone (`inpod_ops::skipped`), once that was looked up: to ask /proc takes ten
//! times as long as the call itself.
//!
//! A thread is known by the inode of its pidfd: unlike its number (gettid(2)) no other thread ever gets it, so what is
//! known of one that has ended does no harm. A forked child is another thread, and looked up by itself.
//!
//! A program becomes another one by exec alone, all of which are trapped (a 32-bit program's are not, but neither are its
//! other calls: nothing is known of it). Only the thread that leads its process can outlive one with its inode:
//!
//! ```text
//! exec by the leader       its entry is forgotten; it makes no other call until that is done, or has failed
//! exec by another thread   if it succeeds, that thread becomes the leader, with the leader's inode, and its own is gone.
//!                          As long as it has its own, the leader may be at either program: nothing is kept of it
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use inpod_sys::{other, Errno};

/// Of more threads nothing is kept; then all is forgotten.
const MOST: usize = 4096;

/// What is known of the threads of one listener.
pub struct Known(Mutex<Facts>);

struct Facts {
    /// Inode -> whether the program is left alone. None: nothing is kept.
    skipped: Option<HashMap<u64, bool>>,
    executing: Vec<Executing>,
}

/// A thread that does not lead its process, in exec or after one that failed.
struct Executing {
    thread: u32,
    inode: u64,
    leader: u64,
}

impl Known {
    /// Before Linux 6.9 pidfds have no inodes of their own: nothing is kept.
    pub fn new() -> Self {
        let skipped = other::threads_have_inodes().then(HashMap::new);
        Self(Mutex::new(Facts { skipped, executing: Vec::new() }))
    }

    /// Returns whether a thread's program is left alone; has it looked up (`look`) when that is not known.
    ///
    /// `inode` opens the thread, and `is_waiting` says whether it still waits in the call that is decided: so long, what
    /// was found out by its number is about it.
    pub fn is_skipped(
        &self,
        inode: impl FnOnce() -> Option<u64>,
        look: impl FnOnce() -> bool,
        is_waiting: impl FnOnce() -> bool,
    ) -> bool {
        let Some(inode) = inode() else { return look() };
        if let Some(is_skipped) = self.facts().skipped.as_ref().and_then(|skipped| skipped.get(&inode)) {
            return *is_skipped;
        }
        let is_skipped = look();
        let mut facts = self.facts();
        // In this order: an exec that is over by now has ended the leader's wait.
        if !facts.is_executing(inode) && is_waiting() {
            facts.keep(inode, is_skipped);
        }
        is_skipped
    }

    /// A thread is about to execute a program; `is_waiting` as above.
    pub fn executes(&self, thread: u32, is_waiting: impl FnOnce() -> bool) {
        if let Some(leader) = inode_of_leader(thread) {
            self.facts().forget(leader);
            return;
        }
        let leader = other::leader_of(thread).and_then(inode_of_leader);
        let mut facts = self.facts();
        match leader.zip(inode_of(thread)) {
            Some((leader, inode)) => {
                facts.forget(leader);
                facts.prune();
                // After one that failed it is still there.
                if !facts.executing.iter().any(|executing| executing.inode == inode) {
                    facts.executing.push(Executing { thread, inode, leader });
                }
            }
            // It was killed.
            None if !is_waiting() => {}
            // We have no more descriptors: what is kept cannot be told from what is not true any more.
            None => facts.skipped = None,
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn keep(&mut self, inode: u64, is_skipped: bool) {
        if let Some(skipped) = &mut self.skipped {
            if skipped.len() >= MOST {
                skipped.clear();
            }
            skipped.insert(inode, is_skipped);
        }
    }

    fn forget(&mut self, inode: u64) {
        if let Some(skipped) = &mut self.skipped {
            skipped.remove(&inode);
        }
    }

    /// Whether another thread of the process that this one leads may be in exec.
    fn is_executing(&mut self, leader: u64) -> bool {
        self.prune();
        self.executing.iter().any(|executing| executing.leader == leader)
    }

    /// Leaves those that are what they were.
    fn prune(&mut self) {
        self.executing.retain(|executing| match other::open_thread(executing.thread) {
            Ok(thread) => other::inode(&thread) == Ok(executing.inode),
            Err(error) => error != Errno(libc::ESRCH),
        });
    }
}

fn inode_of(thread: u32) -> Option<u64> {
    other::inode(&other::open_thread(thread).ok()?).ok()
}

/// None: it does not lead its process.
fn inode_of_leader(thread: u32) -> Option<u64> {
    other::inode(&other::open_leader(thread).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_fails_to_execute_again_and_again_is_remembered_once() {
        let known = Known::new();
        let tries = || {
            // SAFETY: takes nothing.
            let own = unsafe { libc::gettid() } as u32;
            for _ in 0..3 {
                known.executes(own, || true);
            }
            known.facts().executing.len()
        };
        assert!(std::thread::scope(|scope| scope.spawn(tries).join()).is_ok_and(|remembered| remembered == 1));
    }
}
