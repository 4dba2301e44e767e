//! `[publish]`: who may publish, and the files of users and stream keys.

#[cfg(feature = "publish")]
use std::path::Path;

#[cfg(feature = "publish")]
use super::build::Build;
#[cfg(feature = "publish")]
use super::{Role, Settings, file};
#[cfg(feature = "publish")]
use crate::auth::{FileError, Networks, StreamKey, StreamKeys, Users};
#[cfg(feature = "publish")]
use crate::system::wall_ms;

/// How many there are in the files that say who may publish; `None` without such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holders {
    /// Users with a password.
    pub users: Option<usize>,
    /// Stream keys.
    pub keys: Option<usize>,
}

#[cfg(feature = "publish")]
impl Build<'_> {
    pub(super) fn publish(&mut self, file: file::Publish, settings: &mut Settings) {
        if settings.role == Role::Mirror {
            for key in [
                "publish.users",
                "publish.keys",
                "publish.takeover",
                "publish.networks",
            ] {
                if self.says(key) {
                    self.wrong(
                        key,
                        "has no meaning on a mirror, which takes no publisher; remove it",
                    );
                }
            }
            return;
        }
        let publish = &mut settings.publish;
        publish.users = file.users.map(|path| self.path(&path));
        publish.keys = file.keys.map(|path| self.path(&path));
        if publish.users.is_some() || publish.keys.is_some() {
            publish.networks = Networks::none();
        }
        if let Some(list) = file.networks {
            publish.networks = self.networks("publish.networks", &list);
        }
        publish.takeover = file.takeover.unwrap_or_default();
    }

    pub(super) fn inspect_publish(
        &mut self,
        settings: &Settings,
        warnings: &mut Vec<String>,
    ) -> Holders {
        let publish = &settings.publish;
        if publish.networks.is_any() {
            warnings.push(
                "publish.networks: everyone who reaches this server may publish without a login"
                    .into(),
            );
        }
        if settings.role == Role::Mirror {
            return Holders::default();
        }
        let users = publish.users.as_deref().and_then(|path| {
            let hint = "`crtmpserver passwd --file FILE NAME` makes it";
            let users =
                self.readable(("publish.users", path, hint), Users::read(path), warnings)?;
            if users.is_empty() {
                let path = path.display();
                warnings.push(format!(
                    "{path} has no user; `crtmpserver passwd --file {path} NAME` makes one"
                ));
            }
            Some(users.len())
        });
        let keys = publish.keys.as_deref().and_then(|path| {
            let hint = "`crtmpserver key add --file FILE live/NAME` makes it";
            let keys = self.readable(
                ("publish.keys", path, hint),
                StreamKeys::read(path),
                warnings,
            )?;
            warnings.extend(vain_keys(path, &keys, settings));
            Some(keys.len())
        });
        Holders { users, keys }
    }

    /// What is in a file that can be read; else why not, and how to make one that is not there.
    fn readable<T>(
        &mut self,
        (key, path, hint): (&str, &Path, &str),
        read: Result<(T, Option<String>), FileError>,
        warnings: &mut Vec<String>,
    ) -> Option<T> {
        match read {
            Ok((read, warning)) => {
                warnings.extend(warning);
                Some(read)
            }
            Err(e) if path.exists() => {
                self.wrong(key, e.to_string());
                None
            }
            Err(e) => {
                self.wrong(key, format!("{e}; {hint}"));
                None
            }
        }
    }
}

/// A warning for each key with which nobody can publish.
#[cfg(feature = "publish")]
fn vain_keys(path: &Path, keys: &StreamKeys, settings: &Settings) -> Vec<String> {
    let path = path.display();
    if keys.is_empty() {
        return vec![format!(
            "{path} has no key; `crtmpserver key add --file {path} live/NAME` makes one"
        )];
    }
    let now = wall_ms();
    let why = |key: &StreamKey| {
        let app = key.stream.app();
        if !key.is_good(now) {
            return Some("has come to its end".to_owned());
        }
        let text = key.stream.to_string();
        let known = settings.applications.split(&text).is_some();
        (!known).then(|| format!("is for {app}, which is no application here"))
    };
    let vain = |key: &StreamKey| Some(format!("{path}: the key {} {}", key.label, why(key)?));
    keys.iter().filter_map(vain).collect()
}
