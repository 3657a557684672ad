//! Regular expressions as tables: compiled on the developer's machine, walked by the agent byte by byte.
//!
//! A table decides in linear time whatever the pattern and the text, and its walker is ten lines of any language. The
//! syntax is that of Rust's `regex` crate on bytes: no look-around, no back-references.
//!
//! [`inpod_filters_compile`] is called by src/inpod/session/incoming/http_filter.py.

use regex_automata::dfa::{dense, Automaton, StartKind};
use regex_automata::nfa::thompson;
use regex_automata::util::start;
use regex_automata::util::syntax::Config as Syntax;
use regex_automata::Anchored;
use regex_syntax::hir::literal::Extractor;
use std::collections::HashMap;
use std::fmt::Write;

/// Most bytes that an automaton may take while it is built.
const BUILD_LIMIT: usize = 16 << 20;

/// Most entries of a table (two bytes each): it travels with each subscription.
const TABLE_LIMIT: usize = 1 << 18;

/// State from which nothing matches any more.
const DEAD: usize = 0;

/// State once something matched.
const MATCHED: usize = 1;

/// What is wrong with a pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// In words, one line.
    pub reason: String,
    /// Where in the pattern, in bytes; beyond its end when the whole is meant.
    pub at: usize,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Table {
    /// Class of each byte.
    pub classes: Vec<u8>,
    /// Number of classes.
    pub class_count: usize,
    /// Next state by state and class.
    pub next: Vec<u16>,
    /// State to begin in.
    pub start: usize,
    /// States in which the end of the text is a match.
    pub at_end: Vec<usize>,
    /// One of these begins each match, in lower case where case does not count; empty: nothing is known.
    pub literals: Vec<Vec<u8>>,
}

/// Compiles `pattern` to the question whether a text has a match anywhere.
///
/// # Errors
///
/// What is wrong with the pattern, or that its table would be too large.
pub fn compile(pattern: &str, ignore_case: bool) -> Result<Table, Mistake> {
    let literals = literals(pattern, ignore_case)?;
    let too_large = |_| Mistake { reason: "its automaton would be too large".into(), at: pattern.len() };
    let automaton = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(BUILD_LIMIT))
                .determinize_size_limit(Some(BUILD_LIMIT)),
        )
        .syntax(Syntax::new().unicode(false).utf8(false).case_insensitive(ignore_case))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(BUILD_LIMIT)))
        .build(pattern)
        .map_err(too_large)?;
    tabulate(&automaton, literals)
        .ok_or_else(|| Mistake { reason: "its table would be too large".into(), at: pattern.len() })
}

fn literals(pattern: &str, ignore_case: bool) -> Result<Vec<Vec<u8>>, Mistake> {
    let hir = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).map_err(mistake)?;
    let found = Extractor::new().extract(&hir);
    let literals: Vec<Vec<u8>> = found
        .literals()
        .unwrap_or_default()
        .iter()
        .map(|literal| if ignore_case { literal.as_bytes().to_ascii_lowercase() } else { literal.as_bytes().to_vec() })
        .collect();
    Ok(if literals.iter().any(Vec::is_empty) { Vec::new() } else { literals })
}

fn mistake(error: regex_syntax::Error) -> Mistake {
    match error {
        regex_syntax::Error::Parse(error) => {
            Mistake { reason: error.kind().to_string(), at: error.span().start.offset }
        }
        regex_syntax::Error::Translate(error) => {
            Mistake { reason: error.kind().to_string(), at: error.span().start.offset }
        }
        other => Mistake { reason: other.to_string().replace('\n', " "), at: usize::MAX },
    }
}

fn tabulate(automaton: &dense::DFA<Vec<u32>>, literals: Vec<Vec<u8>>) -> Option<Table> {
    let begin = automaton.start_state(&start::Config::new().anchored(Anchored::No)).ok()?;
    let classes: Vec<u8> = (0..=u8::MAX).map(|byte| automaton.byte_classes().get(byte)).collect();
    let class_count = usize::from(*classes.iter().max()?) + 1;
    let mut bytes: Vec<u8> = Vec::new();
    for class in 0..class_count {
        bytes.push(u8::try_from(classes.iter().position(|found| usize::from(*found) == class)?).ok()?);
    }
    let mut table =
        Table { classes, class_count, next: vec![0; class_count], start: DEAD, at_end: Vec::new(), literals };
    table.next.extend(std::iter::repeat_n(1_u16, class_count));
    let mut numbers = HashMap::new();
    let mut todo = Vec::new();
    let mut number_of = |state, todo: &mut Vec<_>| {
        if automaton.is_dead_state(state) || automaton.is_quit_state(state) {
            return DEAD;
        }
        if automaton.is_match_state(state) {
            return MATCHED;
        }
        let count = numbers.len();
        *numbers.entry(state).or_insert_with(|| {
            todo.push(state);
            count + 2
        })
    };
    table.start = number_of(begin, &mut todo);
    // Rows are filled in the order in which their states were numbered.
    let mut done = 0;
    while let Some(state) = todo.get(done).copied() {
        done += 1;
        if automaton.is_match_state(automaton.next_eoi_state(state)) {
            table.at_end.push(done + 1);
        }
        for byte in &bytes {
            let next = number_of(automaton.next_state(state, *byte), &mut todo);
            table.next.push(u16::try_from(next).ok()?);
        }
        if table.next.len() > TABLE_LIMIT {
            return None;
        }
    }
    if table.start == MATCHED || table.at_end.contains(&MATCHED) {
        table.start = MATCHED;
    }
    Some(table)
}

/// Returns a table or a mistake as JSON; byte strings are written in hexadecimal.
pub fn json(result: &Result<Table, Mistake>) -> String {
    match result {
        Ok(table) => {
            let next: Vec<u8> = table.next.iter().flat_map(|state| state.to_le_bytes()).collect();
            let literals: Vec<String> = table.literals.iter().map(|literal| format!("\"{}\"", hex(literal))).collect();
            let at_end: Vec<String> = table.at_end.iter().map(usize::to_string).collect();
            format!(
                "{{\"classes\":\"{}\",\"count\":{},\"next\":\"{}\",\"start\":{},\"at_end\":[{}],\"literals\":[{}]}}",
                hex(&table.classes),
                table.class_count,
                hex(&next),
                table.start,
                at_end.join(","),
                literals.join(",")
            )
        }
        Err(mistake) => format!("{{\"mistake\":\"{}\",\"at\":{}}}", hex(mistake.reason.as_bytes()), mistake.at),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compiles a pattern; writes its JSON to `out` and returns the number of bytes, or the number that did not fit.
///
/// # Safety
///
/// `pattern` points to `length` bytes, `out` to `room` bytes that may be written.
#[no_mangle]
pub unsafe extern "C" fn inpod_filters_compile(
    pattern: *const u8,
    length: usize,
    ignore_case: bool,
    out: *mut u8,
    room: usize,
) -> usize {
    // SAFETY: the caller gives that many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(pattern, length) };
    let result = match std::str::from_utf8(bytes) {
        Ok(text) => compile(text, ignore_case),
        Err(error) => Err(Mistake { reason: "it is no UTF-8".into(), at: error.valid_up_to() }),
    };
    let text = json(&result);
    if text.len() <= room {
        // SAFETY: the caller gives room for as many bytes, in memory of its own.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, text.len()) };
    }
    text.len()
}
