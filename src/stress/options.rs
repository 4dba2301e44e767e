//! What was asked for and cannot be done, or not together: said before anything is connected, as a run that leaves
//! out a part of what was asked for measures something else.

use std::path::Path;
use std::time::Duration;

use super::programme::Programme;
use super::{Options, StressError, Synthetic};

/// The longest pause between two looks: above it times and loads would be those of this program.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Looks at the options.
///
/// # Errors
/// [`StressError::Options`] with what to do.
pub(super) fn check(o: &Options) -> Result<(), StressError> {
    let sentence = crowd(o).or_else(|| times(o)).or_else(|| source(o));
    sentence.map_or(Ok(()), |text| Err(StressError::Options(text)))
}

/// Who comes, and to which streams.
fn crowd(o: &Options) -> Option<String> {
    if o.viewers == 0 && o.publishers == 0 {
        return Some("there is nothing to do: ask for viewers (-n) or --publishers".to_owned());
    }
    let odd = o.slow.saturating_add(o.stalled);
    if odd > o.viewers {
        return Some(format!(
            "--slow {} and --stalled {} are of the viewers, of whom there are {}: say -n {odd} or more",
            o.slow, o.stalled, o.viewers
        ));
    }
    if o.slow > 0 && o.slow_rate < 8 {
        return Some("--slow-rate is less than a byte a second: use --stalled".to_owned());
    }
    if o.streams == 0 {
        return Some("--streams 0 leaves nothing to watch: say 1 or more".to_owned());
    }
    if o.publishers > 0 && o.streams != 1 && o.streams != o.publishers {
        return Some(format!(
            "--streams {} does not go with --publishers {}, whose streams have other names: leave --streams out to \
             watch what is published",
            o.streams, o.publishers
        ));
    }
    None
}

/// How long, how often, and whose costs.
fn times(o: &Options) -> Option<String> {
    if o.duration.is_zero() {
        return Some("--duration 0 measures nothing: say how long, such as 30s".to_owned());
    }
    if o.pause > MAX_PAUSE {
        return Some(format!(
            "--pause {} ms would be all that is measured: say {} ms or less",
            o.pause.as_millis(),
            MAX_PAUSE.as_millis()
        ));
    }
    // Elsewhere there are no figures of other processes to begin with.
    let gone = |pid: &&u32| !Path::new("/proc").join(pid.to_string()).exists();
    let gone = o
        .pids
        .iter()
        .find(gone)
        .filter(|_| cfg!(target_os = "linux"));
    gone.map(|pid| format!("--pid {pid}: there is no such process"))
}

/// What is published.
fn source(o: &Options) -> Option<String> {
    let spoken = o.programme != Synthetic::default();
    if o.publishers > 0 && o.file.is_some() {
        let text = "--file has its own weight: leave out --bitrate, --audio, --fps and --gop";
        return spoken.then(|| text.to_owned());
    }
    if o.publishers > 0 {
        let error = Programme::synthetic(&o.programme).err();
        return error.map(|e| e.to_string());
    }
    if o.publish.is_some() {
        return Some(
            "--publish is where publishers publish: say how many with --publishers".to_owned(),
        );
    }
    if o.file.is_some() {
        return Some(
            "--file is what publishers publish: say how many with --publishers".to_owned(),
        );
    }
    spoken.then(|| {
        "--bitrate, --audio, --fps and --gop are of what publishers publish: say how many with --publishers".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Options {
        Options {
            url: String::new(),
            publish: None,
            viewers: 10,
            publishers: 1,
            streams: 1,
            ramp: 100,
            settle: Duration::ZERO,
            duration: Duration::from_secs(1),
            programme: Synthetic::default(),
            file: None,
            slow: 0,
            slow_rate: 1000,
            stalled: 0,
            check: 1,
            pause: Duration::ZERO,
            allow_remote: false,
            pids: vec![std::process::id()],
            terminal: false,
        }
    }

    #[test]
    fn what_can_be_done_passes() {
        check(&usual()).unwrap();
        let more = Options {
            publishers: 3,
            streams: 3,
            slow: 5,
            stalled: 5,
            pause: MAX_PAUSE,
            ..usual()
        };
        check(&more).unwrap();
        let watch = Options {
            publishers: 0,
            streams: 500,
            ..usual()
        };
        check(&watch).unwrap();
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let of = |change: fn(&mut Options)| {
            let mut options = usual();
            change(&mut options);
            options
        };
        let wrong = [
            (of(|o| (o.viewers, o.publishers) = (0, 0)), "nothing to do"),
            (of(|o| (o.slow, o.stalled) = (6, 5)), "say -n 11 or more"),
            (of(|o| (o.slow, o.slow_rate) = (1, 0)), "--stalled"),
            (of(|o| o.streams = 0), "--streams 0"),
            (of(|o| o.streams = 3), "--publishers 1"),
            (of(|o| o.duration = Duration::ZERO), "--duration 0"),
            (
                of(|o| o.pause = Duration::from_secs(20)),
                "say 100 ms or less",
            ),
            (of(|o| o.pids = vec![u32::MAX]), "no such process"),
            (of(|o| o.programme.fps = 0), "0 pictures a second"),
            (
                of(|o| o.programme.audio = 2_000_000),
                "to 90000, or 0 for none",
            ),
            (
                of(|o| (o.file, o.programme.fps) = (Some("x.flv".into()), 9)),
                "its own",
            ),
            (of(|o| (o.publishers, o.programme.fps) = (0, 0)), "--fps"),
            (
                of(|o| (o.publishers, o.publish) = (0, Some("rtmp://h/a/b".into()))),
                "--publishers",
            ),
            (
                of(|o| (o.publishers, o.file) = (0, Some("x.flv".into()))),
                "--publishers",
            ),
        ];
        for (options, words) in wrong {
            let error = check(&options).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_code(), 64);
        }
    }
}
