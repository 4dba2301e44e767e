use super::*;
use crate::wire::Reader;
use amf0::{decode, encode};

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, value);
    out
}

#[test]
fn round_trip_of_each_kind() {
    let fields = || {
        vec![
            ("a".to_owned(), Value::Number(1.5)),
            (String::new(), Value::Null),
        ]
    };
    let all = [
        Value::Number(-0.25),
        Value::Boolean(true),
        "text".into(),
        Value::Object(fields()),
        Value::TypedObject("Class".to_owned(), fields()),
        Value::EcmaArray(fields()),
        Value::StrictArray(vec![Value::Undefined, Value::Object(vec![])]),
        Value::Date(1.0e12),
        Value::Null,
        Value::Undefined,
        Value::Xml("<a/>".to_owned()),
        Value::Unsupported,
    ];
    for value in all {
        let bytes = bytes_of(&value);
        let mut input = Reader::new(&bytes);
        assert_eq!(decode(&mut input).as_ref(), Ok(&value));
        assert!(input.is_empty());
        for cut in 0..bytes.len() {
            let cut = decode(&mut Reader::new(&bytes[..cut]));
            assert_eq!(cut, Err(AmfError::Short));
        }
    }
}
