//! Files in Lua on this machine: `crtmpserver.lua` and `users.lua`, which may read what lies in their own
//! folder and nothing else, by whatever name or link.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::limits::MAX_LUA_FILE;
use crate::lua::{self, Host, LuaError, Unread};
use crate::system::{how_to_open, read_beneath, thread_cpu_time};

/// Where Debian's package of the original had it; a copy of that folder may be elsewhere.
const USUAL_FOLDER: &str = "/etc/crtmpserver";

/// Whether a file is in Lua, by its name.
#[must_use]
pub fn is_lua(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("lua"))
}

/// Runs a program in Lua that may read the files of its folder, and takes global variables out of it.
///
/// # Errors
/// [`LuaError`]; the place is a file's path then.
pub fn run(path: &Path, globals: &[&str]) -> Result<lua::Outcome, LuaError> {
    let folder = folder_of(path);
    let shown = path.display().to_string();
    let fail = |message: String| LuaError {
        place: shown.clone(),
        message,
    };
    let meta = fs::metadata(path).map_err(|e| fail(cannot(path, &e)))?;
    if !meta.is_file() || meta.len() > MAX_LUA_FILE as u64 {
        let most = MAX_LUA_FILE >> 10;
        return Err(fail(format!("is not a regular file of at most {most} KiB")));
    }
    let source = fs::read(path).map_err(|e| fail(cannot(path, &e)))?;
    lua::run(&shown, &source, globals, Folder::new(folder))
}

fn cannot(path: &Path, error: &std::io::Error) -> String {
    format!("cannot be read: {error}{}", how_to_open(path, error))
}

/// The folder of a file, as it is written.
#[must_use]
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The folder of a program, all that it may read.
struct Folder {
    given: PathBuf,
    real: Option<PathBuf>,
}

impl Folder {
    fn new(given: PathBuf) -> Self {
        let real = fs::canonicalize(&given).ok();
        Self { given, real }
    }

    /// The name of a file within the folder.
    fn within(&self, name: &str) -> Option<PathBuf> {
        let name = Path::new(name);
        let rest = if name.is_absolute() {
            let usual = Path::new(USUAL_FOLDER);
            let roots = [
                Some(self.given.as_path()),
                self.real.as_deref(),
                Some(usual),
            ];
            let mut within = roots.into_iter().flatten();
            within.find_map(|root| name.strip_prefix(root).ok())?
        } else {
            name
        };
        let parts = rest.components();
        let parts = parts.filter(|part| !matches!(part, Component::CurDir));
        Some(parts.collect())
    }
}

impl Host for Folder {
    fn read(&self, name: &str) -> Result<Vec<u8>, Unread> {
        let outside = || {
            let folder = self.given.display();
            Unread::Refused(format!(
                "lies outside of {folder}, all that a configuration may read"
            ))
        };
        let within = self.within(name).ok_or_else(outside)?;
        if within.components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        match read_beneath(&self.given, &within, MAX_LUA_FILE) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Unread::Missing),
            Err(e) => {
                let path = self.given.join(&within);
                Err(Unread::Refused(cannot(&path, &e)))
            }
        }
    }

    fn time(&self) -> Duration {
        thread_cpu_time()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_program_reads_its_own_folder_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc");
        fs::create_dir_all(folder.join("applications")).unwrap();
        fs::write(dir.path().join("secret"), "x = 1").unwrap();
        fs::write(folder.join("applications/a.lua"), "x = 'a'").unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        let main = folder.join("main.lua");
        let x = |name: &str| {
            fs::write(&main, format!("dofile({name:?})")).unwrap();
            let outcome = run(&main, &["x"]).map_err(|error| error.to_string())?;
            Ok::<_, String>(format!("{:?}", outcome.globals.get("x")))
        };
        let here = folder.join("applications/a.lua");
        for name in [
            "applications/a.lua",
            "./applications//a.lua",
            here.to_str().unwrap(),
            "/etc/crtmpserver/applications/a.lua",
        ] {
            assert_eq!(x(name).unwrap(), "Some(Text(\"a\"))", "{name}");
        }
        for (name, wanted) in [
            ("../secret", "lies outside"),
            ("applications/../../secret", "lies outside"),
            ("/etc/passwd", "lies outside"),
            ("link", "no such file"),
            ("applications", "not a regular file"),
            ("nothing", "no such file"),
        ] {
            let said = x(name).unwrap_err();
            assert!(said.contains(wanted), "{name}: {said}");
            assert!(said.starts_with(main.to_str().unwrap()), "{said}");
        }
        fs::write(&main, vec![b' '; MAX_LUA_FILE + 1]).unwrap();
        assert!(run(&main, &[]).unwrap_err().message.contains("KiB"));
        let none = run(&folder.join("none.lua"), &[]).unwrap_err();
        assert!(none.message.contains("cannot be read"), "{none}");
    }
}
