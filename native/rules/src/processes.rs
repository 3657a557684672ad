//! Programs that are left alone: build tools, and what the user names.

use crate::facts::Line;
use crate::{FilesMode, Rules};

impl Rules<'_> {
    /// Whether there are such programs at all.
    pub fn skips_some(&self) -> bool {
        self.skipped().next().is_some()
    }

    /// Whether a program is one of them. `name`: of its file, or what it was called as, with or without folders.
    pub fn skips(&self, name: &[u8]) -> bool {
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        self.skipped().any(|skipped| skipped == name)
    }

    /// From now on, everything is this machine's.
    pub fn leave_alone(&mut self) {
        self.files = FilesMode::Local;
        self.network = false;
        self.unix_streams = false;
        self.incoming = false;
        self.hostname = None;
    }

    fn skipped(&self) -> impl Iterator<Item = &[u8]> {
        self.others.iter().filter_map(|line| match line {
            Line::Skipped(name) => Some(*name),
            _ => None,
        })
    }
}
