//! The host's name.

use inpod_sys::process::{machine_facts, NODE_AT, NODE_BYTES};

use crate::call::{Call, Outcome};

pub fn uname(call: &Call<'_>) -> Outcome {
    let Some(name) = call.state.rules.hostname else { return Outcome::GoOn };
    if call.caller().is_skipped() {
        return Outcome::GoOn;
    }
    let Some(mut facts) = machine_facts() else { return Outcome::GoOn };
    let Some(node) = facts.get_mut(NODE_AT..NODE_AT + NODE_BYTES) else { return Outcome::GoOn };
    node.fill(0);
    for (to, from) in node.iter_mut().take(NODE_BYTES - 1).zip(name) {
        *to = *from;
    }
    call.write(call.argument(0), &facts).map(|()| 0).into()
}
