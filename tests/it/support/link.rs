//! A slow link between one client and the gateway.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

use super::stream;

/// Where a client connects that is far from `to`: answers come in pieces of
/// this size with this pause between, requests as they are sent. What is on its
/// way waits in the sender's kernel. Serves one connection.
pub async fn slow_link(to: SocketAddr, piece: usize, pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = stream::connect_narrow(to, piece).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            let _ = to_server.shutdown().await;
        };
        let down = async {
            let mut bytes = vec![0; piece];
            while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                if to_client.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
                sleep(pause).await;
            }
            let _ = to_client.shutdown().await;
        };
        tokio::join!(up, down);
    });
    address
}
