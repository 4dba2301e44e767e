//! Command and data messages (RTMP 1.0 section 7.1): names and values out of payloads, and back.
//!
//! A payload of the AMF3 kinds (15 and 17) is one format byte 0 and then AMF0 values, of which each
//! may switch to AMF3 by itself. So the answer to an AMF3 client is the AMF0 answer behind a 0 byte.

use bytes::{BufMut, Bytes, BytesMut};

use super::message::kind;
use crate::amf::amf0::{self, Decoder};
use crate::amf::{AmfError, Value};
use crate::wire::Reader;

/// The format byte that opens a payload of an AMF3 kind.
const FORMAT_AMF0: u8 = 0;

/// A call, an answer (`_result`, `_error`) or a notice (`onStatus`).
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The procedure.
    pub name: String,
    /// What an answer refers to; 0 asks for none.
    pub transaction: f64,
    /// The command object; null for all but `connect` and its answer.
    pub object: Value,
    /// The rest, at most [`crate::limits::AMF_MAX_VALUES`].
    pub args: Vec<Value>,
}

/// Why a payload is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The payload is no AMF.
    #[error(transparent)]
    Amf(#[from] AmfError),
    /// It does not begin with a name.
    #[error("a command does not begin with its name")]
    Name,
    /// The second value is no number.
    #[error("the transaction of a command is not a number")]
    Transaction,
}

impl Command {
    /// A notice: no transaction, no command object.
    #[must_use]
    pub fn notice(name: &str, args: Vec<Value>) -> Self {
        Self::call(name, 0.0, args)
    }

    /// A call without a command object.
    #[must_use]
    pub fn call(name: &str, transaction: f64, args: Vec<Value>) -> Self {
        Self {
            name: name.to_owned(),
            transaction,
            object: Value::Null,
            args,
        }
    }

    /// Decodes the payload of a message of kind 20 or 17. A command that ends early has transaction
    /// 0 and a null object: some clients send `FCUnpublish` and the like so.
    ///
    /// # Errors
    /// [`CommandError`]; the payload is unusable as a whole then.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, CommandError> {
        let mut input = Reader::new(body(kind, payload));
        let mut decoder = Decoder::new();
        let Value::String(name) = decoder.value(&mut input)? else {
            return Err(CommandError::Name);
        };
        let mut command = Self::notice(&name, Vec::new());
        if !input.is_empty() {
            let transaction = decoder.value(&mut input)?;
            command.transaction = transaction.as_f64().ok_or(CommandError::Transaction)?;
        }
        if !input.is_empty() {
            command.object = decoder.value(&mut input)?;
        }
        while !input.is_empty() {
            command.args.push(decoder.value(&mut input)?);
        }
        Ok(command)
    }

    /// The payload for a message of kind 20 (or 17, which gets its format byte).
    #[must_use]
    pub fn encode(&self, kind: u8) -> Bytes {
        let mut out = BytesMut::new();
        if is_amf3(kind) {
            out.put_u8(FORMAT_AMF0);
        }
        amf0::encode_text(&mut out, &self.name);
        amf0::encode(&mut out, &Value::Number(self.transaction));
        amf0::encode(&mut out, &self.object);
        amf0::encode_all(&mut out, &self.args);
        out.freeze()
    }

    /// The argument at `index`, when it is there and text.
    #[must_use]
    pub fn text(&self, index: usize) -> Option<&str> {
        self.args.get(index)?.as_str()
    }

    /// The argument at `index`, when it is there and a number.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<f64> {
        self.args.get(index)?.as_f64()
    }

    /// The argument at `index`, when it is there and a truth value.
    #[must_use]
    pub fn truth(&self, index: usize) -> Option<bool> {
        self.args.get(index)?.as_bool()
    }
}

/// The values of a data message, kind 18 or 15.
///
/// # Errors
/// [`AmfError`].
pub fn data_values(kind: u8, payload: &[u8]) -> Result<Vec<Value>, AmfError> {
    amf0::decode_all(body(kind, payload))
}

/// The payload of a data message as one of kind 18. Kind 18 passes unread; of kind 15 only the
/// format byte goes, unless a value in it is AMF3 and all are encoded anew.
///
/// # Errors
/// [`AmfError`], for kind 15 only.
pub fn data_as_amf0(kind: u8, payload: &Bytes) -> Result<Bytes, AmfError> {
    if !is_amf3(kind) {
        return Ok(payload.clone());
    }
    let body = body(kind, payload);
    let mut input = Reader::new(body);
    let mut decoder = Decoder::new();
    let mut values = Vec::new();
    while !input.is_empty() {
        values.push(decoder.value(&mut input)?);
    }
    if decoder.saw_amf3() {
        return Ok(data(&values));
    }
    Ok(payload.slice_ref(body))
}

/// The payload of a data message of kind 18.
#[must_use]
pub fn data(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    amf0::encode_all(&mut out, values);
    out.freeze()
}

const fn is_amf3(kind: u8) -> bool {
    matches!(kind, kind::COMMAND_AMF3 | kind::DATA_AMF3)
}

