//! contracts/rule-cases.json: what a session's rules file decides.

// A test that cannot read its contract has failed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use inpod_rules::paths::Reached;
use inpod_rules::{Addr, Family, Leaves, Line, Protocol, Rules};
use serde_json::Value;

fn sessions() -> Vec<Value> {
    let text = include_str!("../../../contracts/rule-cases.json");
    let cases: Value = serde_json::from_str(text).unwrap();
    cases["sessions"].as_array().unwrap().clone()
}

fn rules_of(session: &Value) -> Rules<'static> {
    let lines: Vec<_> = list(session, "rules").map(|line| line.as_str().unwrap()).collect();
    parsed(&(lines.join("\n") + "\n")).unwrap()
}

fn parsed(text: &str) -> Option<Rules<'static>> {
    let text = text.as_bytes().to_vec().leak();
    Rules::parse(text, vec![Line::None; Rules::room_for(text)].leak())
}

fn list<'a>(session: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    session[key].as_array().unwrap().iter()
}

fn addr(value: &Value) -> Addr {
    let family = if value["family"] == 4 { Family::V4 } else { Family::V6 };
    let ip = match value["host"].as_str().unwrap().parse().unwrap() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    };
    Addr { family, port: value["port"].as_u64().unwrap() as u16, ip }
}

#[test]
fn paths_have_the_owner_that_the_contract_says() {
    for session in sessions() {
        let rules = rules_of(&session);
        for (key, reached) in [("paths", Reached::ByName), ("through", Reached::ThroughPodDirectory)] {
            for case in list(&session, key) {
                let (path, owner) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
                let found = if rules.is_pod_path(path.as_bytes(), reached) { "pod" } else { "local" };
                assert_eq!(found, owner, "{path} {reached:?} in session {}", session["name"]);
            }
        }
    }
}

#[test]
fn binds_become_what_the_contract_says() {
    for session in sessions() {
        let rules = rules_of(&session);
        for case in list(&session, "binds") {
            let wanted = addr(&case["wanted"]);
            let real = rules.bind(&wanted, case["v6_only"] == true);
            let expected = (!case["real"].is_null()).then(|| addr(&case["real"]));
            assert_eq!(real, expected, "{case}");
        }
    }
}

#[test]
fn connects_and_names_are_asked_as_the_contract_says() {
    for session in sessions() {
        let rules = rules_of(&session);
        for case in list(&session, "connects") {
            let protocol = if case["protocol"] == "udp" { Protocol::Udp } else { Protocol::Tcp };
            let leaves = match case["leaves"].as_str().unwrap() {
                "here" => Leaves::Here,
                "pod" => Leaves::Pod,
                _ => Leaves::Asked,
            };
            assert_eq!(rules.leaves(&addr(&case["to"]), protocol), leaves, "{case}");
        }
        for case in list(&session, "names") {
            let name = case["name"].as_str().unwrap().as_bytes();
            assert_eq!(rules.resolves_remotely(name, b"this-machine"), case["asks"] == true, "{case}");
        }
    }
}

#[test]
fn programs_are_skipped_as_the_contract_says() {
    let sessions = sessions();
    let session = sessions.iter().find(|session| !session["programs"].is_null()).unwrap();
    let mut rules = rules_of(session);
    for case in list(session, "programs") {
        assert_eq!(rules.skips(case[0].as_str().unwrap().as_bytes()), case[1] == "skipped", "{case}");
    }
    rules.leave_alone();
    let addr = Addr::v4(Family::V4, [10, 9, 9, 9], 80);
    assert_eq!(rules.leaves(&addr, Protocol::Tcp), Leaves::Here);
    assert!(!rules.is_pod_path(b"/app", Reached::ByName) && !rules.resolves_remotely(b"db", b""));
}

#[test]
fn network_off_leaves_every_socket_and_name_alone() {
    let rules = parsed("inpod-rules 1\nnetwork\toff\n").unwrap();
    let addr = Addr::v4(Family::V4, [10, 1, 2, 3], 80);
    assert_eq!(rules.bind(&addr, false), None);
    assert_eq!(rules.leaves(&addr, Protocol::Tcp), Leaves::Here);
    assert!(!rules.resolves_remotely(b"db", b""));
}

#[test]
fn daemons_that_know_this_machines_names_are_hidden_where_names_are_the_pods() {
    let hides = |lines: &str, path: &[u8]| parsed(&format!("inpod-rules 1\n{lines}")).unwrap().hides_socket(path);
    let resolved = b"/run/systemd/resolve/io.systemd.Resolve";
    assert!(hides("files\tread\n", b"/var/run/nscd/socket") && hides("files\tread\n", resolved));
    assert!(!hides("files\tread\n", b"/var/run/nscd/socket2") && !hides("files\tread\nnames\toff\n", resolved));
    assert!(!hides("files\tlocal\n", resolved) && !hides("files\tread\nnetwork\toff\n", resolved));
}

#[test]
fn name_servers_are_this_machines_where_names_are() {
    let leaves = |lines: &str, port| {
        let to = Addr::v4(Family::V4, [10, 96, 0, 10], port);
        let rules = parsed(&format!("inpod-rules 1\n{lines}")).unwrap();
        [Protocol::Udp, Protocol::Tcp].map(|protocol| rules.leaves(&to, protocol))
    };
    assert_eq!(leaves("", 53), [Leaves::Pod; 2]);
    assert_eq!(leaves("names\toff\n", 53), [Leaves::Here; 2]);
    assert_eq!(leaves("names\toff\n", 54), [Leaves::Pod; 2]);
}

#[test]
fn rules_of_another_version_are_none() {
    assert!(parsed("inpod-rules 2\nfiles\tread\n").is_none());
    assert!(parsed("").is_none());
}

#[test]
fn bad_lines_are_left_out() {
    let rules = parsed("inpod-rules 1\nfiles\nwhat\tever\nlocal-port\tx\nlocal-tree\trelative\nfiles\tread\n").unwrap();
    assert!(rules.is_pod_path(b"/app", Reached::ByName));
}

#[test]
fn what_there_is_no_room_for_is_left_out() {
    let text = b"inpod-rules 1\nskip\tone\nlocal-tree\t/two\nskip\tthree\n";
    let mut room = [Line::None; 2];
    let rules = Rules::parse(text, &mut room).unwrap();
    assert!(rules.skips(b"one") && !rules.skips(b"three"));
}
