//! How the layer is linked: every program that is started under it pays for each segment, each page that is written and
//! each change of a page's rights.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What lld does, which is the linker of Rust on x86-64, and not every other.
const COMPACT: &[&str] = &[
    // Code and what is only read in one segment.
    "-Wl,--no-rosegment",
    // What is written begins with a page, and so is one page in all (tests/layer/test_library.py).
    "-Wl,-z,separate-loadable-segments",
    // What runs at the start in front of all other code: the kernel maps 64 KiB around a page that is touched.
    concat!("-T", env!("CARGO_MANIFEST_DIR"), "/first.ld"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=first.ld");
    // No part that is written at the start and read-only from then on: it would be a segment more, and a system call.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,norelro");
    // Our own hooks are ours to call: ld.so need not look for each of them in every program.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
    // No start-up code of C: there is nothing of C in it.
    println!("cargo::rustc-cdylib-link-arg=-nostartfiles");
    if linker_takes(COMPACT).unwrap_or(false) {
        for argument in COMPACT {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
    }
}

/// Whether the linker of this build takes arguments, by linking nothing with them.
fn linker_takes(arguments: &[&str]) -> Option<bool> {
    let folder = env::var("OUT_DIR").ok()?;
    let source = Path::new(&folder).join("nothing.rs");
    fs::write(&source, "").ok()?;
    let mut command = Command::new(env::var_os("RUSTC")?);
    command.args(["--crate-type", "cdylib", "--target", &env::var("TARGET").ok()?, "--out-dir", &folder]).arg(source);
    for argument in arguments {
        command.args(["-C", &format!("link-arg={argument}")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    Some(done.success())
}
