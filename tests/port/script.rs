//! The rc.d script, with `rc.subr` and `daemon` beside this file in the place of FreeBSD's, and the real
//! program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{port, read, root, run};

/// A machine with the port.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(rc_conf: &str, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["run", "etc", "bin"] {
            fs::create_dir(path(name)).unwrap();
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        // Who the server becomes looks for its control socket here.
        fs::set_permissions(folder.path(), mode).unwrap();
        let program = env!("CARGO_BIN_EXE_crtmpserver");
        std::os::unix::fs::symlink(program, path("bin/crtmpserver")).unwrap();
        fs::write(path("etc/crtmpserver.toml"), configuration).unwrap();
        let user = run(Command::new("id").arg("-un"));
        let user = match user.trim() {
            "root" => "nobody",
            other => other,
        };
        let here = |name: &str| path(name).display().to_string();
        let beside = |name: &str| root().join("tests/port").join(name).display().to_string();
        let script = read(&port("files/crtmpserver.in"))
            .replace("%%PREFIX%%", &here(""))
            .replace("%%ETCDIR%%", &here("etc"))
            .replace("%%USERS%%", user)
            .replace("/etc/rc.subr", &beside("rc.subr"))
            .replace("/usr/sbin/daemon", &beside("daemon"))
            .replace("/var/run", &here("run"));
        assert!(!script.contains("%%"), "{script}");
        fs::write(path("crtmpserver"), script).unwrap();
        fs::write(path("rc.conf"), rc_conf).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn service(&self, action: &str) -> Output {
        Command::new("sh")
            .arg(self.path("crtmpserver"))
            .arg(action)
            .env("RC_CONF", self.path("rc.conf"))
            .env("DAEMON_LOG", self.path("log"))
            .env("RUNTIME_DIRECTORY", self.path("run"))
            .output()
            .unwrap()
    }

    /// Exit code and all that it says.
    fn says(&self, action: &str) -> (Option<i32>, String) {
        let done = self.service(action);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout) + &text(&done.stderr))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the log has this in it so many times.
    fn wait(&self, words: &str, times: usize) {
        let begun = Instant::now();
        while self.log().matches(words).count() < times {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no {words}: {}",
                self.log()
            );
            #[expect(clippy::disallowed_methods, reason = "no runtime here")]
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.service("onestop"));
    }
}

const CONFIGURATION: &str = "role = \"mirror\"\n[listen]\nrtmp = [\"127.0.0.1:0\"]\nhttp = []\n";
/// What a server says once it serves.
const SERVES: &str = "inboundRtmp";

pub(crate) fn it_starts_tells_reloads_and_stops() {
    let machine = Machine::new("crtmpserver_enable=YES\n", CONFIGURATION);
    assert_eq!(machine.says("status").0, Some(1));
    assert_eq!(machine.says("reload").0, Some(1));
    assert_eq!(machine.says("configtest").0, Some(0));
    // Who it runs as is an option of the server's, and a check lets it be.
    let options = Machine::new(
        "crtmpserver_enable=YES\ncrtmpserver_args='--gid=nogroup'\n",
        CONFIGURATION,
    );
    let (code, said) = options.says("configtest");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(machine.says("start"), (Some(0), String::new()));
    machine.wait(SERVES, 1);
    let (code, said) = machine.says("status");
    assert!(code == Some(0) && said.contains("is running"), "{said}");
    assert_eq!(machine.says("start").0, Some(1));

    assert_eq!(machine.says("reload"), (Some(0), String::new()));
    fs::write(machine.path("etc/crtmpserver.toml"), "nonsense = 1\n").unwrap();
    let (code, said) = machine.says("reload");
    assert_eq!(code, Some(1), "{said}");
    assert!(machine.log().contains("nonsense"), "{}", machine.log());
    fs::write(machine.path("etc/crtmpserver.toml"), CONFIGURATION).unwrap();

    // A server that ends by itself is started again.
    let pid = read(&machine.path("run/crtmpserver.pid"));
    run(Command::new("kill").args(["-KILL", pid.trim()]));
    machine.wait(SERVES, 2);

    assert_eq!(machine.says("stop"), (Some(0), String::new()));
    assert_eq!(machine.says("status").0, Some(1));
    assert!(!machine.path("run/crtmpserver.pid").exists());
}

pub(crate) fn it_refuses_what_cannot_run() {
    let off = Machine::new("", CONFIGURATION);
    let (code, said) = off.says("start");
    assert!(
        code == Some(1) && said.contains("crtmpserver_enable"),
        "{said}"
    );

    let wrong = Machine::new("crtmpserver_enable=YES\n", "nonsense = 1\n");
    let (code, said) = wrong.says("start");
    assert!(code == Some(1) && said.contains("nonsense"), "{said}");
    assert_eq!(wrong.says("configtest").0, Some(78));
    assert_eq!(wrong.log(), "");

    let elsewhere = "crtmpserver_enable=YES\ncrtmpserver_config=/nonexistent\n";
    let (code, said) = Machine::new(elsewhere, CONFIGURATION).says("start");
    assert!(code == Some(1) && said.contains("/nonexistent"), "{said}");

    let nobody = "crtmpserver_enable=YES\ncrtmpserver_username=no-such-user\n";
    let machine = Machine::new(nobody, CONFIGURATION);
    let (code, said) = machine.says("start");
    assert!(code == Some(1) && said.contains("no-such-user"), "{said}");
    assert_eq!(machine.log(), "");

    let args = "crtmpserver_enable=YES\ncrtmpserver_args=--role=nonsense\n";
    let (code, said) = Machine::new(args, CONFIGURATION).says("start");
    assert!(code == Some(1) && said.contains("nonsense"), "{said}");
}

pub(crate) fn it_is_sound() {
    // rc.subr reads what the script sets, and sets what it reads; `local` is every rc.d script's.
    let without = "SC1091,SC2034,SC2154,SC3043";
    run(Command::new("shellcheck")
        .args(["-s", "sh", "-e", without])
        .arg(port("files/crtmpserver.in")));
}
