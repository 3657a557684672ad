//! Probe, Rust: prints what a program sees of the pod. The lines are described in tests/matrix.py.
use std::env;
use std::ffi::CStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{exit, Command};

extern "C" {
    fn gethostname(name: *mut std::ffi::c_char, length: usize) -> std::ffi::c_int;
}

fn hostname() -> String {
    let mut name = [0; 256];
    assert_eq!(unsafe { gethostname(name.as_mut_ptr(), name.len() - 1) }, 0);
    unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned()
}

fn call(url: &str) -> String {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let to = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
    let mut sock = TcpStream::connect(to).unwrap();
    write!(sock, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    sock.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.trim().to_string()
}

fn words(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

fn main() {
    println!("env {}", env::var("GREETING").unwrap_or_default());
    let name = env::var("PROBE_FILE").unwrap();
    let file = Path::new(&name);
    println!("file {}", fs::read_to_string(file).unwrap().trim());
    let folder = file.parent().unwrap();
    let members = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = members.map(|each| each.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    println!("list {}", names.join(","));
    env::set_current_dir(folder).unwrap();
    let size = fs::metadata(file.file_name().unwrap()).unwrap().len();
    println!("cwd {} {size}", env::current_dir().unwrap().display());
    let child = Command::new("cat").arg(file.file_name().unwrap()).current_dir(folder).output().unwrap();
    println!("child {}", String::from_utf8(child.stdout).unwrap().trim());
    println!("host {}", hostname());
    println!("call {}", call(&env::var("PROBE_URL").unwrap()));
    let listener = TcpListener::bind(format!("0.0.0.0:{}", env::var("PROBE_PORT").unwrap())).unwrap();
    println!("listening {}", words(listener.local_addr().unwrap()));
    for sock in listener.incoming() {
        let mut sock = sock.unwrap();
        let mut text = [0; 8192];
        let length = sock.read(&mut text).unwrap_or(0);
        let request = String::from_utf8_lossy(&text[..length]).into_owned();
        let Some(path) = request.split(' ').nth(1) else { continue };
        println!("request {path} {} {}", words(sock.peer_addr().unwrap()), words(sock.local_addr().unwrap()));
        let _ = sock.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nprogram rust");
        drop(sock);
        if path == "/stop" {
            println!("bye");
            exit(7);
        }
    }
}
