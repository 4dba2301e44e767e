//! How a mirror shows its master that both know the secret.

use super::{Edge, Trouble};
use crate::amf::Value;
use crate::rtmp::client::Event;
use crate::rtmp::mirror::{self, Hello, MAX_DEPTH, Welcome, new_id};
use crate::rtmp_client::Session;
use crate::system::random;

impl Edge {
    /// Connects to the master's application; with a secret, both sides prove it. Returns the path
    /// of ids down to the master.
    pub(super) async fn connect(&self, app: &str) -> Result<(Session, Vec<String>), Trouble> {
        let mut config = self
            .client_config(app)
            .map_err(crate::rtmp_client::Ended::from)?;
        let hello = Hello {
            id: self.cluster.id().to_owned(),
            nonce: new_id(random().map_err(crate::rtmp_client::Ended::from)?),
        };
        let (secret, connector) = {
            let changeable = self.changeable();
            (changeable.secret.clone(), changeable.connector.clone())
        };
        if secret.is_some() {
            config
                .extra
                .push((mirror::FIELD.to_owned(), hello.to_value()));
        }
        let mut session = Session::dial_with(&self.master, connector.as_ref(), config).await?;
        let info = loop {
            match session.next().await? {
                Event::Connected { info, .. } => break info,
                Event::Rejected {
                    code, description, ..
                } => return Err(Trouble::Rejected { code, description }),
                _ => {}
            }
        };
        let Some(secret) = secret else {
            return Ok((session, Vec::new()));
        };
        let welcome = Welcome::find(&info).ok_or(Trouble::Foreign)?;
        if welcome.path.len() > MAX_DEPTH {
            return Err(Trouble::Depth);
        }
        if self.cluster.set_above(&welcome.path) {
            return Err(Trouble::Loop);
        }
        let proof = secret.mirror_proof(&hello.nonce, &welcome.nonce, &hello.id);
        let asked = session.machine().call(mirror::PROVE, vec![proof.into()]);
        let values = answer(&mut session, asked).await?;
        let proof = values.first().and_then(|v| v.get("proof"));
        let proof = proof.and_then(Value::as_str).unwrap_or_default();
        if secret.verify_master(&hello.nonce, &welcome.nonce, &hello.id, proof) {
            Ok((session, welcome.path))
        } else {
            Err(Trouble::Secret)
        }
    }
}

/// Waits for the answer to a call. What else arrives before it is of no interest.
pub(super) async fn answer(
    session: &mut Session,
    transaction: Option<u32>,
) -> Result<Vec<Value>, Trouble> {
    loop {
        match session.next().await? {
            Event::Result {
                transaction: to,
                values,
                ..
            } if Some(to) == transaction => return Ok(values),
            Event::Error {
                transaction: to,
                info,
            } if Some(to) == transaction => {
                let text = |key| {
                    let value = info.get(key).and_then(Value::as_str);
                    value.unwrap_or("no reason given").to_owned()
                };
                return Err(Trouble::Rejected {
                    code: text("code"),
                    description: text("description"),
                });
            }
            _ => {}
        }
    }
}
