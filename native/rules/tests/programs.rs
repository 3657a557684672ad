//! Which programs the layer can reach, and what their children's LD_PRELOAD becomes.

// A test that cannot read its contract has failed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::ffi::CStr;

use inpod_rules::elf::{look, Program, Why, HEAD_BYTES};
use inpod_rules::environment::{names_layer, others};
use inpod_rules::scripts::{ScriptLine, SCRIPT_LINE};

fn looked(bytes: &[u8]) -> Program {
    look(&bytes[..bytes.len().min(HEAD_BYTES)], |offset, room| {
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(room.len());
        room[..length].copy_from_slice(&rest[..length]);
        length
    })
}

/// A 64-bit ELF file with these program headers, as (type, content).
fn elf(headers: &[(u32, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * headers.len()];
    file[..5].copy_from_slice(b"\x7fELF\x02");
    file[32..40].copy_from_slice(&64_u64.to_le_bytes());
    file[54..56].copy_from_slice(&56_u16.to_le_bytes());
    file[56..58].copy_from_slice(&(headers.len() as u16).to_le_bytes());
    for (index, (kind, content)) in headers.iter().enumerate() {
        let at = 64 + 56 * index;
        let offset = file.len() as u64;
        file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        file.extend_from_slice(content);
    }
    file
}

const INTERP: u32 = 3;
const NOTE: u32 = 4;
const LOAD: u32 = 1;

#[test]
fn first_lines_of_scripts_are_read_as_the_kernel_does() {
    let long = [b"#!/bin/sh ".as_slice(), &[b'a'; SCRIPT_LINE]].concat();
    let cut = std::str::from_utf8(&long[10..SCRIPT_LINE]).unwrap();
    let cases: [(&[u8], Option<[&str; 2]>); 9] = [
        (b"#!/bin/sh", Some(["/bin/sh", ""])),
        (b"#!/bin/sh\necho", Some(["/bin/sh", ""])),
        (b"#! \t/bin/sh \t -e  x \t\n", Some(["/bin/sh", "-e  x"])),
        (b"#!/bin/sh\0-e\n", Some(["/bin/sh", ""])),
        (b"#!", Some(["", ""])),
        (b"#! \n/bin/sh", Some(["", ""])),
        (&long, Some(["/bin/sh", cut])),
        (b"#", None),
        (b"\x7fELF", None),
    ];
    for (head, expected) in cases {
        let line = ScriptLine::parse(head);
        let text = |text: &CStr| text.to_str().unwrap().to_owned();
        let found = line.map(|line| [text(line.interpreter()), line.argument().map_or(String::new(), text)]);
        let expected = expected.map(|words| words.map(str::to_owned));
        assert_eq!(found, expected, "{head:?}");
    }
}

#[test]
fn programs_are_told_apart() {
    let glibc: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";
    let cases = [
        (elf(&[(LOAD, b"x"), (INTERP, glibc)]), Program::Reachable),
        (elf(&[(INTERP, glibc), (NOTE, b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0")]), Program::Reachable),
        (elf(&[(LOAD, b"x")]), Program::Beyond(Why::Static)),
        (elf(&[(INTERP, b"/lib/ld-musl-x86_64.so.1\0")]), Program::Beyond(Why::Musl)),
        (elf(&[(INTERP, glibc), (NOTE, b"\x04\0\0\0\x10\0\0\0\x04\0\0\0Go\0\0")]), Program::Beyond(Why::Go)),
        (elf(&[(INTERP, glibc), (LOAD, &[0; HEAD_BYTES]), (NOTE, b"Go\0\0")]), Program::Beyond(Why::Go)),
        (b"\x7fELF\x01rest".to_vec(), Program::Beyond(Why::Bits32)),
        (b"#!/bin/sh -e\necho".to_vec(), Program::Script),
        (b"#!  \t/usr/bin/env python3\n".to_vec(), Program::Script),
        (b"echo hello\n".to_vec(), Program::Reachable),
        (b"".to_vec(), Program::Reachable),
    ];
    for (bytes, expected) in cases {
        assert_eq!(looked(&bytes), expected);
    }
}

#[test]
fn a_large_program_is_told_by_the_names_of_its_sections() {
    let glibc: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";
    let far = 100 << 20;
    let with_sections = |at: u64, names: &[u8]| {
        let mut head = elf(&[(INTERP, glibc)]);
        head[40..48].copy_from_slice(&at.to_le_bytes());
        head[58..60].copy_from_slice(&64_u16.to_le_bytes());
        head[62..64].copy_from_slice(&2_u16.to_le_bytes());
        let mut header = [0; 64];
        header[24..32].copy_from_slice(&(at + 192).to_le_bytes());
        header[32..40].copy_from_slice(&(names.len() as u64).to_le_bytes());
        let end = [[0; 64].as_slice(), &[0; 64], &header, names].concat();
        look(&head, |offset, room| {
            let rest = end.get((offset - at) as usize..).unwrap_or_default();
            let length = rest.len().min(room.len());
            room[..length].copy_from_slice(&rest[..length]);
            length
        })
    };
    assert_eq!(with_sections(far, b"\0.text\0.bun\0.data\0"), Program::Beyond(Why::Bun));
    assert_eq!(with_sections(far, b"\0.text\0.data\0"), Program::Reachable);
    // Not even looked at: the names may lie anywhere.
    assert_eq!(with_sections(1 << 20, b"\0.text\0.bun\0"), Program::Reachable);
    assert_eq!(with_sections(far, b""), Program::Reachable);
}

#[test]
fn a_file_cut_anywhere_is_looked_at_without_a_fault() {
    let whole = elf(&[(INTERP, b"/lib64/ld-linux-x86-64.so.2\0"), (NOTE, b"Go\0\0")]);
    for length in 0..whole.len() {
        looked(&whole[..length]);
    }
    let mut wild = whole.clone();
    wild[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(looked(&wild), Program::Reachable);
}

#[test]
fn the_layer_is_found_among_other_libraries() {
    assert!(names_layer(b"/x/libinpod_layer.so"));
    assert!(names_layer(b"/a.so:/x/libinpod_layer.so /b.so"));
    assert!(!names_layer(b"/x/libinpod_layer.so.bak:/y/notlibinpod_layer.so"));
    assert!(!names_layer(b""));
    let rest: Vec<_> = others(b"/a.so:/x/libinpod_layer.so /b.so:").collect();
    assert_eq!(rest, [b"/a.so", b"/b.so"]);
}
