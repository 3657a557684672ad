//! Which paths are the pod's, for reading.
//!
//! 1. The folders above a local tree of the session, and above the home, are local themselves (what else is in them is
//!    not): the way to a local file must not lead through links or gaps of the pod. Mounts of the pod are its own.
//! 2. Of the session's own trees (mounts, installation, home, what the user asks for) that a path lies in, the longest decides.
//! 3. Suffixes and names of program code are local: an interpreter's modules are those of this machine.
//! 4. Of the built-in trees the longest decides; `/` itself is local.
//! 5. Everything else is the pod's; with `FilesMode::Overrides`, this machine's.
//!
//! A local folder above a mount of the pod that this machine lacks is the pod's all the same (`leads_to_mount`): who walks the
//! way to a file of the mount, name by name, must find it.

use crate::facts::{Line, Owner};
use crate::{FilesMode, Rules};

/// Longest path that the layer looks at, as the kernel's.
pub const PATH_MAX: usize = 4096;

/// Trees that every machine has as its own, and the files in them that make up the pod's view of the network.
const BUILT_IN: &[(&[u8], Owner)] = &[
    (b"/bin", Owner::Here),
    (b"/dev", Owner::Here),
    (b"/etc", Owner::Here),
    (b"/etc/hostname", Owner::Pod),
    (b"/etc/hosts", Owner::Pod),
    (b"/etc/nsswitch.conf", Owner::Pod),
    (b"/etc/resolv.conf", Owner::Pod),
    (b"/etc/ssl/certs", Owner::Pod),
    (b"/home", Owner::Here),
    (b"/lib", Owner::Here),
    (b"/lib32", Owner::Here),
    (b"/lib64", Owner::Here),
    (b"/libx32", Owner::Here),
    (b"/nix", Owner::Here),
    (b"/opt", Owner::Here),
    (b"/proc", Owner::Here),
    (b"/run", Owner::Here),
    (b"/sbin", Owner::Here),
    (b"/selinux", Owner::Here),
    (b"/snap", Owner::Here),
    (b"/sys", Owner::Here),
    (b"/tmp", Owner::Here),
    (b"/usr", Owner::Here),
    (b"/var/tmp", Owner::Here),
];

const LOCAL_SUFFIXES: &[&[u8]] = &[
    b".class",
    b".dll",
    b".jar",
    b".js",
    b".pdb",
    b".plist",
    b".pth",
    b".py",
    b".pyc",
    b".rb",
    b".sh",
    b".so",
    b"venv.cfg",
];

const LOCAL_NAMES: &[&[u8]] = &[b"jvm.cfg", b".tool-versions", b"package.json"];

/// How a path was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By its full name.
    ByName,
    /// By its name in a directory of the pod that the program has open or stands in.
    ///
    /// Then suffixes do not count: what the directory lists must be there.
    ThroughPodDirectory,
}

impl Rules<'_> {
    /// Whether `path`, absolute and normalised, is read from the pod.
    pub fn is_pod_path(&self, path: &[u8], reached: Reached) -> bool {
        if self.files == FilesMode::Local || path.len() < 2 {
            return false;
        }
        if self.leads_to_local_tree(path) {
            return false;
        }
        let own = longest(path, self.trees());
        let hidden = self.home.and_then(|home| hidden_in(path, home));
        let by_session = match (own, hidden) {
            (Some(own), Some(hidden)) => Some(if hidden.0 > own.0 { hidden } else { own }),
            (own, hidden) => own.or(hidden),
        };
        if let Some((_, owner)) = by_session {
            return owner == Owner::Pod;
        }
        let built_in = longest(path, BUILT_IN.iter().copied());
        // The cheaper question first: most local paths are settled by it.
        built_in.map_or(self.files == FilesMode::Read, |(_, owner)| owner == Owner::Pod)
            && (reached == Reached::ThroughPodDirectory || !is_program_code(path))
    }
}

impl Rules<'_> {
    /// Whether a mount of the pod lies below `path`.
    pub fn leads_to_mount(&self, path: &[u8]) -> bool {
        let below = |(tree, owner): (&[u8], Owner)| owner == Owner::Pod && tree.len() > path.len() && is_in(tree, path);
        self.files != FilesMode::Local && self.trees().any(below)
    }

    fn leads_to_local_tree(&self, path: &[u8]) -> bool {
        let local =
            |(tree, owner): (&[u8], Owner)| owner == Owner::Here && tree.len() > path.len() && is_in(tree, path);
        let is_mount = |(tree, owner): (&[u8], Owner)| owner == Owner::Pod && tree == path;
        let leads_home = self.home.is_some_and(|home| is_in(home, path));
        (leads_home || self.trees().any(local)) && !self.trees().any(is_mount)
    }

    fn trees(&self) -> impl Iterator<Item = (&[u8], Owner)> {
        self.trees.iter().filter_map(|line| match line {
            Line::Tree(tree, owner) => Some((*tree, *owner)),
            _ => None,
        })
    }
}

