//! The applications of this server and their other names.

use std::sync::Arc;

use crate::media::{StreamName, check_name};

/// First segments of the server's own paths over HTTP; no application may have such a name.
pub const RESERVED: [&str; 6] = ["watch", "api", "metrics", "healthz", "player", "files"];

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

    /// The application with which `APP/REST` begins, and the rest; of several the one with the longest name.
    /// Another name stands for it only where no application has that name itself.
    #[must_use]
    pub fn split<'a>(&self, path: &'a str) -> Option<(&Arc<str>, &'a str)> {
        let cuts = || path.rmatch_indices('/').map(|(at, _)| path.split_at(at));
        let own = |app: &str| self.names.iter().find(|name| ***name == *app);
        let found = cuts().find_map(|(app, rest)| Some((own(app)?, rest)));
        let (app, rest) =
            found.or_else(|| cuts().find_map(|(app, rest)| Some((self.resolve(app)?, rest))))?;
        Some((app, rest.strip_prefix('/').unwrap_or(rest)))
    }

    /// The stream that a name means: that of the application, where it begins with another name of one.
    #[must_use]
    pub fn meant(&self, name: &StreamName) -> StreamName {
        let text = name.to_string();
        let found = self.split(&text);
        found
            .and_then(|(app, rest)| StreamName::new(app, rest).ok())
            .unwrap_or_else(|| name.clone())
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
    fn an_alias_is_resolved_where_a_name_begins_with_it() {
        let mut apps = Applications::usual();
        apps.add("tv/one").unwrap();
        apps.add_alias("old", "tv/one").unwrap();
        let meant = |app, name| {
            let meant = apps.meant(&StreamName::new(app, name).unwrap());
            (meant.app().to_owned(), meant.name().to_owned())
        };
        let is = |app: &str, name: &str| (app.to_owned(), name.to_owned());
        assert_eq!(meant("live", "vod/x"), is("live", "vod/x"));
        assert_eq!(meant("vod", "a/b"), is("live", "a/b"));
        assert_eq!(meant("tv", "one/x"), is("tv/one", "x"));
        assert_eq!(meant("old", "x"), is("tv/one", "x"));
        for other in ["Vod", "tv", "vod.x"] {
            assert_eq!(meant(other, "x"), is(other, "x"));
        }
        let split = |path| apps.split(path).map(|(app, rest)| (&**app, rest));
        assert_eq!(split("vod/c*/x"), Some(("live", "c*/x")));
        for other in ["vod", "", "*", "v*/x", "nosuch/x"] {
            assert_eq!(split(other), None, "{other}");
        }
        // One may begin as another is called.
        let mut apps = apps.clone();
        apps.add("tv").unwrap();
        let split = |path| apps.split(path).map(|(app, rest)| (&**app, rest));
        assert_eq!(split("tv/one/x"), Some(("tv/one", "x")));
        assert_eq!(split("tv/two/x"), Some(("tv", "two/x")));
        assert_eq!(split("old/tv/x"), Some(("tv/one", "tv/x")));
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
