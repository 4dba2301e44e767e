//! The control socket of a server: where it comes from, and what it is told of the server.

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use nix::unistd::geteuid;
use tokio::task::JoinSet;

use super::Server;
use super::privileges::Plan;
use super::reload::Reloader;
use crate::config::{Change, ControlAt, Problem};
use crate::control::{self, Control, ControlSocket, Reload, SocketError};
use crate::net::Listener;

/// What was inherited counts; else what the configuration names. The usual place is another matter:
/// [`Server::use_usual_control`].
pub(super) fn open(
    inherited: Vec<UnixListener>,
    at: &ControlAt,
) -> Result<Vec<ControlSocket>, SocketError> {
    if !inherited.is_empty() {
        return Ok(inherited.into_iter().map(ControlSocket::inherit).collect());
    }
    match at {
        ControlAt::Path(path) => Ok(vec![ControlSocket::bind(path)?]),
        ControlAt::Usual | ControlAt::Off => Ok(Vec::new()),
    }
}

/// Serves until the answer is dropped.
pub(super) fn serve(
    sockets: Vec<ControlSocket>,
    lines: Vec<Listener>,
    control: &Arc<Control>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for listener in lines {
        tasks.spawn(control::verbs::serve(listener, Arc::clone(control)));
    }
    for socket in sockets {
        tasks.spawn(control::serve(socket, Arc::clone(control)));
    }
    tasks
}

/// `ctl reload`, in words.
pub(super) fn reload(reloader: Reloader) -> Reload {
    Box::new(move || {
        let reloader = reloader.clone();
        Box::pin(async move {
            let told = |problems: Vec<Problem>| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                lines.join("; ")
            };
            let changes = reloader.reload().await.map_err(told)?;
            let text = |change: &Change| format!("{change} ({})", change.effect.as_str());
            Ok(changes.iter().map(text).collect())
        })
    })
}

impl Server {
    /// The sockets' files belong to whom this process is about to become, or it could not take them
    /// away at the end.
    pub(super) fn give_control(&self, plan: &Plan) {
        let Plan::Become { uid, gid, .. } = plan else {
            return;
        };
        for socket in &self.control {
            if let Err(error) = socket.give_to(*uid, *gid) {
                tracing::warn!(
                    code = "control",
                    "the control socket stays root's, and behind at the end: {error}"
                );
            }
        }
    }

    /// Makes the control socket where `crtmpserver status` looks for it, when nothing else is said
    /// and that place is free. For the one server of a process; it is never an error.
    pub fn use_usual_control(&mut self) {
        if self.control.is_empty() && self.settings.listen.control == ControlAt::Usual {
            let is_root = geteuid().is_root();
            self.control
                .extend(control::usual(|name| std::env::var_os(name), is_root));
        }
    }
}