/// Returns length and owner of the longest tree that `path` lies in; the last of equals.
fn longest<'a>(path: &[u8], trees: impl Iterator<Item = (&'a [u8], Owner)>) -> Option<(usize, Owner)> {
    trees
        .filter(|(tree, _)| is_in(path, tree))
        .map(|(tree, owner)| (tree.len(), owner))
        .max_by_key(|(length, _)| *length)
}

fn is_in(path: &[u8], tree: &[u8]) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// `$HOME/.*` counts as a tree that is one name longer than the home.
fn hidden_in(path: &[u8], home: &[u8]) -> Option<(usize, Owner)> {
    let rest = path.strip_prefix(home)?;
    rest.starts_with(b"/.").then_some((home.len() + 2, Owner::Here))
}

fn is_program_code(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    LOCAL_SUFFIXES.iter().any(|suffix| ends_with_ignoring_case(name, suffix))
        || LOCAL_NAMES.iter().any(|local| name.eq_ignore_ascii_case(local))
        || name.starts_with(b".yarnrc")
        || is_versioned_library(name)
        || path.split(|byte| *byte == b'/').any(|name| name == b"node_modules")
}

fn ends_with_ignoring_case(name: &[u8], suffix: &[u8]) -> bool {
    name.len() > suffix.len() && name.iter().rev().zip(suffix.iter().rev()).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// `libx.so.1.2`.
fn is_versioned_library(name: &[u8]) -> bool {
    name.windows(4).enumerate().any(|(at, window)| {
        window == b".so." && name.iter().skip(at + 4).all(|byte| byte.is_ascii_digit() || *byte == b'.')
    })
}

/// Whether a path is absolute and has no empty, `.` or `..` name in it, nor a slash at its end.
pub fn is_normal(path: &[u8]) -> bool {
    path.strip_prefix(b"/").is_some_and(|rest| {
        rest.is_empty() || rest.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
    })
}

/// Whether the last name must be a directory and a link there is followed: `a/`, `a/.`, `a/..`.
pub fn names_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || path == b"." || path == b".." || path.ends_with(b"/.") || path.ends_with(b"/..")
}

/// A path that is being put together: never more than [`PATH_MAX`] bytes, with room for a NUL at the end.
pub struct PathText {
    bytes: [u8; PATH_MAX + 1],
    length: usize,
}

impl Default for PathText {
    fn default() -> Self {
        Self { bytes: [0; PATH_MAX + 1], length: 0 }
    }
}

impl PathText {
    /// The path, without a NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The path and a NUL behind it.
    pub fn with_nul(&self) -> &[u8] {
        self.bytes.get(..=self.length).unwrap_or_default()
    }

    /// Cuts the path after `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        // Zeroed, so that a NUL follows whatever the length.
        if let Some(rest) = self.bytes.get_mut(length..self.length) {
            rest.fill(0);
            self.length = length;
        }
    }

    /// Cuts the first `length` bytes off.
    pub fn cut_front(&mut self, length: usize) {
        let kept = self.length.saturating_sub(length);
        for at in 0..kept {
            // Both are there, so nothing is lost; `copy_within` could panic for all that the compiler sees.
            let from = self.bytes.get(at + length).copied().unwrap_or(0);
            if let Some(to) = self.bytes.get_mut(at) {
                *to = from;
            }
        }
        self.truncate(kept);
    }

    /// Adds bytes as they are; false when there is no room for them.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.length + bytes.len();
        let room = self.bytes.get_mut(self.length..end).filter(|_| end <= PATH_MAX);
        let Some(room) = room else { return false };
        room.copy_from_slice(bytes);
        self.length = end;
        true
    }

    /// Adds the names of `path` below the first `floor` bytes, taking `.` and `..` at their word (links are not looked
    /// at). Calls `leaving` with what there is before each step up. False when there is no room.
    #[must_use]
    pub fn push_normal(&mut self, path: &[u8], floor: usize, mut leaving: impl FnMut(&[u8])) -> bool {
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    leaving(self.as_bytes().get(floor..).unwrap_or_default());
                    let parent = self.as_bytes().iter().rposition(|byte| *byte == b'/');
                    self.truncate(parent.unwrap_or(0).max(floor));
                }
                _ => {
                    if !self.push(b"/") || !self.push(name) {
                        return false;
                    }
                }
            }
        }
        true
    }
}
