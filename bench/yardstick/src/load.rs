//! Clients of HTTP/2: each connection has so many requests under way all the time. Prints what `bench.h` prints.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use crate::{dial, Fault};

/// Asks for `seconds`.
pub async fn run(to: SocketAddr, connections: usize, streams: usize, seconds: f64, path: &str) -> Result<(), Fault> {
    let taken_us = Rc::new(RefCell::new(Vec::new()));
    let mut senders = Vec::new();
    for _ in 0..connections {
        let (sender, connection) = h2::client::handshake(dial(to).await?).await?;
        tokio::task::spawn_local(connection);
        senders.push(sender);
    }
    let uri = format!("http://pod{path}");
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let askers: Vec<_> = senders
        .iter()
        .flat_map(|sender| (0..streams).map(move |_| sender.clone()))
        .map(|sender| tokio::task::spawn_local(ask(sender, uri.clone(), until, Rc::clone(&taken_us))))
        .collect();
    for asker in askers {
        asker.await??;
    }
    let total_us = start.elapsed().as_secs_f64() * 1e6;
    let mut taken = taken_us.take();
    taken.sort_by(f64::total_cmp);
    let at = |hundredths: usize| taken.get(taken.len() * hundredths / 100).copied().ok_or("nothing was asked");
    println!(
        "{{\"p50_us\": {:.2}, \"p99_us\": {:.2}, \"per_s\": {:.1}, \"total_us\": {total_us:.1}, \"count\": {}}}",
        at(50)?,
        at(99)?,
        taken.len() as f64 * 1e6 / total_us,
        taken.len(),
    );
    Ok(())
}

async fn ask(
    sender: SendRequest<Bytes>,
    uri: String,
    until: Instant,
    taken_us: Rc<RefCell<Vec<f64>>>,
) -> Result<(), Fault> {
    let mut start = Instant::now();
    while start < until {
        let request = Request::get(&uri).header("user-agent", "bench").header("accept", "*/*").body(())?;
        let (response, _) = sender.clone().ready().await?.send_request(request, true)?;
        let response = response.await?;
        if response.status() != 200 {
            return Err(format!("answer {}", response.status()).into());
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let size = data?.len();
            body.flow_control().release_capacity(size)?;
        }
        let end = Instant::now();
        taken_us.borrow_mut().push((end - start).as_secs_f64() * 1e6);
        start = end;
    }
    Ok(())
}
