//! What the bench compares the agent's filtered port with: plain reverse proxies, on one thread as the agent is.
//!
//! `http1 PORT TO` and `http2 PORT TO` pass every request on, over one connection to TO for each connection of a client.
//! `serve PORT` is a small server of HTTP/2, `load TO CONNECTIONS STREAMS SECONDS PATH` its clients.

mod http1;
mod http2;
mod load;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// Whatever ends a connection.
pub type Fault = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        match *words {
            ["http1", port, to] => {
                let to: SocketAddr = to.parse()?;
                accept(port, move |client| http1::proxy(client, to)).await
            }
            ["http2", port, to] => {
                let to: SocketAddr = to.parse()?;
                accept(port, move |client| http2::proxy(client, to)).await
            }
            ["serve", port] => accept(port, http2::serve).await,
            ["load", to, connections, streams, seconds, path] => {
                load::run(to.parse()?, connections.parse()?, streams.parse()?, seconds.parse()?, path).await
            }
            _ => {
                Err("usage: http1 PORT TO | http2 PORT TO | serve PORT | load TO CONNECTIONS STREAMS SECONDS PATH"
                    .into())
            }
        }
    })
}

/// Serves each connection to a port of all addresses; says "ready" once that is open.
async fn accept<F>(port: &str, serve: impl Fn(TcpStream) -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>> + 'static,
{
    let listener = TcpListener::bind(("0.0.0.0", port.parse()?)).await?;
    println!("ready");
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let serving = serve(client);
        tokio::task::spawn_local(async move {
            // A client that goes is no fault worth a word.
            let _ = serving.await;
        });
    }
}

/// Connects to `to`.
pub async fn dial(to: SocketAddr) -> Result<TcpStream, Fault> {
    let sock = TcpStream::connect(to).await?;
    sock.set_nodelay(true)?;
    Ok(sock)
}
