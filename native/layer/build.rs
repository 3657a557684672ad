//! How the layer is linked: every program that is started under it pays for each segment, each page that is written and
//! each change of a page's rights.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Code and what is only read in one segment. Not every linker knows it: lld does, the one of GNU since 2.43.
const ONE_SEGMENT: &str = "-Wl,--no-rosegment";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // No part that is written at the start and read-only from then on: it would be a segment more, and a system call.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,norelro");
    // Our own hooks are ours to call: ld.so need not look for each of them in every program.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
    // No start-up code of C: there is nothing of C in it.
    println!("cargo::rustc-cdylib-link-arg=-nostartfiles");
    if linker_takes(ONE_SEGMENT).unwrap_or(false) {
        println!("cargo::rustc-cdylib-link-arg={ONE_SEGMENT}");
    }
}

/// Whether the linker of this build takes an argument, by linking nothing with it.
fn linker_takes(argument: &str) -> Option<bool> {
    let folder = env::var("OUT_DIR").ok()?;
    let source = Path::new(&folder).join("nothing.rs");
    fs::write(&source, "").ok()?;
    let mut command = Command::new(env::var_os("RUSTC")?);
    command.args(["--crate-type", "cdylib", "--target", &env::var("TARGET").ok()?]);
    command.args(["--out-dir", &folder, "-C", &format!("link-arg={argument}")]).arg(source);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    Some(done.success())
}
