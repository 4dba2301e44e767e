use proptest::prelude::*;

use super::*;
use crate::wire::Reader;
use amf0::{decode, decode_all, encode};

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, value);
    out
}

fn whole(bytes: &[u8]) -> Result<Value, AmfError> {
    let mut input = Reader::new(bytes);
    let value = decode(&mut input)?;
    assert!(input.is_empty(), "{} bytes left", input.remaining());
    Ok(value)
}

/// The value behind the switch to AMF3.
fn amf3(bytes: &[u8]) -> Result<Value, AmfError> {
    let mut switched = vec![0x11];
    switched.extend_from_slice(bytes);
    whole(&switched)
}

#[test]
fn the_bytes_of_an_object() {
    let value = object([("a", true.into()), ("b", Value::Date(0.0))]);
    let expected = b"\x03\0\x01a\x01\x01\0\x01b\x0b\0\0\0\0\0\0\0\0\0\0\0\0\x09";
    assert_eq!(bytes_of(&value), expected);
    let array = ecma_array([("a", Value::StrictArray(vec!["x".into()]))]);
    let expected = b"\x08\0\0\0\x01\0\x01a\x0a\0\0\0\x01\x02\0\x01x\0\0\x09";
    assert_eq!(bytes_of(&array), expected);
}

#[test]
fn a_long_text_takes_the_long_form() {
    for (length, marker, head) in [(65_535, 0x02, 3), (65_536, 0x0c, 5)] {
        let value = Value::String("x".repeat(length));
        let bytes = bytes_of(&value);
        assert_eq!((bytes[0], bytes.len()), (marker, head + length));
        assert_eq!(whole(&bytes), Ok(value));
    }
    // a name has no long form: it is cut, between characters
    let name = format!("x{}", "é".repeat(40_000));
    let cut = whole(&bytes_of(&object([(name, Value::Null)]))).unwrap();
    assert_eq!(cut.fields().unwrap()[0].0.len(), 65_535);
}

#[test]
fn the_end_marker_decides_not_the_count() {
    let array = b"\x08\xff\xff\xff\xff\0\x01a\x05\0\0\x09";
    assert_eq!(whole(array), Ok(ecma_array([("a", Value::Null)])));
    // and a count of elements that are not there costs nothing
    assert_eq!(whole(b"\x0a\xff\xff\xff\xff\x05"), Err(AmfError::Short));
}

#[test]
fn of_two_fields_the_last_counts() {
    let value = object([("a", 1.0.into()), ("b", 2.0.into()), ("a", 3.0.into())]);
    assert_eq!(value.get("a"), Some(&Value::Number(3.0)));
    assert_eq!(value.get("c"), None);
    assert_eq!(Value::Null.get("a"), None);
}

#[test]
fn reserved_and_unknown_markers() {
    for marker in (0..=255u8).filter(|m| !matches!(m, 0..=3 | 5..=8 | 10..=13 | 15..=17)) {
        assert_eq!(whole(&[marker]), Err(AmfError::Marker(marker)));
    }
    for marker in 0x12..=255u8 {
        assert_eq!(amf3(&[marker]), Err(AmfError::Marker(marker)));
    }
}

#[test]
fn text_that_is_not_utf8() {
    assert_eq!(whole(b"\x02\0\x03a\xffb"), Ok("a\u{fffd}b".into()));
}

#[test]
fn references_of_amf0() {
    let inner = b"\x03\0\x01a\x05\0\0\x09";
    let mut bytes = inner.to_vec();
    bytes.extend_from_slice(b"\x0a\0\0\0\x02\x07\0\0\x07\0\0");
    let repeated = object([("a", Value::Null)]);
    assert_eq!(
        decode_all(&bytes),
        Ok(vec![
            repeated.clone(),
            Value::StrictArray(vec![repeated.clone(), repeated.clone()])
        ])
    );
    // an object inside a repeated one takes no second place in the table
    let mut bytes = b"\x0a\0\0\0\x01".to_vec(); // 0
    bytes.extend_from_slice(inner); // 1
    bytes.extend_from_slice(b"\x07\0\0\x0a\0\0\0\0\x07\0\x02"); // again 0, then 2
    let values = decode_all(&bytes).unwrap();
    assert_eq!(values[0], values[1]);
    assert_eq!(values[3], Value::StrictArray(vec![]));
    // nothing there, and a cycle
    assert_eq!(whole(b"\x07\0\0"), Err(AmfError::Reference));
    assert_eq!(whole(b"\x0a\0\0\0\x01\x07\0\0"), Err(AmfError::Reference));
}

