//! Serving the control socket: few clients, each with a deadline for everything.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::attend::attend;
use super::facts::Control;
use super::model::Answer;
use super::protocol::{self, Lines, Refusal, Verb};
use super::socket::ControlSocket;
use crate::limits::{CONTROL_PATIENCE, MAX_CONTROL_CLIENTS};

/// Serves until it is dropped; the socket's file goes then, if the server made it.
pub async fn serve(socket: ControlSocket, control: Arc<Control>) {
    let (listener, _file) = match socket.listen() {
        Ok(both) => both,
        Err(error) => {
            tracing::error!(
                code = "control",
                "the control socket is not served: {error}"
            );
            return;
        }
    };
    let client = |stream| {
        let control = Arc::clone(&control);
        async move { client(stream, &control).await }
    };
    attend(
        ("the control socket", MAX_CONTROL_CLIENTS),
        |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream),
        |stream| refuse(&stream),
        client,
    )
    .await;
}

/// One client too many: it hears so if its socket takes it, and is gone.
fn refuse(stream: &UnixStream) {
    let why = "too many connections to the control socket; try again";
    let answer = line(&Answer::refused(Refusal::new("busy", why)));
    // There is nobody to tell when it does not.
    drop(stream.try_write(&answer));
}

async fn client(mut stream: UnixStream, control: &Control) {
    let by = stream
        .peer_cred()
        .map_or_else(|_| "unknown".to_owned(), |c| c.uid().to_string());
    let mut lines = Lines::default();
    let mut bytes = [0; 1024];
    loop {
        let read = within(stream.read(&mut bytes)).await;
        let Some(read @ 1..) = read else { return };
        lines.feed(bytes.get(..read).unwrap_or_default());
        loop {
            let answer = match lines.next_line() {
                Ok(None) => break,
                Ok(Some(request)) => answer(control, &request, &by).await,
                Err(too_long) => {
                    let refusal = Refusal::new("bad-request", too_long.to_string());
                    within(stream.write_all(&line(&Answer::refused(refusal)))).await;
                    return;
                }
            };
            if within(stream.write_all(&line(&answer))).await.is_none() {
                return;
            }
        }
    }
}

/// The result, if there is one in time.
async fn within<T>(io: impl Future<Output = std::io::Result<T>>) -> Option<T> {
    timeout(CONTROL_PATIENCE, io).await.ok()?.ok()
}

async fn answer(control: &Control, request: &[u8], by: &str) -> Answer {
    let verb = match protocol::parse(request) {
        Ok(verb) => verb,
        Err(refusal) => return Answer::refused(refusal),
    };
    if let Verb::Line(line) = &verb {
        return control.line(line, &format!("uid {by}")).await;
    }
    let kick = matches!(verb, Verb::KickConnection(_) | Verb::KickPublisher(_));
    // What changes something has a line, whoever did it. What comes of a reload says the reload itself.
    if verb == Verb::Reload {
        tracing::info!(
            code = "control",
            uid = %by,
            "asked over the control socket to read the configuration again"
        );
    }
    let drain = match verb {
        Verb::Drain(..) => Some("drain"),
        Verb::Undrain => Some("undrain"),
        _ => None,
    };
    let answer = control.answer(verb).await;
    // What comes of a drain says the drain itself.
    match (drain, &answer.error) {
        (Some(verb), None) => {
            tracing::info!(code = "control", uid = %by, verb, "asked over the control socket");
        }
        (Some(verb), Some(error)) => {
            tracing::warn!(
                code = "control-refused", uid = %by, verb, reason = %error.code,
                "an operator's wish was not done: {error}"
            );
        }
        (None, _) => {}
    }
    match (kick, &answer.error, &answer.kicked) {
        (true, Some(error), _) => {
            tracing::warn!(
                code = "control-refused", uid = %by, verb = "kick", reason = %error.code,
                "an operator's wish was not done: {error}"
            );
        }
        (true, None, Some(kicked)) => {
            tracing::warn!(
                code = "kicked", uid = %by, id = kicked.id, peer = %kicked.peer,
                published = %kicked.published.join(" "), played = %kicked.played.join(" "),
                "an operator ended a connection"
            );
        }
        _ => {}
    }
    answer
}

fn line(answer: &Answer) -> Vec<u8> {
    // Plain data is always JSON; should it ever not be, the client misses its answer and says so.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}
