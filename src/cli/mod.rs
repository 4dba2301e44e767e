//! The command line.
//!
//! `crtmpserver [--uid=USER] [FILE]` runs the server, `check` tells what is wrong with a configuration,
//! `import` makes one of the original's, `passwd`, `key` and `secret` make the files that hold users, stream keys and the mirrors' secret, `status`
//! and `ctl` look into a running server, `stress` loads one, `demo` shows it all. Exit codes are those of sysexits.

mod asking;
mod check;
mod ctl;
mod drain;
mod grid;
#[cfg(feature = "publish")]
mod import;
#[cfg(feature = "publish")]
mod key;
mod output;
#[cfg(feature = "publish")]
mod passwd;
mod recordings;
mod remotes;
mod secret;
mod status;
mod stress;
mod tables;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Flag, Loaded, Problem, Sources};
use crate::daemon::notify::Notifier;
use crate::daemon::privileges::Wish;
use crate::daemon::{self, EX_CONFIG};
use crate::telemetry::logging::{self, Escaped};

/// A usage error.
const EX_USAGE: u8 = 64;
/// A file cannot be read or written.
const EX_IOERR: u8 = 74;

/// The version, and what was left out of it.
const VERSION: &str = if cfg!(feature = "publish") {
    concat!(env!("CARGO_PKG_VERSION"), " (features: publish)")
} else {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (features: none; a mirror only, built without publishing)"
    )
};

/// Live-streaming server: one RTMP encoder, any number of mirrors, any number of viewers.
#[derive(Debug, Parser)]
#[command(name = "crtmpserver", version = VERSION, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// As whom the server runs.
#[derive(Debug, Default, Args)]
struct ProcessArgs {
    /// Started as root: the user to become once the ports are taken, a name or a number
    #[arg(long, value_name = "USER")]
    uid: Option<String>,
    /// The group to go with it; without it, the user's own
    #[arg(long, value_name = "GROUP", requires = "uid")]
    gid: Option<String>,
    /// Started as root: stay root, which is not safe; for containers and tests
    #[arg(long, conflicts_with = "uid")]
    allow_root: bool,
}

/// Where the settings come from.
#[derive(Debug, Default, Args)]
struct SettingsArgs {
    /// Configuration (TOML, or the original's in Lua); without it, built-in defaults: a standalone server on 1935 and 8080
    file: Option<PathBuf>,
    /// What this server is: standalone, master or mirror
    #[arg(long)]
    role: Option<String>,
    /// Address for RTMP; may be repeated
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Address for RTMP, such as [::]:1935; may be repeated"
    )]
    rtmp: Vec<String>,
    /// Address for HTTP; may be repeated
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Address for HTTP, such as [::]:8080; may be repeated"
    )]
    http: Vec<String>,
    /// The master of a mirror, such as rtmp://master.example.org
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// Log level: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Any key of the configuration, such as relay.grace=1m; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// What a check takes: the words of a server's start. Who it would run as has no part in it.
#[derive(Debug, Default, Args)]
struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[arg(long, hide = true)]
    uid: Option<String>,
    #[arg(long, hide = true)]
    gid: Option<String>,
    #[arg(long, hide = true)]
    allow_root: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a configuration, where, and what would be right
    Check(CheckArgs),
    /// Make a configuration and a file of users of those of the original, crtmpserver.lua
    #[cfg(feature = "publish")]
    Import(import::ImportArgs),
    /// Give a publisher a password, or take a publisher out
    #[cfg(feature = "publish")]
    Passwd(passwd::PasswdArgs),
    /// Make, list and revoke stream keys, by which encoders without a login publish
    #[cfg(feature = "publish")]
    Key(key::KeyArgs),
    /// Make the secret that a master shares with its mirrors
    Secret(secret::SecretArgs),
    /// Say how the running server is: streams, viewers, rates, and what is wrong
    Status(status::StatusArgs),
    /// Look into the running server, end a connection, read the configuration again
    Ctl(ctl::CtlArgs),
    /// Load a server with viewers and publishers, and report what they met
    Stress(Box<stress::StressArgs>),
    /// Show a master, two mirrors and an encoder at work, in one process
    #[cfg(feature = "publish")]
    Demo,
}

/// What may be typed; for what is made of it, such as completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nobody may be there to read it.
            drop(e.print());
            return if e.use_stderr() {
                ExitCode::from(EX_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        None => run(&cli.settings, cli.process),
        Some(Command::Check(args)) => check::run(&args.settings),
        #[cfg(feature = "publish")]
        Some(Command::Import(args)) => import::run(&args),
        #[cfg(feature = "publish")]
        Some(Command::Passwd(args)) => passwd::run(&args),
        #[cfg(feature = "publish")]
        Some(Command::Key(args)) => key::run(&args),
        Some(Command::Secret(args)) => secret::run(&args),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Ctl(args)) => ctl::run(&args),
        Some(Command::Stress(args)) => stress::run(&args),
        #[cfg(feature = "publish")]
        Some(Command::Demo) => crate::demo::run(),
    }
}

fn run(args: &SettingsArgs, process: ProcessArgs) -> ExitCode {
    let (notifier, unreachable) = Notifier::from_environment();
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(problems) => {
            let more = match problems.len() {
                0 | 1 => String::new(),
                n => format!(" (the first of {n} problems)"),
            };
            if let Some(first) = problems.first() {
                notifier.failed(&format!("{first}{more}"), None);
            }
            let code = refuse(&problems);
            notifier.hold();
            return code;
        }
    };
    let log = &loaded.settings.log;
    if let Err(message) = logging::init(&log.level, log.format.into()) {
        output::error(&message);
        return ExitCode::from(EX_CONFIG);
    }
    if let Some(why) = unreachable {
        tracing::warn!(code = "notify", "{why}");
    }
    let process = daemon::Process {
        wish: Wish {
            uid: process.uid,
            gid: process.gid,
            allow_root: process.allow_root,
        },
        notifier,
        line: with_user,
    };
    match daemon::run(loaded, &process) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            process.notifier.failed(&e.to_string(), e.errno());
            output::error(&e.to_string());
            process.notifier.hold();
            ExitCode::from(e.exit_code())
        }
    }
}

