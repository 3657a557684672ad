//! `inpod_ops::files` for the program's own calls: what is not the pod's is called as it came.

use core::ffi::{c_char, CStr};

use inpod_ops::files::{self, Call};
use inpod_ops::guard::Outcome;
use inpod_ops::place::Caller;
use inpod_wire::Want;

use crate::start;

/// stat and its like. `want`: [`Want::Lstat`] or [`Want::Stat`].
pub fn look<R: Outcome>(dir: i32, path: Option<&CStr>, want: Want, call: impl Fn(i32, *const c_char) -> R) -> R {
    redirected(dir, path, call, |caller, path, call| files::look(caller, dir, path, want, call))
}

/// chdir.
pub fn enter(dir: i32, path: Option<&CStr>, call: impl Fn(i32, *const c_char) -> i32) -> i32 {
    redirected(dir, path, call, |caller, path, call| files::enter(caller, dir, path, call))
}

/// open and its like.
pub fn open(dir: i32, path: Option<&CStr>, flags: i32, call: impl Fn(i32, *const c_char) -> i32) -> i32 {
    redirected(dir, path, call, |caller, path, call| files::open(caller, dir, path, flags, call))
}

/// fopen, opendir and their like, where libc opens and reads by itself. `want`: [`Want::Read`] or [`Want::List`].
pub fn contents<R: Outcome>(dir: i32, path: Option<&CStr>, want: Want, call: impl Fn(i32, *const c_char) -> R) -> R {
    redirected(dir, path, call, |caller, path, call| files::contents(caller, dir, path, want, call))
}

/// A call that writes.
pub fn on_this_machine<R>(dir: i32, path: Option<&CStr>, call: impl Fn(i32, *const c_char) -> R) -> R {
    redirected(dir, path, call, |caller, path, call| files::on_this_machine(caller, dir, path, call))
}

fn redirected<R, C: Fn(i32, *const c_char) -> R>(
    dir: i32,
    path: Option<&CStr>,
    call: C,
    decide: impl FnOnce(&Caller<'_>, &CStr, Call<'_, R>) -> Option<R>,
) -> R {
    let elsewhere = |dir: i32, path: &CStr| call(dir, path.as_ptr());
    let decided = path.zip(start::state()).and_then(|(path, state)| decide(&Caller::own(state), path, &elsewhere));
    decided.unwrap_or_else(|| call(dir, path.map_or(core::ptr::null(), CStr::as_ptr)))
}
