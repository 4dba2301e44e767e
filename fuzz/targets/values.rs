//! AMF values and the messages that are made of them.

use bytes::Bytes;
use crtmpserver::amf::{AmfError, amf0};
use crtmpserver::rtmp::command::{Command, data_as_amf0, data_values};
use crtmpserver::rtmp::message::kind;

/// What was decoded is encoded, decoded and encoded again: both encodings are the same bytes. The
/// second decoding may only fail by a limit, when references made the values larger than they came.
pub fn amf(data: &[u8]) {
    let Ok(values) = amf0::decode_all(data) else {
        return;
    };
    let mut once = Vec::new();
    amf0::encode_all(&mut once, &values);
    match amf0::decode_all(&once) {
        Ok(again) => {
            let mut twice = Vec::new();
            amf0::encode_all(&mut twice, &again);
            assert_eq!(once, twice);
        }
        Err(AmfError::Values | AmfError::Bytes | AmfError::Keys | AmfError::Depth) => {}
        Err(other) => panic!("what was encoded here is refused: {other}"),
    }
}

/// A command that is accepted keeps its name, and its arguments' number, through encoding.
pub fn command(data: &[u8]) {
    let Some((&first, payload)) = data.split_first() else {
        return;
    };
    let amf3 = first & 1 == 1;
    let (command_kind, data_kind) = if amf3 {
        (kind::COMMAND_AMF3, kind::DATA_AMF3)
    } else {
        (kind::COMMAND_AMF0, kind::DATA_AMF0)
    };
    if let Ok(command) = Command::decode(command_kind, payload)
        && let Ok(again) = Command::decode(command_kind, &command.encode(command_kind))
    {
        assert_eq!(command.name, again.name);
        assert_eq!(command.args.len(), again.args.len());
    }
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(plain) = data_as_amf0(data_kind, &payload)
        && let (Ok(a), Ok(b)) = (
            data_values(data_kind, &payload),
            data_values(kind::DATA_AMF0, &plain),
        )
    {
        assert_eq!(a.len(), b.len());
    }
}
