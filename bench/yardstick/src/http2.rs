//! A reverse proxy of HTTP/2, and a small server for it to stand before, by h2.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;

use crate::{dial, Fault};

/// Passes the requests of one client on, until it ends.
pub async fn proxy(client: TcpStream, to: SocketAddr) -> Result<(), Fault> {
    let (sender, connection) = h2::client::handshake(dial(to).await?).await?;
    tokio::task::spawn_local(connection);
    let mut client = h2::server::handshake(client).await?;
    while let Some(asked) = client.accept().await {
        let (request, answer) = asked?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            // A stream that fails is reset when its ends are dropped.
            let _ = pass_on(request, answer, sender).await;
        });
    }
    Ok(())
}

async fn pass_on(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    sender: SendRequest<Bytes>,
) -> Result<(), Fault> {
    let (head, body) = request.into_parts();
    let is_whole = body.is_end_stream();
    let (response, upload) = sender.ready().await?.send_request(Request::from_parts(head, ()), is_whole)?;
    if !is_whole {
        tokio::task::spawn_local(async move {
            let _ = copy(body, upload).await;
        });
    }
    let (head, body) = response.await?.into_parts();
    let is_whole = body.is_end_stream();
    let download = answer.send_response(Response::from_parts(head, ()), is_whole)?;
    if is_whole {
        Ok(())
    } else {
        copy(body, download).await
    }
}

/// Passes a body and its trailers on, as fast as they are taken.
async fn copy(mut from: RecvStream, mut to: SendStream<Bytes>) -> Result<(), Fault> {
    while let Some(data) = from.data().await {
        let data = data?;
        let size = data.len();
        to.send_data(data, from.is_end_stream())?;
        from.flow_control().release_capacity(size)?;
    }
    if let Some(trailers) = from.trailers().await? {
        to.send_trailers(trailers)?;
    }
    Ok(())
}

/// Answers each request of one client with a few bytes.
pub async fn serve(client: TcpStream) -> Result<(), Fault> {
    let mut client = h2::server::handshake(client).await?;
    while let Some(asked) = client.accept().await {
        let (_, mut answer) = asked?;
        let mut body = answer.send_response(Response::new(()), false)?;
        body.send_data(Bytes::from_static(b"original\n"), true)?;
    }
    Ok(())
}