/// What was typed, with a user.
fn with_user(user: &str) -> String {
    let mut words = std::env::args_os().map(|word| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", Escaped(&word))
        }
    });
    let program = words.next().unwrap_or_else(|| "crtmpserver".to_owned());
    let rest: String = words.map(|word| format!(" {word}")).collect();
    format!("{program} --uid={user}{rest}")
}

fn load(args: &SettingsArgs) -> Result<Loaded, Vec<Problem>> {
    config::load(&Sources {
        file: args.file.clone(),
        credentials: std::env::var_os(config::credentials::DIRECTORY).map(PathBuf::from),
        environment: environment(),
        flags: args.flags(),
    })
}

/// One line for each problem.
fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        output::error(&problem.to_string());
    }
    ExitCode::from(EX_CONFIG)
}

/// The variables that are settings; one that is not UTF-8 is none of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(config::ENV_PREFIX))
        .collect()
}

impl SettingsArgs {
    fn flags(&self) -> Vec<Flag> {
        let one = |name: &str, key: &str, value: &str| Flag {
            name: name.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let word = |text: &String| format!("{text:?}");
        let list = |items: &[String]| {
            format!(
                "[{}]",
                items.iter().map(word).collect::<Vec<_>>().join(", ")
            )
        };
        let mut flags = Vec::new();
        flags.extend(self.role.as_ref().map(|v| one("--role", "role", &word(v))));
        if !self.rtmp.is_empty() {
            flags.push(one("--rtmp", "listen.rtmp", &list(&self.rtmp)));
        }
        if !self.http.is_empty() {
            flags.push(one("--http", "listen.http", &list(&self.http)));
        }
        flags.extend(
            self.master
                .as_ref()
                .map(|v| one("--master", "mirror.master", &word(v))),
        );
        flags.extend(
            self.log
                .as_ref()
                .map(|v| one("--log", "log.level", &word(v))),
        );
        flags.extend(self.set.iter().map(|(key, value)| one("--set", key, value)));
        flags
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write KEY=VALUE, such as relay.grace=1m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Cli {
        let words = [&["crtmpserver"], words].concat();
        Cli::try_parse_from(words).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_file_is_no_command_and_a_command_is_no_file() {
        let cli = parse(&["/etc/crtmpserver/crtmpserver.toml", "--role", "mirror"]);
        assert!(cli.command.is_none());
        assert_eq!(
            cli.settings.file.unwrap().to_str(),
            Some("/etc/crtmpserver/crtmpserver.toml")
        );
        assert!(matches!(
            parse(&["check", "x.toml"]).command,
            Some(Command::Check(_))
        ));
        assert!(parse(&[]).command.is_none());
        assert!(Cli::try_parse_from(["crtmpserver", "a", "b"]).is_err());
        assert!(Cli::try_parse_from(["crtmpserver", "--set", "nothing"]).is_err());
    }

    #[test]
    fn who_to_be_is_for_the_server_alone() {
        let cli = parse(&["--uid=ann", "--gid", "7", "x.toml"]);
        assert_eq!(cli.process.uid.as_deref(), Some("ann"));
        assert_eq!(cli.process.gid.as_deref(), Some("7"));
        assert!(parse(&["--allow-root"]).process.allow_root);
        for wrong in [
            &["--gid=7"][..],
            &["--uid=ann", "--allow-root"],
            &["secret", "--uid=ann"],
        ] {
            let words = [&["crtmpserver"], wrong].concat();
            assert!(Cli::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_check_takes_the_words_of_a_start() {
        let words = [
            "check",
            "--gid=nogroup",
            "--uid=ann",
            "--role=mirror",
            "x.toml",
        ];
        let Some(Command::Check(args)) = parse(&words).command else {
            panic!("no check");
        };
        assert_eq!(args.settings.role.as_deref(), Some("mirror"));
        parse(&["check", "--allow-root"]);
        let help = command()
            .find_subcommand_mut("check")
            .unwrap()
            .render_help();
        assert!(!help.to_string().contains("--gid"), "{help}");
    }

    #[test]
    fn flags_are_settings() {
        let cli = parse(&[
            "--role",
            "mirror",
            "--master",
            "rtmp://[::1]:7",
            "--rtmp",
            "[::1]:0",
            "--rtmp",
            "127.0.0.1:0",
            "--set",
            "mirror.streams=live/a",
            "--log",
            "debug",
            "--set",
            "relay.grace=1m",
        ]);
        let flags = cli.settings.flags();
        let loaded = config::load(&Sources {
            flags,
            ..Sources::default()
        })
        .unwrap();
        let s = loaded.settings;
        assert_eq!(s.role, config::Role::Mirror);
        assert_eq!(s.listen.rtmp.len(), 2);
        assert_eq!(s.mirror.unwrap().master.to_string(), "rtmp://[::1]:7");
        assert_eq!(s.log.level, "debug");
        assert_eq!(s.relay.grace.unwrap().as_secs(), 60);
    }

    #[test]
    fn the_version_says_what_is_missing() {
        assert_eq!(
            VERSION.contains("without publishing"),
            !cfg!(feature = "publish")
        );
    }
}
