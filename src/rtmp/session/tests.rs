//! What only the link itself can show.

use super::*;

#[test]
fn acknowledgements_wrap_at_2_32() {
    let mut link: Link<()> = Link::new(Limits::default().into(), Instant::now());
    link.received = u64::from(u32::MAX) - 10;
    link.reported = link.received;
    // Three bytes of a chunk header, again and again too few for a message.
    link.take_in(&[0x02], link.now);
    assert!(link.next().is_none());
    assert_eq!(link.flush(), None, "not due");
    link.received += ACK_INTERVAL;
    assert!(link.next().is_none());
    let Some(Output::Write(ack)) = link.flush() else {
        panic!("no acknowledgement");
    };
    let total = u32::from_be_bytes(ack[12..].try_into().unwrap());
    assert_eq!(u64::from(total), ACK_INTERVAL - 10);
}

#[test]
fn an_idle_link_keeps_no_buffer() {
    let mut link: Link<()> = Link::new(Limits::default().into(), Instant::now());
    link.take_in(&[2; 1000], link.now);
    link.consume(|input| *input = &[]);
    assert_eq!(link.input.capacity(), 0);
}

#[test]
fn the_order_of_outputs_is_the_order_of_orders() {
    let mut link: Link<u8> = Link::new(Limits::default().into(), Instant::now());
    link.write_raw(b"a");
    link.write_raw(b"b");
    link.event(1);
    link.write_raw(b"c");
    link.close(CloseReason::ByPeer);
    link.write_raw(b"d");
    link.event(2);
    link.close(CloseReason::Silent);
    assert_eq!(link.queued(), 3);
    let all: Vec<_> = std::iter::from_fn(|| link.poll().or_else(|| link.flush())).collect();
    assert_eq!(
        all,
        [
            Output::Write(Bytes::from_static(b"ab")),
            Output::Event(1),
            Output::Write(Bytes::from_static(b"c")),
            Output::Close(CloseReason::ByPeer)
        ]
    );
}
