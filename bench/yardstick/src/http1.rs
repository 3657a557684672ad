//! A reverse proxy of HTTP/1.1, by hyper.

use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{dial, Fault};

/// Passes the requests of one client on, until it ends.
pub async fn proxy(client: TcpStream, to: SocketAddr) -> Result<(), Fault> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(dial(to).await?)).await?;
    tokio::task::spawn_local(connection);
    // HTTP/1 has one request at a time, so nobody waits for the lock.
    let sender = Rc::new(tokio::sync::Mutex::new(sender));
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = Rc::clone(&sender);
        async move { sender.lock().await.send_request(request).await }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await?;
    Ok(())
}
