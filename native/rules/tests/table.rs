//! The socket table: its layout (contracts/layer-messages.json), and what many writers do to it.

// A test that cannot read its contract has failed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use inpod_rules::table::{Kind, Socket, Table, TABLE_BYTES};
use inpod_rules::{Addr, Family};
use serde_json::Value;

fn contract() -> Value {
    let text = include_str!("../../../contracts/layer-messages.json");
    serde_json::from_str::<Value>(text).unwrap()["table"].clone()
}

fn words() -> Vec<AtomicU64> {
    let words: Vec<_> = (0..TABLE_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    words[0].store(u64::from_le_bytes(*b"inpodtb1"), Ordering::Relaxed);
    words
}

fn addr(value: &Value) -> Addr {
    let family = if value["family"] == 4 { Family::V4 } else { Family::V6 };
    let ip = match value["host"].as_str().unwrap().parse().unwrap() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    };
    Addr { family, port: value["port"].as_u64().unwrap() as u16, ip }
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn bytes_at(words: &[AtomicU64], at: usize, length: usize) -> Vec<u8> {
    let all = words[at / 8..(at + length) / 8].iter();
    all.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
}

fn socket(kind: Kind) -> Socket {
    let peer = Addr { family: Family::V6, port: 8080, ip: [7; 16] };
    Socket {
        kind: Some(kind),
        local: Some(Addr::v4(Family::V4, [10, 1, 2, 3], 80)),
        peer: Some(peer),
        errno: -3,
        relay: 9,
    }
}

#[test]
fn a_socket_lies_where_and_as_the_contract_says() {
    let contract = contract();
    assert_eq!(contract["bytes"], TABLE_BYTES);
    let words = words();
    let table = Table::new(&words).unwrap();
    let slot = &contract["socket"];
    let cookie = u64::from_str_radix(slot["cookie"].as_str().unwrap(), 16).unwrap();
    let written = Socket {
        kind: Some(Kind::Connecting),
        local: Some(addr(&slot["local"])),
        peer: Some(addr(&slot["peer"])),
        errno: slot["errno"].as_i64().unwrap() as i32,
        relay: slot["relay"].as_u64().unwrap() as u16,
    };
    table.put(cookie, &written);
    assert_eq!(bytes_at(&words, slot["at"].as_u64().unwrap() as usize, 64), hex(&slot["hex"]));
    assert_eq!(table.socket(cookie), Some(written));
    for kind in [Kind::Bound, Kind::Listener, Kind::Connecting, Kind::Accepted, Kind::Sending] {
        assert_eq!(contract["kinds"][format!("{kind:?}")], kind as u8);
    }
}

#[test]
fn a_port_of_the_session_is_read_as_the_contract_says() {
    a_port_is_read(&contract()["port"], |table, port| table.port(port));
    a_port_is_read(&contract()["udp_port"], |table, port| table.udp_port(port));
}

fn a_port_is_read(slot: &Value, read: fn(&Table<'_>, u16) -> Option<(Addr, Addr)>) {
    let words = words();
    let at = slot["at"].as_u64().unwrap() as usize / 8;
    for (word, bytes) in words[at..].iter().zip(hex(&slot["hex"]).chunks_exact(8)) {
        word.store(u64::from_le_bytes(bytes.try_into().unwrap()), Ordering::Relaxed);
    }
    let table = Table::new(&words).unwrap();
    let port = slot["port"].as_u64().unwrap() as u16;
    assert_eq!(read(&table, port), Some((addr(&slot["peer"]), addr(&slot["local"]))));
    assert_eq!(read(&table, port + 1), None);
}

#[test]
fn what_is_no_table_is_refused() {
    assert!(Table::new(&words()[1..]).is_none());
    let words = words();
    words[0].store(1, Ordering::Relaxed);
    assert!(Table::new(&words).is_none());
}

#[test]
fn a_forgotten_socket_says_nothing() {
    let words = words();
    let table = Table::new(&words).unwrap();
    table.put(5, &socket(Kind::Bound));
    table.forget(5);
    assert_eq!(table.socket(5).and_then(|socket| socket.kind), None);
    table.forget(6);
    assert_eq!(table.socket(6), None);
}

#[test]
fn in_a_full_table_the_oldest_go_but_never_a_listener() {
    let words = words();
    let table = Table::new(&words).unwrap();
    for cookie in 1..=1000 {
        table.put(cookie, &socket(Kind::Listener));
    }
    for cookie in 1001..=300_000 {
        table.put(cookie, &socket(Kind::Accepted));
    }
    assert!((1..=1000).all(|cookie| table.socket(cookie).is_some()));
    let newest = (290_000..=300_000).filter(|cookie| table.socket(*cookie).is_some()).count();
    assert!(newest > 9_900, "{newest} of 10001");
}

#[test]
fn threads_never_see_half_a_socket() {
    let words = words();
    let table = Table::new(&words).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let cookie = 1 + round * 4 + thread;
                    let errno = cookie as i32;
                    table.put(cookie, &Socket { errno, ..socket(Kind::Connecting) });
                    let other = 1 + (round * 7919) % (round * 4 + 4);
                    if let Some(found) = table.socket(other) {
                        assert_eq!(found, Socket { errno: other as i32, ..socket(Kind::Connecting) });
                    }
                }
            });
        }
    });
}

#[test]
fn the_flag_of_a_seen_directory_stays() {
    let words = words();
    let table = Table::new(&words).unwrap();
    assert!(!table.pod_directory_seen());
    table.set_pod_directory_seen();
    assert!(table.pod_directory_seen());
    assert_eq!(words[1].load(Ordering::Relaxed), 1);
}
