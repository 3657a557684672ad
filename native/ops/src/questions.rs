//! Questions of DNS (res_query and its like), which the pod's name servers answer.

use inpod_sys::process::HostName;
use inpod_sys::{random, Errno};
use inpod_wire::{decode_reply, Request};

use crate::hosts::{HOST_NOT_FOUND, NO_DATA, NO_RECOVERY, TRY_AGAIN};
use crate::session::ask_into;
use crate::state::State;

/// Bytes of a query: the head, the longest name, type and class.
const QUERY_BYTES: usize = HEAD_BYTES + NAME_BYTES + 4;

/// Of a name as it travels (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 255;

const HEAD_BYTES: usize = 12;
const LABEL_BYTES: usize = 63;

// Response codes (RFC 1035 section 4.1.1).
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

/// Asks for the records of a name. None: libc's own. `reply` has room for [`inpod_wire::MAX_ANSWER`] bytes.
pub fn query<'r>(
    state: &State,
    name: &[u8],
    searches: bool,
    class: u16,
    kind: u16,
    reply: &'r mut [u8],
) -> Option<Result<&'r [u8], Errno>> {
    if !state.rules.resolves_remotely(name, HostName::of_this_machine().as_bytes()) {
        return None;
    }
    let query = Query::new(name, class, kind)?;
    ask(state, query.as_bytes(), searches && !name.ends_with(b"."), reply)
}

/// Asks what a program has put together itself. None, and `reply`: as for `query`.
pub fn send<'r>(state: &State, message: &[u8], reply: &'r mut [u8]) -> Option<Result<&'r [u8], Errno>> {
    let mut room = [0; NAME_BYTES];
    let name = name_in(message, &mut room)?;
    if !state.rules.resolves_remotely(name, HostName::of_this_machine().as_bytes()) {
        return None;
    }
    ask(state, message, false, reply)
}

fn ask<'r>(state: &State, message: &[u8], searches: bool, reply: &'r mut [u8]) -> Option<Result<&'r [u8], Errno>> {
    let length = ask_into(state, &Request::Question { searches, message }, None, reply)?;
    match decode_reply(reply.get(..length)?)? {
        (0, answer) => Some(Ok(answer)),
        (number, _) => Some(Err(Errno(number))),
    }
}

/// Returns the h_errno of res_query(3) for an answer; 0 when it has records.
pub fn h_errno_of_answer(answer: &[u8]) -> i32 {
    let (Some(code), Some([high, low])) = (answer.get(3), answer.get(6..8)) else { return NO_RECOVERY };
    match code & 15 {
        NO_ERROR if (*high, *low) != (0, 0) => 0,
        NO_ERROR => NO_DATA,
        NAME_ERROR => HOST_NOT_FOUND,
        SERVER_FAILURE => TRY_AGAIN,
        _ => NO_RECOVERY,
    }
}

/// A query for one name.
struct Query {
    bytes: [u8; QUERY_BYTES],
    length: usize,
}

impl Query {
    /// None: no name that can be asked for, or one with escaped letters.
    fn new(name: &[u8], class: u16, kind: u16) -> Option<Self> {
        let mut query = Self { bytes: [0; QUERY_BYTES], length: 0 };
        let [high, low] = random::number().to_be_bytes();
        // Recursion desired, one question.
        query.push(&[high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        for label in name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=LABEL_BYTES as u8).contains(length))?;
            if label.contains(&b'\\') {
                return None;
            }
            query.push(&[length])?;
            query.push(label)?;
        }
        query.push(&[0])?;
        if query.length > HEAD_BYTES + NAME_BYTES {
            return None;
        }
        query.push(&kind.to_be_bytes())?;
        query.push(&class.to_be_bytes())?;
        Some(query)
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length + bytes.len();
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Returns the name that a query asks for, with dots. None: no query of one question.
fn name_in<'r>(message: &[u8], room: &'r mut [u8; NAME_BYTES]) -> Option<&'r [u8]> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let (mut at, mut length) = (HEAD_BYTES, 0);
    loop {
        let size = usize::from(*message.get(at)?);
        if size > LABEL_BYTES {
            return None;
        }
        if size == 0 {
            return room.get(..length);
        }
        if length > 0 {
            *room.get_mut(length)? = b'.';
            length += 1;
        }
        room.get_mut(length..length + size)?.copy_from_slice(message.get(at + 1..at + 1 + size)?);
        length += size;
        at += 1 + size;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn query_says_the_name_that_is_read_back() {
        let query = Query::new(b"db.default.", 1, 16).unwrap();
        assert_eq!(&query.as_bytes()[2..], b"\x01\0\0\x01\0\0\0\0\0\0\x02db\x07default\0\0\x10\0\x01");
        assert_eq!(name_in(query.as_bytes(), &mut [0; NAME_BYTES]).unwrap(), b"db.default");
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        let long = [b'a'; 64];
        let names: [&[u8]; 5] = [b"", b"a..b", b".a", b"a\\.b", &long];
        assert!(names.iter().all(|name| Query::new(name, 1, 1).is_none()));
        let many = [b"a.".repeat(127), b"a".to_vec()].concat();
        assert!(Query::new(&many, 1, 1).is_none());
        assert!(Query::new(&many[2..], 1, 1).is_some());
    }

    #[test]
    fn query_cut_anywhere_has_no_name() {
        let query = Query::new(b"db.default", 1, 1).unwrap();
        for length in 0..query.length - 4 {
            assert_eq!(name_in(&query.as_bytes()[..length], &mut [0; NAME_BYTES]), None);
        }
    }

    #[test]
    fn answers_have_the_h_errno_of_libc() {
        let answer = |code: u8, count: u8| [0, 0, 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        assert_eq!(h_errno_of_answer(&answer(0, 2)), 0);
        assert_eq!(h_errno_of_answer(&answer(0, 0)), NO_DATA);
        assert_eq!(h_errno_of_answer(&answer(3, 0)), HOST_NOT_FOUND);
        assert_eq!(h_errno_of_answer(&answer(2, 0)), TRY_AGAIN);
        assert_eq!(h_errno_of_answer(&answer(5, 0)), NO_RECOVERY);
        assert_eq!(h_errno_of_answer(&answer(0, 1)[..7]), NO_RECOVERY);
    }
}
