//! What networks do to a link: it breaks without a word, and comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crtmpserver::config::Role;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::*;

/// A cable between a mirror and its master. Whoever is connected when it is unplugged hears nothing
/// more, no end and no reset; later connections work.
struct Cable {
    address: SocketAddr,
    unplugged: watch::Sender<u32>,
}

impl Cable {
    async fn lay(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (unplugged, state) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                state.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.changed() => {
                            // Both ends stay open, and nothing moves.
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self { address, unplugged }
    }

    fn unplug(&self) {
        self.unplugged.send_modify(|n| *n += 1);
    }
}

#[tokio::test]
async fn a_link_that_dies_without_a_word_is_found_and_made_anew() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let cable = Cable::lay(master.rtmp).await;
    let mirror = Running::start(mirror_of(cable.address, folder.path()));
    let _encoder = Encoder::start(master.rtmp, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    let before = viewer.until_frame(30).await;
    cable.unplug();
    let begin = Instant::now();
    let seen = viewer
        .until("frames again", |s| {
            s.numbers.len() > before.numbers.len() + 100
        })
        .await;
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    let gap = seen.numbers.windows(2).position(|w| w[1] != w[0] + 1);
    if let Some(at) = gap {
        assert_unbroken(&seen.numbers[at + 1..]);
    }
}

#[tokio::test]
async fn an_encoder_whose_network_is_gone_is_taken_over() {
    let folder = folder();
    let master = Running::start(settings(Role::Master, folder.path()));
    let cable = Cable::lay(master.rtmp).await;
    let mirror = Running::start(mirror_of(master.rtmp, folder.path()));
    let _half_open = Encoder::start(cable.address, 0).await;
    let viewer = Viewer::start(mirror.rtmp).await;
    viewer.until_frame(30).await;
    cable.unplug();
    // It tries again as encoders do, over another way; the master has not noticed anything yet.
    let begin = Instant::now();
    let _again = loop {
        match Encoder::try_start(master.rtmp, 5000).await {
            Ok(encoder) => break encoder,
            Err(code) => assert_eq!(code, "NetStream.Publish.BadName"),
        }
        assert!(begin.elapsed() < PATIENCE, "never let in");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let seen = viewer.until_frame(5050).await;
    let back = seen.numbers.iter().position(|n| *n >= 5000).unwrap();
    assert_unbroken(&seen.numbers[..back]);
    assert_unbroken(&seen.numbers[back..]);
}
