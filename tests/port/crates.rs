//! What the framework fetches: the crates of `Cargo.lock`, by name and sum.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::{port, read, root, run};

/// A crate that comes from the registry.
struct Crate {
    /// NAME-VERSION
    name: String,
    sum: String,
}

fn locked() -> Vec<Crate> {
    let lock = read(&root().join("Cargo.lock"));
    let field = |package: &str, key: &str| {
        let start = format!("{key} = \"");
        let line = package.lines().find_map(|l| l.strip_prefix(&start));
        line.map(|rest| rest.trim_end_matches('"').to_owned())
    };
    let package = |package: &str| {
        let source = field(package, "source")?;
        assert!(source.starts_with("registry+"), "{source}");
        let name = field(package, "name").unwrap();
        let version = field(package, "version").unwrap();
        Some(Crate {
            name: format!("{name}-{version}"),
            sum: field(package, "checksum").unwrap(),
        })
    };
    lock.split("[[package]]")
        .skip(1)
        .filter_map(package)
        .collect()
}

pub(crate) fn the_list_is_that_of_cargo_lock() {
    let locked = locked();
    assert!(locked.len() > 50);
    if std::env::var_os("UPDATE_PORT").is_some() {
        update(&locked);
    }
    let again = "; UPDATE_PORT=1 cargo test --test port writes it anew";
    assert_eq!(read(&port("Makefile.crates")), list(&locked), "{again}");
    let info = read(&port("distinfo"));
    let mut lines = info
        .lines()
        .skip_while(|line| line.starts_with("TIMESTAMP = "));
    for Crate { name, sum } in &locked {
        let file = format!("(rust/crates/{name}.crate) = ");
        assert_eq!(
            lines.next(),
            Some(&*format!("SHA256 {file}{sum}")),
            "{again}"
        );
        let size = lines
            .next()
            .and_then(|l| l.strip_prefix(&format!("SIZE {file}")));
        assert!(
            size.is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0)),
            "{name}{again}"
        );
    }
    // The sum of the archive that holds this very file cannot be in it: `make makesum` adds it.
    assert_eq!(lines.next(), None, "{again}");
}

fn list(crates: &[Crate]) -> String {
    let names: Vec<&str> = crates.iter().map(|c| c.name.as_str()).collect();
    format!("CARGO_CRATES=\t{}\n", names.join(" \\\n\t\t"))
}

fn update(crates: &[Crate]) {
    run(Command::new(env!("CARGO"))
        .args(["fetch", "--locked"])
        .current_dir(root()));
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    let registries: Vec<PathBuf> = fs::read_dir(home.join("registry/cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let mut info = format!("TIMESTAMP = {now}\n");
    for Crate { name, sum } in crates {
        let mut files = registries.iter().map(|r| r.join(format!("{name}.crate")));
        let size = files
            .find_map(|f| fs::metadata(f).ok())
            .unwrap_or_else(|| panic!("no {name}"))
            .len();
        let file = format!("(rust/crates/{name}.crate)");
        writeln!(info, "SHA256 {file} = {sum}\nSIZE {file} = {size}").unwrap();
    }
    fs::write(port("Makefile.crates"), list(crates)).unwrap();
    fs::write(port("distinfo"), info).unwrap();
}