/// The values of a payload. Clients that leave the format byte out of an AMF3 kind are understood:
/// these messages begin with text, never with a number, whose marker 0 is too.
fn body(kind: u8, payload: &[u8]) -> &[u8] {
    match payload.split_first() {
        Some((&FORMAT_AMF0, rest)) if is_amf3(kind) => rest,
        _ => payload,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::amf::object;

    fn publish() -> Command {
        Command::call("publish", 5.0, vec!["test".into(), "live".into()])
    }

    #[test]
    fn the_bytes_of_a_command() {
        let bytes = Command::call("play", 4.0, vec!["a".into()]).encode(kind::COMMAND_AMF0);
        let expected = b"\x02\0\x04play\0\x40\x10\0\0\0\0\0\0\x05\x02\0\x01a";
        assert_eq!(bytes, expected.as_slice());
    }

    #[test]
    fn round_trip_in_both_kinds() {
        let connect = Command {
            name: "connect".to_owned(),
            transaction: 1.0,
            object: object([("app", "live".into()), ("objectEncoding", 3.0.into())]),
            args: vec!["user".into(), Value::Undefined],
        };
        for kind in [kind::COMMAND_AMF0, kind::COMMAND_AMF3] {
            for command in [&connect, &publish()] {
                let bytes = command.encode(kind);
                assert_eq!(Command::decode(kind, &bytes).as_ref(), Ok(command));
            }
        }
        let amf3 = connect.encode(kind::COMMAND_AMF3);
        assert_eq!(amf3.first(), Some(&0));
        assert_eq!(amf3.slice(1..), connect.encode(kind::COMMAND_AMF0));
    }

    #[test]
    fn amf3_kind_without_its_format_byte() {
        let bytes = publish().encode(kind::COMMAND_AMF0);
        assert_eq!(Command::decode(kind::COMMAND_AMF3, &bytes), Ok(publish()));
    }

    #[test]
    fn an_argument_that_switches_to_amf3() {
        let mut bytes = publish().encode(kind::COMMAND_AMF3).to_vec();
        bytes.extend_from_slice(&[0x11, 0x06, 0x03, b'x', 0x11, 0x04, 0x2a]);
        let command = Command::decode(kind::COMMAND_AMF3, &bytes).unwrap();
        assert_eq!(command.text(1), Some("live"));
        assert_eq!(command.text(2), Some("x"));
        assert_eq!(command.number(3), Some(42.0));
    }

    #[test]
    fn short_forms() {
        let name = b"\x02\0\x05close";
        let command = Command::decode(kind::COMMAND_AMF0, name).unwrap();
        assert_eq!(command, Command::notice("close", vec![]));
        let cut = |kind, bytes: &[u8]| Command::decode(kind, bytes).unwrap_err();
        assert_eq!(cut(kind::COMMAND_AMF0, b"\x05"), CommandError::Name);
        assert_eq!(
            cut(kind::COMMAND_AMF0, b"\x02\0\x01a\x05"),
            CommandError::Transaction
        );
        for empty in [&b""[..], b"\0"] {
            let kind = kind::COMMAND_AMF3;
            assert_eq!(cut(kind, empty), CommandError::Amf(AmfError::Short));
        }
    }

    #[test]
    fn a_cut_is_an_error_or_a_shorter_command() {
        let whole = publish().encode(kind::COMMAND_AMF0);
        let ends = [10, 19, 20, 27]; // behind name, transaction, object and first argument
        for cut in 0..whole.len() {
            let decoded = Command::decode(kind::COMMAND_AMF0, &whole[..cut]);
            assert_eq!(decoded.is_ok(), ends.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn data_of_kind_15_becomes_kind_18() {
        let plain = data(&["onMetaData".into(), object([("width", 1.0.into())])]);
        let mut prefixed = vec![0];
        prefixed.extend_from_slice(&plain);
        let prefixed = Bytes::from(prefixed);
        assert_eq!(data_as_amf0(kind::DATA_AMF0, &plain), Ok(plain.clone()));
        let stripped = data_as_amf0(kind::DATA_AMF3, &prefixed).unwrap();
        assert_eq!(stripped, plain);
        assert_eq!(stripped.as_ptr(), prefixed[1..].as_ptr(), "not copied");

        let switched = Bytes::from_static(b"\0\x02\0\x01a\x11\x04\x05");
        let converted = data_as_amf0(kind::DATA_AMF3, &switched);
        assert_eq!(converted, Ok(data(&["a".into(), 5.0.into()])));
        let cut = Bytes::from_static(b"\0\x02\0\x01");
        assert_eq!(data_as_amf0(kind::DATA_AMF3, &cut), Err(AmfError::Short));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(bytes: Vec<u8>, kind in 15u8..=20) {
            if let Ok(command) = Command::decode(kind, &bytes) {
                prop_assert!(command.args.len() <= bytes.len());
            }
            let values = data_values(kind, &bytes);
            let converted = data_as_amf0(kind, &Bytes::from(bytes));
            prop_assert!(!is_amf3(kind) || values.is_ok() == converted.is_ok());
        }
    }
}
