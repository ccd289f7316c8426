use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tally_proto::{
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::{BootId, Hello, Run},
    metric::{Labels, MetricName},
    name::NodeName,
};
use tonic::transport::Endpoint;

use super::*;
use crate::{
    outbox::Limits,
    uplink::loopback::{Aggregator, value_at},
};

fn each_second() -> Resolution {
    Resolution::from_seconds(1).unwrap()
}

fn options(aggregator: &Aggregator) -> uplink::Options {
    let hello = Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([1; 16]),
        run: Run(random()),
        resolution: each_second(),
        agent_version: "0".to_owned(),
        acknowledge_within: Duration::ZERO,
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", aggregator.address())).unwrap();
    uplink::Options::new(endpoint, hello, Limits { frames: 9, bytes: usize::MAX }, random)
}

fn reader() -> impl FnMut(Tick, &mut Builder) -> Declarations + Send + 'static {
    let (entity, column) = (EntityNumber(0), ColumnNumber(1));
    let mut first = Some(Declarations {
        entities: vec![EntityDeclaration { number: entity, start: None, what: Declared::Node }],
        columns: vec![ColumnDeclaration {
            number: column,
            metric: MetricName::parse("cpu/usage").unwrap(),
            labels: Labels::default(),
            floating: false,
            cumulative: false,
        }],
        retired: Vec::new(),
    });
    move |tick, frame| {
        frame.set(entity, column, value_at(tick));
        first.take().unwrap_or_default()
    }
}

#[tokio::test]
async fn frames_of_the_hosts_clock_arrive_until_the_agent_is_asked_to_stop() {
    let mut aggregator = Aggregator::start();
    let (stop, asked) = oneshot::channel::<()>();
    let shutdown = async { asked.await.unwrap() };
    let run = drive(each_second(), options(&aggregator), reader(), None, Arc::default(), shutdown);
    let play = async {
        let mut talk = aggregator.welcome(0).await;
        assert_eq!(talk.sequences().await, [1, 2]);
        stop.send(()).unwrap();
        talk.acknowledge(2).await;
        while talk.frame().await.is_some() {}
    };
    let (ran, ()) = tokio::join!(run, play);
    ran.unwrap();
}

#[tokio::test]
async fn a_reading_that_panics_ends_the_program() {
    let aggregator = Aggregator::start();
    let panics = |_, _: &mut Builder| panic!("as the test wants");
    let run = drive(
        each_second(),
        options(&aggregator),
        panics,
        None,
        Arc::default(),
        std::future::pending(),
    );
    assert_eq!(run.await.unwrap_err().to_string(), "the sampling thread panicked");
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_hangs_does_not_keep_the_program_from_stopping() {
    let aggregator = Aggregator::start();
    let (begun, hangs) = oneshot::channel();
    let mut begun = Some(begun);
    let (_release, blocked) = mpsc::sync_channel::<()>(0);
    let hang = move |_, _: &mut Builder| {
        if let Some(begun) = begun.take() {
            begun.send(()).unwrap();
        }
        // Until the test lets go of the other end.
        assert!(blocked.recv().is_err());
        Declarations::default()
    };
    let shutdown = async { hangs.await.unwrap() };
    drive(each_second(), options(&aggregator), hang, None, Arc::default(), shutdown).await.unwrap();
}

#[test]
fn random_numbers_differ() {
    let seen = AtomicU64::new(0);
    for _ in 0..100 {
        let now = random();
        assert_ne!(seen.swap(now, Ordering::Relaxed), now);
    }
}
