//! Reading the pod's files in a replica that is filled at the same time. The test is the session: it fills the replica
//! where the kernel has stopped who reads, before a look at a path (seccomp_unotify(2)).

#![allow(clippy::unwrap_used, reason = "a test")]

use std::ffi::{CStr, CString};
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use inpod_ops::files::{look, open, Call};
use inpod_ops::place::Caller;
use inpod_ops::state::{Origin, State};
use inpod_rules::table::TABLE_BYTES;
use inpod_sys::files::AT_CWD;
use inpod_sys::seccomp::{self, Step};
use inpod_sys::{errno, other, Errno};
use inpod_wire::Want;

const FILE: &CStr = c"/srv/app/config";
const MARK: Duration = Duration::new(1, 1);
const COMPLETE: Duration = Duration::new(1_700_000_000, 0);

/// A session with a replica. Nobody answers: a call that would ask is given back, to be made as it came.
struct Session {
    folder: PathBuf,
    state: &'static State,
}

impl Session {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("inpod-ops-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("replica")).unwrap();
        fs::write(folder.join("rules"), "inpod-rules 1\nfiles\tread\n").unwrap();
        fs::write(folder.join("table"), b"inpodtb1").unwrap();
        File::options().write(true).open(folder.join("table")).unwrap().set_len(TABLE_BYTES as u64).unwrap();
        let text = CString::new(folder.as_os_str().as_bytes()).unwrap();
        let state = State::read(Origin { folder: &text, own_name: None, layer: None, may_ask: || false }).unwrap();
        Self { folder, state }
    }

    fn path(&self, pod_path: &str) -> PathBuf {
        self.folder.join(format!("replica{pod_path}"))
    }

    /// Makes a folder, with the mark of what is not complete, or without.
    fn put(&self, pod_path: &str, accessed: Duration) {
        fs::create_dir_all(self.path(pod_path)).unwrap();
        let times = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + accessed);
        File::open(self.path(pod_path)).unwrap().set_times(times).unwrap();
    }

    /// Returns what a call about FILE comes to, when `fill` runs just before it looks at the replica's `at`.
    fn found(
        &self,
        at: &str,
        fill: impl FnOnce(&Self),
        call: impl FnOnce(&Caller<'_>) -> Option<i32> + Send,
    ) -> Option<Result<i32, Errno>> {
        let (to_us, from_it) = channel();
        let (at, state, mut fill) = (self.path(at), self.state, Some(fill));
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                seccomp::give_up_new_rights().ok().unwrap();
                to_us.send(seccomp::install(&looks()).ok().unwrap()).unwrap();
                let done = call(&Caller::own(state))?;
                Some(if done == -1 { Err(Errno(errno::get())) } else { Ok(done) })
            });
            let listener = from_it.recv().unwrap();
            while seccomp::wait(listener.raw()) {
                let notification = seccomp::receive(listener.raw()).ok().unwrap();
                let mut room = [0; 512];
                other::read_memory(notification.thread, notification.arguments[1], &mut room).ok().unwrap();
                if CStr::from_bytes_until_nul(&room).unwrap().to_bytes() == at.as_os_str().as_bytes() {
                    if let Some(fill) = fill.take() {
                        fill(self);
                    }
                }
                seccomp::let_go_on(listener.raw(), notification.id);
            }
            assert!(fill.is_none(), "nobody looked there");
            reader.join().unwrap()
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A filter that hands over newfstatat.
fn looks() -> Vec<Step> {
    let step = |code, k, jf| Step { code, jt: 0, jf, k };
    let number = libc::SYS_newfstatat as u32;
    vec![step(0x20, 0, 0), step(0x15, number, 1), step(0x06, 0x7fc0_0000, 0), step(0x06, 0x7fff_0000, 0)]
}

fn stat(caller: &Caller<'_>) -> Option<i32> {
    look(caller, AT_CWD, FILE, Want::Stat, by_access())
}

fn read(caller: &Caller<'_>) -> Option<i32> {
    open(caller, AT_CWD, FILE, libc::O_RDONLY, by_access())
}

/// A look of another system call than those that are handed over.
fn by_access() -> Call<'static, i32> {
    // SAFETY: a C string.
    &|_, path| unsafe { libc::access(path.as_ptr(), libc::F_OK) }
}

fn write(path: &Path) {
    fs::write(path, "key: value").unwrap();
}

#[test]
fn file_that_comes_with_all_of_its_folder_is_there() {
    let session = Session::new("folder");
    for call in [stat, read] {
        session.put("/srv/app", MARK);
        let fill = |session: &Session| {
            write(&session.path("/srv/app/config"));
            session.put("/srv/app", COMPLETE);
        };
        // Nobody answers who asks, which is right: what is there is found by the next call at the latest.
        assert_eq!(session.found("/srv/app", fill, call), None);
        fs::remove_file(session.path("/srv/app/config")).unwrap();
    }
}

#[test]
fn folder_that_comes_with_all_of_the_root_is_not_without_the_file() {
    let session = Session::new("root");
    for call in [stat, read] {
        session.put("", MARK);
        let fill = |session: &Session| {
            session.put("/srv", MARK);
            session.put("", COMPLETE);
        };
        assert_eq!(session.found("", fill, call), None);
        fs::remove_dir(session.path("/srv")).unwrap();
    }
}

#[test]
fn file_that_does_not_come_with_its_folder_is_missing() {
    let session = Session::new("missing");
    for call in [stat, read] {
        session.put("/srv/app", MARK);
        let fill = |session: &Session| session.put("/srv/app", COMPLETE);
        assert_eq!(session.found("/srv/app", fill, call), Some(Err(Errno(libc::ENOENT))));
    }
}
