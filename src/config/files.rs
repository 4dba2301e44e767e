//! The table `[files]`: media files that are played beside what is live.

use super::build::{Build, set, set_span};
use super::file;
use super::settings::{Role, Settings};
use crate::limits::MAX_FILE_AHEAD;

impl Build<'_> {
    /// Files that are played, and those that are made.
    pub(super) fn files(
        &mut self,
        files: file::Files,
        record: file::Record,
        settings: &mut Settings,
    ) {
        self.played(files, settings);
        self.record(record, settings);
    }

    fn played(&mut self, file: file::Files, settings: &mut Settings) {
        if settings.role != Role::Standalone {
            for key in [
                "files.folders",
                "files.ahead",
                "files.seek",
                "files.list",
                "files.cache_dir",
            ] {
                if self.says(key) {
                    let role = settings.role;
                    self.wrong(
                        key,
                        format!("has no meaning on a {role}: files are played by a standalone; remove it"),
                    );
                }
            }
            return;
        }
        if let Some(folders) = file.folders {
            let folders = folders.0.iter();
            let folders = folders.filter(|folder| !folder.trim().is_empty());
            settings.files.folders = folders.map(|folder| self.path(folder.as_ref())).collect();
        }
        let cache = file.cache_dir.filter(|path| !path.as_os_str().is_empty());
        settings.files.cache_dir = cache.map(|path| self.path(&path));
        set_span(&mut settings.files.ahead, file.ahead);
        set(&mut settings.files.seek, file.seek);
        set(&mut settings.files.list, file.list);
        let most = MAX_FILE_AHEAD.as_secs();
        self.in_range("files.ahead", settings.files.ahead, 1..=most);
    }

    /// Folders that were named and are not there: they may be mounted later.
    pub(super) fn missing_folders(&self, settings: &Settings, warnings: &mut Vec<String>) {
        if let Some(folder) = settings.files.cache_dir.as_ref().filter(|f| !f.is_dir()) {
            let name = folder.display();
            warnings.push(format!(
                "files.cache_dir: {name} is no folder that can be looked into; no index is kept until it is"
            ));
        }
        self.missing_recordings(settings, warnings);
        if !self.says("files.folders") {
            return;
        }
        for folder in settings.files.folders.iter().filter(|f| !f.is_dir()) {
            let name = folder.display();
            warnings.push(format!(
                "files.folders: {name} is no folder that can be looked into; files in it are not found until it is"
            ));
        }
    }
}

#[cfg(test)]
#[cfg(feature = "publish")]
mod tests {
    use crate::config::FileSeek;
    use crate::config::tests::with_flags as with;

    #[test]
    fn a_standalone_has_files() {
        let (settings, warnings) = with(&[]).unwrap();
        assert_eq!(settings.files.folders.len(), 1);
        assert!(warnings.is_empty(), "the usual folder may be missing");
        let resolve = |name: &str| settings.applications.resolve(name).map(ToString::to_string);
        assert_eq!(resolve("flvplayback").as_deref(), Some("live"));
        assert_eq!(resolve("vod").as_deref(), Some("live"));
        let (settings, warnings) = with(&[
            ("files.folders", "[\"/nonexistent/a\", \"/\"]"),
            ("files.seek", "exact"),
            ("files.ahead", "3s"),
            ("aliases.vod", "live"),
        ])
        .unwrap();
        assert_eq!(settings.files.folders.len(), 2);
        assert_eq!(settings.files.seek, FileSeek::Exact);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let (settings, warnings) = with(&[("files.cache_dir", "/nonexistent/c")]).unwrap();
        assert!(settings.files.cache_dir.is_some() && warnings[0].contains("files.cache_dir"));
        let (settings, _) = with(&[("files.folders", "[]")]).unwrap();
        assert!(settings.files.folders.is_empty());
        let (settings, _) = with(&[("applications", "[\"vod\"]")]).unwrap();
        assert!(settings.applications.resolve("flvplayback").is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let keys = |pairs: &[(&str, &str)]| {
            let problems = with(pairs).unwrap_err();
            problems.into_iter().map(|p| p.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[("files.ahead", "0s")]), ["files.ahead"]);
        assert_eq!(keys(&[("files.ahead", "1h")]), ["files.ahead"]);
        assert_eq!(keys(&[("files.seek", "fast")]), ["files.seek"]);
        let mirror = keys(&[("role", "mirror"), ("files.folders", "[\"/\"]")]);
        assert_eq!(mirror, ["files.folders"]);
    }
}
