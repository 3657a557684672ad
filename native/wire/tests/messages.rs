//! contracts/layer-messages.json: the datagrams between layer and session.

// A test that cannot read its contract has failed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::net::IpAddr;

use inpod_rules::{Addr, Family};
use inpod_wire::{decode_redirect, decode_reply, decode_resolved, encode, Request, Want, MAX_REQUEST};
use serde_json::Value;

fn contract(key: &str) -> Vec<Value> {
    let text = include_str!("../../../contracts/layer-messages.json");
    serde_json::from_str::<Value>(text).unwrap()[key].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn ip(host: &Value) -> [u8; 16] {
    match host.as_str().unwrap().parse().unwrap() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn family(number: &Value) -> Option<Family> {
    match number.as_u64().unwrap() {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => None,
    }
}

fn addr(value: &Value) -> Addr {
    let family = family(&value["family"]).unwrap();
    Addr { family, port: value["port"].as_u64().unwrap() as u16, ip: ip(&value["host"]) }
}

#[test]
fn requests_are_the_bytes_of_the_contract() {
    for case in contract("requests") {
        let text = case.get("text").map(hex).unwrap_or_default();
        let request = match case["is"].as_str().unwrap() {
            "Connect" => {
                let cookie = u64::from_str_radix(case["cookie"].as_str().unwrap(), 16).unwrap();
                let (is_undecided, is_send) = (case["is_undecided"] == true, case["is_send"] == true);
                Request::Connect { cookie, to: addr(&case["to"]), is_undecided, is_send }
            }
            "Bind" => {
                let (reuse_port, is_udp) = (case["reuse_port"] == true, case["is_udp"] == true);
                Request::Bind { wanted: addr(&case["wanted"]), reuse_port, is_udp }
            }
            "Listen" => Request::Listen {
                wanted: addr(&case["wanted"]),
                real: addr(&case["real"]),
                is_local: case["is_local"] == true,
                is_udp: case["is_udp"] == true,
            },
            "Resolve" => Request::Resolve { family: family(&case["family"]), name: &text },
            "Unix" => Request::Unix { path: &text },
            "Question" => Request::Question { searches: case["searches"] == true, message: &text },
            "Name" => Request::Name { ip: ip(&case["ip"]) },
            "File" => {
                let want = match case["want"].as_str().unwrap() {
                    "LSTAT" => Want::Lstat,
                    "STAT" => Want::Stat,
                    "READ" => Want::Read,
                    "EXECUTE" => Want::Execute,
                    _ => Want::List,
                };
                Request::File { want, path: &text }
            }
            "Trace" => Request::Trace {
                listener: case["listener"].as_i64().unwrap() as i32,
                errno: case["errno"].as_i64().unwrap() as i32,
                path: &text,
            },
            "Warn" => Request::Warn { why: "static", path: &text },
            other => panic!("{other}"),
        };
        let mut room = [0; MAX_REQUEST];
        assert_eq!(encode(&request, &mut room).unwrap(), hex(&case["hex"]), "{}", case["name"]);
    }
}

#[test]
fn replies_are_read_as_the_contract_says() {
    for case in contract("replies") {
        let bytes = hex(&case["hex"]);
        let (errno, body) = decode_reply(&bytes).unwrap();
        assert_eq!(case["errno"], errno, "{}", case["name"]);
        if let Some(redirect) = case.get("redirect") {
            assert_eq!(decode_redirect(body), Some(addr(redirect)));
        }
        if let Some(resolved) = case.get("resolved") {
            let found = decode_resolved(body).unwrap();
            let expected: Vec<_> = resolved["hosts"].as_array().unwrap().iter().map(ip).collect();
            assert_eq!(found.addresses().collect::<Vec<_>>(), expected);
            assert_eq!(found.canonical, resolved["canonical"].as_str().unwrap().as_bytes());
        }
    }
}

#[test]
fn replies_cut_anywhere_are_no_replies() {
    for case in contract("replies") {
        let bytes = hex(&case["hex"]);
        for length in 0..bytes.len() {
            match decode_reply(&bytes[..length]) {
                None => assert!(length < 4),
                Some((_, body)) => {
                    assert!(case.get("redirect").is_none() || decode_redirect(body).is_none());
                    assert!(case.get("resolved").is_none() || decode_resolved(body).is_none());
                }
            }
        }
    }
}

#[test]
fn a_request_without_room_is_none() {
    let path = [b'a'; 5000];
    let mut room = [0; MAX_REQUEST];
    assert_eq!(encode(&Request::File { want: Want::Read, path: &path }, &mut room), None);
    assert!(encode(&Request::File { want: Want::Read, path: &path[..4096] }, &mut room).is_some());
}
