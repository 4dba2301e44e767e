//! What a player calls a file, and what the file is called.
//!
//! As crtmpserver always had it: `[TYPE:]NAME[.EXTENSION]`. Without a type the extension says it;
//! without an extension the type is the extension, and without both it is an FLV file.

use std::fmt;
use std::path::Path;

use crate::limits::{MAX_NAME, MAX_NAME_SEGMENTS};

/// Extensions of files that are played.
const KNOWN: [&str; 6] = ["flv", "mp4", "m4v", "f4v", "mov", "m4a"];

/// A file's path within a media folder: no part of it is `..`, begins with a dot or is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(Box<str>);

/// Why a name is none of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It is empty, too long, or one of its parts is nothing that a file here is called.
    #[error("this is no name of a file")]
    Forbidden,
    /// It asks for a kind of file that is not played.
    #[error("files of this kind are not played; flv, mp4, m4v, f4v, mov and m4a are")]
    Kind,
}

impl FileName {
    /// Of what a player asks for, its query split off.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn asked(text: &str) -> Result<Self, BadName> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (Some(kind.to_ascii_lowercase()), name),
            None => (None, text),
        };
        if kind.as_deref().is_some_and(|kind| !KNOWN.contains(&kind)) {
            return Err(BadName::Kind);
        }
        // Some players ask for what is behind the application with its slash.
        let name = name.trim_start_matches('/');
        if extension(name).is_some() {
            return Self::exact(name);
        }
        if name.is_empty() || name.ends_with('/') {
            return Err(BadName::Forbidden);
        }
        Self::exact(&format!("{name}.{}", kind.as_deref().unwrap_or("flv")))
    }

    /// Of a path as it is in the folder.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn exact(path: &str) -> Result<Self, BadName> {
        if path.len() > MAX_NAME || path.split('/').count() > MAX_NAME_SEGMENTS {
            return Err(BadName::Forbidden);
        }
        let good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.chars().any(|c| c.is_control() || c == '\\')
        };
        if !path.split('/').all(good) {
            return Err(BadName::Forbidden);
        }
        match extension(path) {
            Some(_) => Ok(Self(path.into())),
            None => Err(BadName::Kind),
        }
    }

    /// The path within the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// What HTTP calls such a file.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match extension(&self.0) {
            Some("flv") => "video/x-flv",
            Some("m4a") => "audio/mp4",
            Some("mov") => "video/quicktime",
            _ => "video/mp4",
        }
    }

    /// Whether a browser can play it, by its kind.
    #[must_use]
    pub fn is_for_browsers(&self) -> bool {
        extension(&self.0) != Some("flv")
    }

    /// What a player asks for.
    #[must_use]
    pub fn asked_as(&self) -> String {
        match extension(&self.0) {
            // ffmpeg and others know these by the prefix alone.
            Some("flv") | None => self.0.to_string(),
            Some(_) => format!("mp4:{self}"),
        }
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The extension, when it is one of a file that is played.
fn extension(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit('/').next()?.rsplit_once('.')?;
    let mut known = KNOWN.into_iter();
    known.find(|known| known.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_they_always_were() {
        let asked = |text: &str| FileName::asked(text).map(|name| name.to_string());
        for (text, file) in [
            ("film", "film.flv"),
            ("film.flv", "film.flv"),
            ("flv:film", "film.flv"),
            ("mp4:film.mp4", "film.mp4"),
            ("mp4:film", "film.mp4"),
            ("mp4:film.mov", "film.mov"),
            ("MP4:film", "film.mp4"),
            ("f4v:film", "film.f4v"),
            ("film.MP4", "film.MP4"),
            ("mov:sub/film", "sub/film.mov"),
            ("/film.m4v", "film.m4v"),
            ("part.1", "part.1.flv"),
            ("mp4:part.1", "part.1.mp4"),
            ("Ein schöner Film.mp4", "Ein schöner Film.mp4"),
        ] {
            assert_eq!(asked(text), Ok(file.to_owned()), "{text}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "flv:",
            "..",
            "../film.flv",
            "a/../film.flv",
            "mp4:../film.mp4",
            "a//b.flv",
            ".hidden",
            "a/.hidden.flv",
            "a\\..\\b.flv",
            "a\0.flv",
            "a\n.flv",
        ] {
            assert_eq!(asked(bad), Err(BadName::Forbidden), "{bad:?}");
        }
        for bad in ["ts:film", "mp3:film", "http://x/film", "c:/film.flv"] {
            assert_eq!(asked(bad), Err(BadName::Kind), "{bad}");
        }
        assert!(asked(&"x".repeat(MAX_NAME - 4)).is_ok());
        assert!(asked(&"x".repeat(MAX_NAME)).is_err());
        assert!(asked("a/b/c/d/e/f/g/h/i").is_err());
        assert_eq!(FileName::exact("film"), Err(BadName::Kind));
        // What is encoded is not decoded here; it is a name like another.
        assert_eq!(asked("%2e%2e%2ffilm"), Ok("%2e%2e%2ffilm.flv".to_owned()));
    }
}
