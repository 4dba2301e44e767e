//! The control connection: kept for as long as the mirror runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout, timeout_at};

use super::backoff::ceiling;
use super::login::answer;
use super::uplink::Uplink;
use super::{Edge, MASTER, Trouble};
use crate::media::StreamName;
use crate::net::until;
use crate::relay::State;
use crate::rtmp::client::Event;
use crate::rtmp::mirror::host::{HOSTS, Hosts};
use crate::rtmp::mirror::{self, Listing, MAX_DEPTH};
use crate::rtmp_client::{Backoff, Complaint, Session};
use crate::system::{random_number, wall_ms};
use crate::telemetry::logging::Escaped;

/// A master says something every 2 s; one that did not for this long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(8);
/// The key of the note on this machine's clock.
const CLOCK: &str = "clock";
/// Clocks that differ by less are right: news may have been under way for seconds.
const CLOCK_MAY_DIFFER: Duration = Duration::from_secs(120);
/// The application of a control connection: no stream is played on it.
const CONTROL_APP: &str = "crtmpserver";
/// A link that began with an address of the network's link alone is looked at this often: the machine's own
/// one comes within seconds of its start.
const SETTLES: Duration = Duration::from_secs(1);
/// From dialling to the answer of the last question.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Edge {
    pub(super) async fn keep_control(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut complaint = Complaint::default();
        self.health
            .trouble(MASTER, "not connected to the master yet");
        loop {
            let failure = self.control(&mut backoff, &mut complaint).await;
            let now = Instant::now();
            let text = failure.to_string();
            self.cluster.link_down(now, &text);
            self.health.trouble(MASTER, text.as_str());
            // There is nothing to compare with.
            self.health.note(CLOCK, None);
            self.metrics.master_up.set(0);
            self.metrics.master_failures.inc();
            if complaint.is_new(&text, now) {
                tracing::warn!(
                    master = %self.master, code = "master-lost",
                    "no link to the master, trying on: {}", Escaped(&text)
                );
            }
            let ceiling = ceiling(complaint.lasts(now), self.is_watched());
            let delay = backoff.delay(ceiling, random_number());
            sleep(delay).await;
        }
    }

    /// One life of the connection; returns why it ended.
    async fn control(
        self: &Arc<Self>,
        backoff: &mut Backoff,
        complaint: &mut Complaint,
    ) -> Trouble {
        let login = async {
            let (mut session, _) = self.connect(CONTROL_APP).await?;
            let asked = session.machine().call(mirror::WATCH, Vec::new());
            answer(&mut session, asked).await?;
            Ok(session)
        };
        let mut session = match timeout(LOGIN_TIMEOUT, login).await {
            Ok(Ok(session)) => session,
            Ok(Err(trouble)) => return trouble,
            Err(_) => return Trouble::Silent,
        };
        let now = Instant::now();
        backoff.reset();
        self.cluster.link_up(now);
        self.health.clear(MASTER);
        self.metrics.master_up.set(1);
        match complaint.over(now) {
            Some(away) => tracing::info!(
                master = %self.master, away_ms = away.as_millis(),
                "linked to the master again"
            ),
            None => tracing::info!(master = %self.master, "linked to the master"),
        }
        let cloud = self.changeable().cloud.clone();
        let mut uplink = Uplink::new(&self.cluster, &cloud, session.local_ip());
        let mut heard = now;
        let next_look = || Instant::now().checked_add(SETTLES);
        let mut look = next_look().filter(|_| session.is_early());
        loop {
            uplink.speak(&mut session);
            let silent = heard.checked_add(SILENCE).unwrap_or(heard);
            let event = tokio::select! {
                event = timeout_at(silent.into(), session.next()) => event,
                () = uplink.wait() => continue,
                () = until(look) => {
                    if session.could_be_better() {
                        return Trouble::Moved;
                    }
                    look = next_look();
                    continue;
                }
            };
            heard = Instant::now();
            match event {
                Ok(Ok(event)) => {
                    if let Err(trouble) = self.heard(event, &mut session).await {
                        return trouble;
                    }
                }
                Ok(Err(ended)) => return ended.into(),
                Err(_) => return Trouble::Silent,
            }
        }
    }

    async fn heard(self: &Arc<Self>, event: Event, session: &mut Session) -> Result<(), Trouble> {
        let Event::Call {
            name,
            transaction,
            args,
            ..
        } = event
        else {
            return Ok(());
        };
        match name.as_str() {
            mirror::STREAMS => {
                if let Some(listing) = args.iter().find_map(Listing::from_value) {
                    self.compare_clocks(listing.clock_ms);
                    self.take(&listing).await?;
                }
            }
            HOSTS => {
                if let Some(hosts) = args.iter().find_map(Hosts::from_value) {
                    self.cluster.take_hosts(&hosts, Instant::now());
                }
            }
            // Of a later version; it works without an answer.
            _ => session.machine().result(transaction, Vec::new()),
        }
        Ok(())
    }

    /// Nothing here needs the right time; but certificates do, and who reads the log.
    fn compare_clocks(&self, masters: Option<u64>) {
        let Some(masters) = masters else { return };
        let note = clocks_differ(masters, wall_ms());
        let text = note.clone();
        if self.health.note(CLOCK, note) {
            match text {
                Some(text) => tracing::warn!(code = "clock-differs", "{text}"),
                None => tracing::info!(code = "clock-agrees", "this machine has the master's time"),
            }
        }
    }

    /// The master's streams as of now.
    async fn take(self: &Arc<Self>, listing: &Listing) -> Result<(), Trouble> {
        if listing.path.len() > MAX_DEPTH {
            return Err(Trouble::Depth);
        }
        if self.cluster.set_above(&listing.path) {
            return Err(Trouble::Loop);
        }
        let mut names = Vec::new();
        for listed in &listing.streams {
            // A name that the rules forbid comes from a broken or hostile master.
            let Ok(name) = StreamName::new(&listed.app, &listed.name) else {
                continue;
            };
            self.want(&name, listed.live).await;
            names.push(name);
        }
        self.forget_others(&names);
        // What the master knows no more and nobody here waits for is let go, with its log.
        for stream in self.hub.streams() {
            let waits = stream.state() != State::Live;
            if waits && stream.viewers().total() == 0 && !names.contains(stream.name()) {
                self.hub.end(stream.name());
            }
        }
        Ok(())
    }
}

/// Says of two clocks (Unix time, ms) that one of them is wrong.
fn clocks_differ(masters: u64, own: u64) -> Option<String> {
    let off = Duration::from_millis(own.abs_diff(masters));
    let way = if own > masters { "ahead of" } else { "behind" };
    let by = match off.as_secs() {
        _ if off < CLOCK_MAY_DIFFER => return None,
        s @ ..7200 => format!("{} minutes", s / 60),
        s @ ..172_800 => format!("{} hours", s / 3600),
        s => format!("{} days", s / 86_400),
    };
    Some(format!(
        "this machine's clock is {by} {way} its master's: see which of the two has no time server"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_what_a_message_takes() {
        let now = 1_800_000_000_000;
        assert_eq!(clocks_differ(now, now + 119_999), None);
        assert_eq!(clocks_differ(now, now - 119_999), None);
        for (own, wanted) in [
            (now + 120_000, "2 minutes ahead of"),
            (now - 7_200_000, "2 hours behind"),
            (now + 8 * 31_557_600_000, "2922 days ahead of"),
            (0, "20833 days behind"),
        ] {
            let said = clocks_differ(now, own).unwrap();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
