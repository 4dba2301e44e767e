//! Builds the pages' player (`player/`) with npm, so that it is inside the program.
//!
//! Nothing fails here: without npm, or without its packages, the pages use the browser's own video
//! element and say so. `CRTMPSERVER_PLAYER` names a folder that `npm run build` has made elsewhere
//! (`player/dist`), for those who build without a network.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// What the player is made of; nothing else makes it be built again.
const SOURCES: [&str; 5] = [
    "src",
    "page",
    "build.mjs",
    "package.json",
    "package-lock.json",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CRTMPSERVER_PLAYER");
    for source in SOURCES {
        println!("cargo::rerun-if-changed=player/{source}");
    }
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("player");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let built = match env::var_os("CRTMPSERVER_PLAYER") {
        Some(folder) => given(&PathBuf::from(folder)),
        None => build(&root, &out),
    };
    let code = built.and_then(|dist| table(&dist).map_err(|e| format!("{}: {e}", dist.display())));
    let code = code.unwrap_or_else(|why| {
        println!(
            "cargo::warning=The pages are built without their player: {why}. They use the browser's \
             own video element. Once npm can run, `touch build.rs` and build again."
        );
        "const SITE: Option<&str> = None;\nconst PRELOAD: &[&str] = &[];\nconst ASSETS: &[Asset] = &[];\n".to_owned()
    });
    fs::write(out.join("player.rs"), code)
}

/// A folder that was built elsewhere.
fn given(folder: &Path) -> Result<PathBuf, String> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let folder = folder.canonicalize();
    folder.map_err(|e| format!("CRTMPSERVER_PLAYER: {e}"))
}

/// Builds it; the folder that has it then, or why not.
fn build(root: &Path, out: &Path) -> Result<PathBuf, String> {
    let dist = out.join("player-dist");
    // Who works on the player has its packages there already.
    if root.join("node_modules").is_dir()
        && run("node", &["build.mjs".as_ref(), dist.as_ref()], root).is_ok()
    {
        return Ok(dist);
    }
    // Elsewhere than in the source, which may be read-only and is not ours to change.
    let work = out.join("player");
    let copied = (|| {
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        SOURCES
            .iter()
            .try_for_each(|source| copy(&root.join(source), &work.join(source)))
    })();
    copied.map_err(|e| format!("its source cannot be copied: {e}"))?;
    // No package of it needs its scripts. A network that is not there is noticed soon.
    let install = [
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "--loglevel=error",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--fetch-timeout=30000",
    ];
    run("npm", &install.map(AsRef::as_ref), &work)?;
    run("node", &["build.mjs".as_ref(), dist.as_ref()], &work)?;
    // Tens of megabytes that are not needed again before the player changes.
    let _ = fs::remove_dir_all(work.join("node_modules"));
    Ok(dist)
}

fn run(program: &str, arguments: &[&Path], folder: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    let done = command.output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed"),
        _ => format!("{program}: {e}"),
    })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said
        .lines()
        .find(|l| !l.trim().is_empty())
        .unwrap_or_default();
    Err(format!("{program} failed ({}): {line}", done.status))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The table of what is built in, as code for `src/http/assets.rs`.
fn table(dist: &Path) -> io::Result<String> {
    let list = fs::read_to_string(dist.join("assets.txt"))?;
    let wrong = || io::Error::other("assets.txt is not what build.mjs writes");
    let (mut site, mut preload, mut assets) = (None, Vec::new(), String::new());
    for line in list.lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["site", name] => site = Some(name),
            ["preload", name] => preload.push(name),
            [name, hash, keep] => {
                let [plain, packed] = [dist.join(name), dist.join("gz").join(name)];
                let (immutable, kind) = (keep == "immutable", kind(name));
                // Writing to a `String` does not fail.
                let _ = writeln!(
                    assets,
                    "Asset {{ name: {name:?}, kind: {kind:?}, tag: \"\\\"{hash}\\\"\", packed_tag: \"\\\"{hash}-gzip\\\"\", \
                     immutable: {immutable}, plain: include_bytes!({plain:?}), packed: include_bytes!({packed:?}) }},"
                );
            }
            _ => return Err(wrong()),
        }
    }
    let site = site.ok_or_else(wrong)?;
    Ok(format!(
        "const SITE: Option<&str> = Some({site:?});\nconst PRELOAD: &[&str] = &{preload:?};\nconst ASSETS: &[Asset] = &[\n{assets}];\n"
    ))
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}