#[test]
fn scalars_of_amf3() {
    for (bytes, expected) in [
        (&b"\x00"[..], Value::Undefined),
        (b"\x01", Value::Null),
        (b"\x02", false.into()),
        (b"\x03", true.into()),
        (b"\x04\x7f", 127.0.into()),
        (b"\x04\x81\x00", 128.0.into()),
        (b"\x04\xbf\xff\xff\xff", 268_435_455.0.into()),
        (b"\x04\xc0\x80\x80\x00", (-268_435_456.0).into()),
        (b"\x04\xff\xff\xff\xff", (-1.0).into()),
        (b"\x05\x3f\xf8\0\0\0\0\0\0", 1.5.into()),
        (b"\x06\x07abc", "abc".into()),
        (b"\x06\x01", "".into()),
        (b"\x07\x03<", Value::Xml("<".to_owned())),
        (b"\x0b\x03<", Value::Xml("<".to_owned())),
        (b"\x08\x01\x3f\xf0\0\0\0\0\0\0", Value::Date(1.0)),
        (b"\x0c\x05\xff\xff", Value::Unsupported),
    ] {
        assert_eq!(amf3(bytes), Ok(expected), "{bytes:02x?}");
    }
}

#[test]
fn collections_of_amf3() {
    let numbers = |n: &[f64]| Value::StrictArray(n.iter().map(|n| (*n).into()).collect());
    for (bytes, expected) in [
        (&b"\x09\x05\x01\x04\x01\x04\x02"[..], numbers(&[1.0, 2.0])),
        (
            b"\x09\x03\x03k\x01\x01\x04\x02", // k => null, then one element
            ecma_array([("k", Value::Null), ("0", 2.0.into())]),
        ),
        (b"\x0d\x03\0\xff\xff\xff\xff", numbers(&[-1.0])),
        (b"\x0e\x03\x01\xff\xff\xff\xff", numbers(&[4_294_967_295.0])),
        (b"\x0f\x03\0\x3f\xf0\0\0\0\0\0\0", numbers(&[1.0])),
        (b"\x10\x03\0\x03C\x04\x07", numbers(&[7.0])),
        (
            b"\x11\x05\0\x06\x03k\x03\x04\x01\x02", // "k" => true, 1 => false
            ecma_array([("k", true.into())]),
        ),
        (
            b"\x0a\x0b\x01\x03a\x04\x01\x01", // dynamic, anonymous
            object([("a", 1.0.into())]),
        ),
        (
            b"\x0a\x13\x03C\x03a\x04\x05", // class C with one sealed name
            Value::TypedObject("C".to_owned(), vec![("a".to_owned(), 5.0.into())]),
        ),
    ] {
        assert_eq!(amf3(bytes), Ok(expected), "{bytes:02x?}");
        for cut in 0..bytes.len() {
            assert_eq!(amf3(&bytes[..cut]), Err(AmfError::Short));
        }
    }
}

#[test]
fn references_of_amf3() {
    // an array of: an object with inline traits, one with the same traits, the first again
    let bytes = b"\x09\x07\x01\x0a\x13\x03C\x03a\x06\x03x\x0a\x01\x06\x04\x0a\x02";
    let c = |text: &str| Value::TypedObject("C".to_owned(), vec![("a".to_owned(), text.into())]);
    assert_eq!(
        amf3(bytes),
        Ok(Value::StrictArray(vec![c("x"), c("x"), c("x")]))
    );
    // the tables are those of the message, not of one value
    let two = b"\x11\x06\x03x\x11\x06\x00";
    assert_eq!(decode_all(two), Ok(vec!["x".into(), "x".into()]));
    for nowhere in [
        &b"\x06\x00"[..],             // text
        b"\x0a\x00",                  // object
        b"\x0a\x01",                  // traits
        b"\x09\x03\x01\x09\x00",      // a cycle
        b"\x0a\x0b\x01\x03a\x0a\x00", // another
    ] {
        assert_eq!(amf3(nowhere), Err(AmfError::Reference), "{nowhere:02x?}");
    }
}

#[test]
fn what_is_repeated_takes_no_second_place_in_a_table() {
    let bytes = [
        &b"\x11\x09\x03\x01\x0a\x13\x03C\x03a\x06\x03x"[..], // [C { a: "x" }]
        b"\x11\x09\x00",                                     // again
        b"\x11\x06\x03y\x11\x06\x06",                        // text 3, by value and reference
        b"\x11\x0a\x03\x03D\x11\x0a\x05",                    // traits 1, likewise
        b"\x11\x0a\x04",                                     // object 2
    ]
    .concat();
    let values = decode_all(&bytes).unwrap();
    assert_eq!(values[0], values[1]);
    assert_eq!(values[2..4], ["y".into(), "y".into()]);
    let d = Value::TypedObject("D".to_owned(), vec![]);
    assert_eq!(values[4..], [d.clone(), d.clone(), d]);
}

