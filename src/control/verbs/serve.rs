//! The command line over TCP, on loopback: few clients, each with a deadline for everything.

use std::io::Write;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Control;
use super::grammar::{self, Cutter, LineError};
use crate::control::attend::attend;
use crate::limits::{MAX_VERB_CLIENTS, VERB_PATIENCE};
use crate::net::Listener;

/// Serves until it is dropped.
pub async fn serve(listener: Listener, control: Arc<Control>) {
    let listener = match TcpListener::from_std(listener.into_socket()) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(code = "control", "the command line is not served: {error}");
            return;
        }
    };
    let client = |stream| {
        let control = Arc::clone(&control);
        async move { client(stream, &control).await }
    };
    attend(
        ("the command line", MAX_VERB_CLIENTS),
        |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream),
        refuse,
        client,
    )
    .await;
}

/// One client too many: there is nobody to tell when it does not go, and nothing is waited for.
fn refuse(stream: TcpStream) {
    let full = Err("too many connections; try again".to_owned());
    if let Ok(mut socket) = stream.into_std() {
        drop(socket.write_all(grammar::answer(full).as_bytes()));
    }
}

async fn client(mut stream: TcpStream, control: &Arc<Control>) {
    let by = stream
        .peer_addr()
        .map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
    let mut cutter = Cutter::default();
    let mut bytes = [0; 1024];
    loop {
        let Some(read @ 1..) = within(stream.read(&mut bytes)).await else {
            return;
        };
        for byte in bytes.get(..read).unwrap_or_default() {
            let line = match cutter.push(*byte) {
                Ok(None) => continue,
                Ok(Some(line)) => grammar::parse(&line),
                Err(error) => Err(error),
            };
            let (done, last) = match line {
                Ok(None) => continue,
                Ok(Some(line)) => {
                    let last = ["quit", "exit"]
                        .iter()
                        .any(|w| w.eq_ignore_ascii_case(&line.verb));
                    (control.verb(&line, &by).await, last)
                }
                Err(error) => {
                    // What is no text may be TLS, or whatever else a page can make a browser send.
                    let last = !matches!(error, LineError::NoValue | LineError::TooMany);
                    (Err(error.to_string()), last)
                }
            };
            let answer = grammar::answer(done);
            let sent = within(stream.write_all(answer.as_bytes())).await;
            if last || sent.is_none() {
                return;
            }
        }
    }
}

/// The result, if there is one in time.
async fn within<T>(io: impl Future<Output = std::io::Result<T>>) -> Option<T> {
    timeout(VERB_PATIENCE, io).await.ok()?.ok()
}
