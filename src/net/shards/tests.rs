//! One thread a shard, and what costs it only one task.

use super::*;
use tokio::sync::oneshot;

fn shards(count: usize) -> (Arc<Shards>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let shards = Shards::start(count, Limits::default(), Latency::default(), &metrics).unwrap();
    (shards, metrics)
}

#[tokio::test]
async fn a_task_runs_on_the_thread_it_was_given_to_and_counts_there() {
    let (shards, _) = shards(2);
    let (tell, told) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    shards
        .spawn(1, |shard| async move {
            let name = std::thread::current().name().unwrap().to_owned();
            tell.send((shard.index(), name)).unwrap();
            let _ = ended.await;
        })
        .await
        .unwrap();
    assert_eq!(told.await.unwrap(), (1, "shard-1".to_owned()));
    assert_eq!((shards.load(0), shards.load(1)), (0, 1));
    assert_eq!(shards.choose(), 0);
    end.send(()).unwrap();
    while shards.load(1) > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn every_shard_takes_new_bounds() {
    let (shards, _) = shards(2);
    let limits = Limits {
        send_timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    shards.set_bounds(limits, Latency::Fixed(Duration::from_millis(7)));
    assert_eq!(shards.limits().send_timeout.as_secs(), 3);
    for index in 0..2 {
        let (tell, told) = oneshot::channel();
        shards
            .spawn(index, |shard| async move {
                while shard.limits().send_timeout.as_secs() != 3 {
                    sleep(Duration::from_millis(1)).await;
                }
                tell.send(shard.merge().as_millis()).unwrap();
            })
            .await
            .unwrap();
        assert_eq!(told.await.unwrap(), 7);
    }
}

#[tokio::test]
async fn a_panic_costs_one_task() {
    let (shards, metrics) = shards(1);
    shards
        .spawn(0, |_| async { panic!("on purpose") })
        .await
        .unwrap();
    let (tell, told) = oneshot::channel();
    shards
        .spawn(0, |_| async move { tell.send(()).unwrap() })
        .await
        .unwrap();
    told.await.unwrap();
    while shards.load(0) > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(metrics.panics.get(), 1);
}

#[tokio::test]
async fn stopping_is_heard_and_the_deaf_are_dropped() {
    let (shards, _) = shards(2);
    shards
        .spawn(0, |shard| async move { shard.stopping().await })
        .await
        .unwrap();
    shards
        .spawn(1, |_| std::future::pending::<()>())
        .await
        .unwrap();
    assert_eq!(shards.finish(Duration::from_millis(50)).await, 1);
    assert_eq!((shards.load(0), shards.load(1)), (0, 0));
    assert_eq!(shards.spawn(0, |_| async {}).await, Err(Stopped));
}

#[tokio::test]
async fn a_question_is_answered_on_the_shard_or_not_waited_for() {
    let (shards, _) = shards(2);
    let soon = Duration::from_secs(20);
    let index = |shard: Rc<Shard>| async move { shard.index() };
    assert_eq!(shards.ask(1, soon, index).await, Some(1));
    assert_eq!(shards.ask(2, soon, index).await, None, "there is none");
    let panics = shards.ask(0, soon, |_| async { panic!("on purpose") });
    assert_eq!(panics.await, None::<()>);
    let (release, stuck) = std::sync::mpsc::channel::<()>();
    shards
        .spawn(0, |_| async move { stuck.recv().unwrap_or_default() })
        .await
        .unwrap();
    // Its queue is left to connections, however often it is asked.
    for _ in 0..SHARD_QUEUE {
        assert_eq!(shards.ask(0, Duration::ZERO, index).await, None);
    }
    assert!(shards.handles[0].jobs.capacity() >= SHARD_QUEUE / 2 - 1);
    assert_eq!(shards.ask(1, soon, index).await, Some(1));
    release.send(()).unwrap();
    while shards.ask(0, soon, index).await.is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(shards.load(0), 0, "a question is no connection");
}

#[test]
fn a_stuck_thread_does_not_keep_the_process() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (release, stuck) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let (shards, _) = shards(1);
        shards
            .spawn(0, |_| async move { stuck.recv().unwrap_or_default() })
            .await
            .unwrap();
        assert_eq!(shards.finish(Duration::ZERO).await, 1);
    });
    let begun = Instant::now();
    drop(runtime);
    assert!(begun.elapsed() < Duration::from_secs(1));
    drop(release);
}
