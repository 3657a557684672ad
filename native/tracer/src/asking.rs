//! Whether the thread that decides may wait for the session.

use std::cell::Cell;

thread_local! {
    static QUESTIONS: Cell<Questions> = const { Cell::new(Questions::Asked) };
}

/// What happens to questions of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Questions {
    Asked,
    /// As if there were no session.
    Dropped,
    /// One was.
    HaveBeenDropped,
}

/// `State::may_ask`: remembers that there was a question.
pub fn may_ask() -> bool {
    let is_asked = QUESTIONS.get() == Questions::Asked;
    if !is_asked {
        QUESTIONS.set(Questions::HaveBeenDropped);
    }
    is_asked
}

/// Runs something that must not wait for the session; returns also whether it would have asked.
pub fn without_asking<T>(run: impl FnOnce() -> T) -> (T, bool) {
    QUESTIONS.set(Questions::Dropped);
    let done = run();
    (done, QUESTIONS.replace(Questions::Asked) == Questions::HaveBeenDropped)
}
