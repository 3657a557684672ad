//! Paths put together without the heap.

// A test that cannot read its contract has failed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use inpod_rules::paths::{is_normal, names_directory, PathText, PATH_MAX};

fn normalised(path: &[u8]) -> Vec<u8> {
    let mut text = PathText::default();
    assert!(text.push_normal(path, 0, |_| {}));
    text.as_bytes().to_vec()
}

#[test]
fn dots_and_doubled_slashes_go() {
    for (path, expected) in [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("//a///b", "/a/b"),
        ("/a/./b/.", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../b", "/b"),
        ("/a/b/../../..", ""),
        ("/", ""),
        ("/..a/...", "/..a/..."),
    ] {
        assert_eq!(normalised(path.as_bytes()), expected.as_bytes(), "{path}");
        assert_eq!(is_normal(path.as_bytes()), path == "/" || path == expected, "{path}");
    }
}

#[test]
fn a_step_up_never_leaves_the_floor() {
    let mut text = PathText::default();
    assert!(text.push(b"/replica"));
    assert!(text.push_normal(b"/a/../../../b", 8, |_| {}));
    assert_eq!(text.as_bytes(), b"/replica/b");
}

#[test]
fn every_folder_that_is_left_is_told() {
    let mut text = PathText::default();
    let mut left = Vec::new();
    assert!(text.push_normal(b"/app/../usr/lib/..", 0, |folder| left.push(folder.to_vec())));
    assert_eq!(left, [b"/app".to_vec(), b"/usr/lib".to_vec()]);
}

#[test]
fn a_nul_follows_whatever_was_cut() {
    let mut text = PathText::default();
    assert!(text.push(b"/replica/app/file"));
    text.cut_front(8);
    assert_eq!(text.with_nul(), b"/app/file\0");
    text.truncate(4);
    assert_eq!(text.with_nul(), b"/app\0");
    assert!(text.push(b"/x"));
    assert_eq!(text.with_nul(), b"/app/x\0");
}

#[test]
fn what_is_too_long_is_refused_and_leaves_the_text_as_it_was() {
    let mut text = PathText::default();
    assert!(text.push(&[b'a'; PATH_MAX]));
    assert!(!text.push(b"b"));
    assert_eq!(text.as_bytes().len(), PATH_MAX);
    assert_eq!(text.with_nul().last(), Some(&0));
}

#[test]
fn a_slash_or_dots_at_the_end_name_a_directory() {
    for path in ["a/", "/", ".", "..", "a/.", "a/.."] {
        assert!(names_directory(path.as_bytes()), "{path}");
    }
    for path in ["a", "a.", "a..", ".a", "/a/..b"] {
        assert!(!names_directory(path.as_bytes()), "{path}");
    }
}
