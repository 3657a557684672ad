//! What an exec does to LD_PRELOAD, so that the layer stays in children it can be in and out of those it cannot.

/// File name of the layer, as hatch_build.py installs it.
pub const LAYER_FILE: &[u8] = b"libinpod_layer.so";

/// File name of the program that becomes a traced one.
const TRACE_FILE: &[u8] = b"inpod-trace";

/// Whether a program is `inpod-trace`, ours or that of an inpod inside.
pub fn is_trace(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(TRACE_FILE)
}

/// Whether a value of LD_PRELOAD names a layer, ours or that of an inpod inside.
pub fn names_layer(value: &[u8]) -> bool {
    entries(value).any(is_layer)
}

/// The entries of an LD_PRELOAD that are not a layer.
pub fn others(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    entries(value).filter(|entry| !is_layer(entry))
}

/// ld.so(8): separated by colons or spaces.
fn entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b':' | b' ')).filter(|entry| !entry.is_empty())
}

fn is_layer(entry: &[u8]) -> bool {
    entry.rsplit(|byte| *byte == b'/').next() == Some(LAYER_FILE)
}