#[test]
fn classes_that_serialise_themselves() {
    let mut bytes = b"\x0a\x07\x43flex.messaging.io.ArrayCollection".to_vec();
    bytes.extend_from_slice(b"\x09\x03\x01\x03");
    assert_eq!(amf3(&bytes), Ok(Value::StrictArray(vec![true.into()])));
    assert_eq!(amf3(b"\x0a\x07\x03C\x01"), Err(AmfError::Externalizable));
    // with a sealed name, which it cannot have
    let mut bytes = b"\x0a\x17\x43flex.messaging.io.ArrayCollection".to_vec();
    bytes.extend_from_slice(b"\x03a\x03");
    assert_eq!(amf3(&bytes), Err(AmfError::Externalizable));
}

/// `depth` arrays of one element inside each other, in AMF0 and at the end in AMF3.
fn nested(outer: usize, inner: usize) -> Vec<u8> {
    let mut bytes = b"\x0a\0\0\0\x01".repeat(outer);
    bytes.push(0x11);
    bytes.extend(b"\x09\x03\x01".repeat(inner));
    bytes.push(0x01);
    bytes
}

#[test]
fn depth_is_bounded_over_both() {
    for outer in [0, 1, 16, AMF_MAX_DEPTH] {
        let inner = AMF_MAX_DEPTH - outer;
        assert!(whole(&nested(outer, inner)).is_ok());
        assert_eq!(decode_all(&nested(outer, inner + 1)), Err(AmfError::Depth));
        assert_eq!(decode_all(&nested(outer + 1, inner)), Err(AmfError::Depth));
    }
    for kind in [
        &b"\x03\0\x01a"[..],
        b"\x08\0\0\0\0\0\x01a",
        b"\x10\0\0\0\x01a",
    ] {
        let deep = kind.repeat(10_000);
        assert_eq!(decode_all(&deep), Err(AmfError::Depth));
    }
    assert_eq!(decode_all(&nested(10_000, 0)), Err(AmfError::Depth));
    assert_eq!(decode_all(&nested(0, 10_000)), Err(AmfError::Depth));
}

#[test]
fn neighbours_are_not_deep() {
    let empty = b"\x0a\0\0\0\0\x11\x09\x01\x01\x07\0\0";
    let values = decode_all(&empty.repeat(AMF_MAX_DEPTH * 2)).unwrap();
    assert_eq!(values.len(), AMF_MAX_DEPTH * 6);
}

#[test]
fn depth_counts_through_references() {
    // 20 arrays; then 20 more around a reference to them
    let mut bytes = b"\x0a\0\0\0\x01".repeat(20);
    bytes.push(0x05);
    let at = |outer: usize| {
        let mut bytes = bytes.clone();
        bytes.extend(b"\x0a\0\0\0\x01".repeat(outer));
        bytes.extend(b"\x07\0\0");
        bytes
    };
    assert!(decode_all(&at(AMF_MAX_DEPTH - 20)).is_ok());
    assert_eq!(decode_all(&at(AMF_MAX_DEPTH - 19)), Err(AmfError::Depth));
}

#[test]
fn encoding_ends_where_decoding_would() {
    let deep = |depth| (0..depth).fold(Value::Undefined, |v, _| Value::StrictArray(vec![v]));
    let limit = deep(AMF_MAX_DEPTH);
    assert_eq!(whole(&bytes_of(&limit)), Ok(limit));
    let cut = whole(&bytes_of(&deep(AMF_MAX_DEPTH + 1))).unwrap();
    let null = (0..AMF_MAX_DEPTH).fold(Value::Null, |v, _| Value::StrictArray(vec![v]));
    assert_eq!(cut, null);
    assert!(bytes_of(&deep(1000)).len() < 200);
}

#[test]
fn values_are_bounded_over_the_message() {
    let mut bytes = vec![0x05; AMF_MAX_VALUES];
    assert!(decode_all(&bytes).is_ok());
    bytes.push(0x05);
    assert_eq!(decode_all(&bytes), Err(AmfError::Values));
    // in AMF3 too, where the switch and the value are two
    let half = AMF_MAX_VALUES / 2;
    assert!(decode_all(&b"\x11\x01".repeat(half)).is_ok());
    let over = b"\x11\x01".repeat(half + 1);
    assert_eq!(decode_all(&over), Err(AmfError::Values));
    // vectors of numbers are not let off
    let mut vector = b"\x11\x0d\xff\xff\xff\xff\0".to_vec();
    vector.resize(7 + 4 * (AMF_MAX_VALUES + 1), 0);
    assert_eq!(decode_all(&vector), Err(AmfError::Values));
}

