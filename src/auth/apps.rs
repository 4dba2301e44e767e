//! The applications of this server and their other names.

use std::sync::Arc;

use crate::media::check_name;

/// Paths of the server's own; no application may have such a name.
const RESERVED: [&str; 6] = ["watch", "api", "metrics", "healthz", "player", "files"];

/// The one application that there is when nobody says otherwise.
const LIVE: &str = "live";
/// What the original's configuration called it.
const USUAL: [&str; 6] = [
    "flvplayback",
    "vod",
    "simpleLive",
    "WeeklyQuest",
    "SOSample",
    "oflaDemo",
];

/// The applications, each with its aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applications {
    names: Vec<Arc<str>>,
    /// Alias, and the application it stands for.
    aliases: Vec<(Box<str>, Arc<str>)>,
}

impl Default for Applications {
    /// `live` alone.
    fn default() -> Self {
        Self {
            names: vec![LIVE.into()],
            aliases: Vec::new(),
        }
    }
}

impl Applications {
    /// `live`, and the names that it always had in crtmpserver, where one application played all that was
    /// live and all files.
    #[must_use]
    pub fn usual() -> Self {
        let mut all = Self::default();
        all.add_usual();
        all
    }

    /// Adds the usual names of `live`, but for those that stand for something already.
    pub fn add_usual(&mut self) {
        for alias in USUAL {
            if self.resolve(alias).is_none() {
                let _ = self.add_alias(alias, LIVE); // without `live` there is none
            }
        }
    }

    /// No application yet.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            names: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// Adds an application.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        self.check_new(name)?;
        self.names.push(name.into());
        Ok(())
    }

    /// Adds another name for an application.
    ///
    /// # Errors
    /// Says what is wrong with the alias or that there is no such application.
    pub fn add_alias(&mut self, alias: &str, name: &str) -> Result<(), String> {
        self.check_new(alias)?;
        let Some(name) = self.names.iter().find(|n| ***n == *name) else {
            return Err(format!("{name:?} is not in the list of applications"));
        };
        self.aliases.push((alias.into(), name.clone()));
        Ok(())
    }

    fn check_new(&self, name: &str) -> Result<(), String> {
        check_name(name)
            .map_err(|e| format!("{name:?}: {e}; write letters, digits and . _ ~ - only"))?;
        if RESERVED.contains(&name.split('/').next().unwrap_or(name)) {
            return Err(format!(
                "{name:?} is a path of the server's own; take another name"
            ));
        }
        if self.resolve(name).is_some() {
            return Err(format!("{name:?} is there twice"));
        }
        Ok(())
    }

    /// The application that a peer means by `name`: itself or by an alias, one '/' at the end
    /// forgiven. `None` when there is no such application.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Arc<str>> {
        let name = name.strip_suffix('/').unwrap_or(name);
        let own = self.names.iter().find(|n| ***n == *name);
        own.or_else(|| {
            let alias = self.aliases.iter().find(|(alias, _)| **alias == *name)?;
            Some(&alias.1)
        })
    }

    /// The applications' own names, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// The other names, each with the application that it stands for.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().map(|(alias, name)| (&**alias, &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_an_alias_and_nothing_else() {
        let mut apps = Applications::default();
        apps.add("vod/one").unwrap();
        apps.add_alias("simpleLive", "live").unwrap();
        let resolve = |name| apps.resolve(name).map(|a| a.to_string());
        assert_eq!(resolve("live"), Some("live".into()));
        assert_eq!(resolve("live/"), Some("live".into()));
        assert_eq!(resolve("simpleLive"), Some("live".into()));
        assert_eq!(resolve("vod/one"), Some("vod/one".into()));
        for other in ["", "/", "Live", "live//", "vod", "live/x"] {
            assert_eq!(resolve(other), None, "{other}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let mut apps = Applications::default();
        for bad in ["live", "api", "watch/x", "", "a b", "../x"] {
            assert!(apps.add(bad).is_err(), "{bad}");
        }
        assert!(apps.add_alias("x", "nothing").is_err());
        apps.add_alias("x", "live").unwrap();
        assert!(apps.add_alias("x", "live").is_err());
        assert!(apps.add("x").is_err());
    }
}