fn keyed(keys: usize) -> Vec<u8> {
    let mut bytes = vec![0x03];
    for key in 0..keys {
        bytes.extend_from_slice(&[0, 4]);
        bytes.extend_from_slice(&u32::try_from(key).unwrap().to_be_bytes());
        bytes.push(0x05);
    }
    bytes.extend_from_slice(&[0, 0, 9]);
    bytes
}

#[test]
fn keys_are_bounded() {
    assert_eq!(
        whole(&keyed(AMF_MAX_KEYS)).unwrap().fields().unwrap().len(),
        AMF_MAX_KEYS
    );
    assert_eq!(decode_all(&keyed(AMF_MAX_KEYS + 1)), Err(AmfError::Keys));
    assert_eq!(decode_all(&keyed(100_000)), Err(AmfError::Keys));

    let dynamic = |keys: usize| {
        let mut bytes = b"\x0a\x0b\x01".to_vec();
        bytes.extend(b"\x03k\x01".repeat(keys));
        bytes.push(0x01);
        bytes
    };
    assert!(amf3(&dynamic(AMF_MAX_KEYS)).is_ok());
    assert_eq!(amf3(&dynamic(AMF_MAX_KEYS + 1)), Err(AmfError::Keys));
    // sealed names: refused by their number, before one is read (1025 << 4 | 0b0011)
    assert_eq!(amf3(b"\x0a\x81\x80\x13\x01"), Err(AmfError::Keys));
}

#[test]
fn repetitions_are_charged_like_what_they_repeat() {
    // each array holds the one before it eight times: 8^20 values from 700 bytes
    let mut bytes = b"\x0a\0\0\0\0".to_vec();
    for level in 0..20u8 {
        bytes.extend_from_slice(b"\x0a\0\0\0\x08");
        bytes.extend([0x07, 0, level].repeat(8));
    }
    assert_eq!(decode_all(&bytes), Err(AmfError::Values));

    // one text of 64 KiB by reference
    let text = "x".repeat(0x1_0000);
    let fit = AMF_MAX_BYTES / text.len();
    assert_eq!(fit * text.len(), AMF_MAX_BYTES);
    let mut bytes = b"\x11\x06\x88\x80\x01".to_vec(); // 0x10000 << 1 | 1
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend(b"\x11\x06\x00".repeat(fit - 1));
    assert_eq!(decode_all(&bytes).unwrap().len(), fit);
    bytes.extend(b"\x02\0\x01x");
    assert_eq!(decode_all(&bytes), Err(AmfError::Bytes));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is not equal", |n| !n.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".*".prop_map(Value::String),
        (-1.0e15..1.0e15).prop_map(Value::Date),
        Just(Value::Null),
        Just(Value::Undefined),
        ".*".prop_map(Value::Xml),
        Just(Value::Unsupported),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let fields = || prop::collection::vec((".{0,8}", inner.clone()), 0..6);
        prop_oneof![
            fields().prop_map(Value::Object),
            (".{0,8}", fields()).prop_map(|(class, fields)| Value::TypedObject(class, fields)),
            fields().prop_map(Value::EcmaArray),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn round_trip(value in any_value()) {
        prop_assert_eq!(whole(&bytes_of(&value)), Ok(value));
    }

    #[test]
    fn a_value_cut_anywhere_is_short(value in any_value()) {
        let bytes = bytes_of(&value);
        for cut in 0..bytes.len() {
            prop_assert_eq!(decode(&mut Reader::new(&bytes[..cut])), Err(AmfError::Short));
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes: Vec<u8>) {
        if let Ok(values) = decode_all(&bytes) {
            prop_assert!(values.len() <= bytes.len());
        }
        let _ = amf3_prefix(&bytes);
    }

    /// Bytes that are mostly markers and small numbers get further than random ones; what decodes
    /// can be encoded, and decodes to itself again.
    #[test]
    fn likely_bytes_survive_a_round_trip(bytes in prop::collection::vec(0u8..0x14, 0..200)) {
        for decoded in [decode(&mut Reader::new(&bytes)), amf3_prefix(&bytes)].into_iter().flatten() {
            let again = bytes_of(&decoded);
            let once = decode(&mut Reader::new(&again)).unwrap();
            prop_assert_eq!(bytes_of(&once), again);
        }
    }
}

fn amf3_prefix(bytes: &[u8]) -> Result<Value, AmfError> {
    let mut switched = vec![0x11];
    switched.extend_from_slice(bytes);
    decode(&mut Reader::new(&switched))
}
