//! AMF0 ("Action Message Format -- AMF 0", 2007).

use bytes::BufMut;

use super::{AmfError, Budget, Fields, Value, amf3, push};
use crate::limits::{AMF_MAX_DEPTH, AMF_MAX_KEYS};
use crate::wire::Reader;

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;
const AVMPLUS: u8 = 0x11;

/// Decodes the values of one message: limits and references are those of the message.
#[derive(Debug, Default)]
pub struct Decoder<'a> {
    budget: Budget,
    objects: Vec<Seen<'a>>,
    amf3: amf3::Tables<'a>,
    /// How many references are being followed: what they lead to is in the table already.
    following: usize,
    switched: bool,
}

/// A complex value that a reference may repeat: it is decoded again, so that the table costs one
/// entry and the repetition is charged like any value.
#[derive(Debug)]
struct Seen<'a> {
    marker: u8,
    body: Reader<'a>,
    /// False while it is being decoded: a reference to it would be a cycle.
    complete: bool,
}

impl<'a> Decoder<'a> {
    /// A decoder for one message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a value so far was AMF3 (marker 0x11).
    #[must_use]
    pub const fn saw_amf3(&self) -> bool {
        self.switched
    }

    /// Consumes one value.
    ///
    /// # Errors
    /// [`AmfError`]; the decoder and the reader are of no further use then.
    pub fn value(&mut self, input: &mut Reader<'a>) -> Result<Value, AmfError> {
        let marker = input.u8()?;
        self.budget.value()?;
        match marker {
            NUMBER => Ok(Value::Number(input.f64()?)),
            BOOLEAN => Ok(Value::Boolean(input.u8()? != 0)),
            STRING => Ok(Value::String(self.short_text(input)?)),
            NULL => Ok(Value::Null),
            UNDEFINED => Ok(Value::Undefined),
            DATE => {
                let date = input.f64()?;
                input.i16()?;
                Ok(Value::Date(date))
            }
            LONG_STRING => Ok(Value::String(self.long_text(input)?)),
            UNSUPPORTED => Ok(Value::Unsupported),
            XML => Ok(Value::Xml(self.long_text(input)?)),
            OBJECT | ECMA_ARRAY | STRICT_ARRAY | TYPED_OBJECT => {
                let slot = self.remember(marker, *input);
                let value = self.complex(marker, input)?;
                if let Some(seen) = slot.and_then(|slot| self.objects.get_mut(slot)) {
                    seen.complete = true;
                }
                Ok(value)
            }
            REFERENCE => self.reference(input),
            AVMPLUS => {
                self.switched = true;
                self.amf3.value(&mut self.budget, input)
            }
            other => Err(AmfError::Marker(other)),
        }
    }

    fn remember(&mut self, marker: u8, body: Reader<'a>) -> Option<usize> {
        if self.following > 0 {
            return None;
        }
        self.objects.push(Seen {
            marker,
            body,
            complete: false,
        });
        self.objects.len().checked_sub(1)
    }

    fn reference(&mut self, input: &mut Reader<'a>) -> Result<Value, AmfError> {
        let index = usize::from(input.u16()?);
        let seen = self.objects.get(index).filter(|seen| seen.complete);
        let (marker, mut body) = seen
            .map(|seen| (seen.marker, seen.body))
            .ok_or(AmfError::Reference)?;
        self.following += 1;
        let value = self.complex(marker, &mut body)?;
        self.following -= 1;
        Ok(value)
    }

    fn complex(&mut self, marker: u8, input: &mut Reader<'a>) -> Result<Value, AmfError> {
        self.budget.enter()?;
        let value = match marker {
            OBJECT => Value::Object(self.fields(input)?),
            ECMA_ARRAY => {
                input.u32()?; // a hint that encoders get wrong: the end marker decides
                Value::EcmaArray(self.fields(input)?)
            }
            TYPED_OBJECT => {
                let class = self.short_text(input)?;
                Value::TypedObject(class, self.fields(input)?)
            }
            _ => Value::StrictArray(self.elements(input)?),
        };
        self.budget.leave();
        Ok(value)
    }

    fn elements(&mut self, input: &mut Reader<'a>) -> Result<Vec<Value>, AmfError> {
        let count = input.u32()?;
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(input)?);
        }
        Ok(elements)
    }

    fn fields(&mut self, input: &mut Reader<'a>) -> Result<Fields, AmfError> {
        let mut fields = Fields::new();
        loop {
            let length = usize::from(input.u16()?);
            if length == 0 && input.peek() == Some(OBJECT_END) {
                input.u8()?;
                return Ok(fields);
            }
            if fields.len() >= AMF_MAX_KEYS {
                return Err(AmfError::Keys);
            }
            let name = self.budget.text(input.take(length)?)?;
            let value = self.value(input)?;
            push(&mut fields, name, value)?;
        }
    }

    fn short_text(&mut self, input: &mut Reader<'a>) -> Result<String, AmfError> {
        let length = usize::from(input.u16()?);
        self.budget.text(input.take(length)?)
    }

    fn long_text(&mut self, input: &mut Reader<'a>) -> Result<String, AmfError> {
        let length = usize::try_from(input.u32()?).map_err(|_| AmfError::Short)?;
        self.budget.text(input.take(length)?)
    }
}

/// Consumes one value, with limits and references of its own. For several values of one message
/// use [`decode_all`] or a [`Decoder`].
///
/// # Errors
/// [`AmfError`].
pub fn decode(input: &mut Reader<'_>) -> Result<Value, AmfError> {
    Decoder::new().value(input)
}

/// Decodes a message that consists of values to its end.
///
/// # Errors
/// [`AmfError`].
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut input = Reader::new(bytes);
    let mut decoder = Decoder::new();
    let mut values = Vec::new();
    while !input.is_empty() {
        values.push(decoder.value(&mut input)?);
    }
    Ok(values)
}

/// Appends `value` to `out`, a buffer that grows (`Vec<u8>`, `BytesMut`).
///
/// Never fails: what nests deeper than [`AMF_MAX_DEPTH`] becomes null, and a name or class longer
/// than 65535 bytes is cut.
pub fn encode(out: &mut impl BufMut, value: &Value) {
    encode_at(out, value, 0);
}

/// Appends each value.
pub fn encode_all<'v>(out: &mut impl BufMut, values: impl IntoIterator<Item = &'v Value>) {
    for value in values {
        encode(out, value);
    }
}

/// Appends a [`Value::String`] of `text`.
pub fn encode_text(out: &mut impl BufMut, text: &str) {
    if let Ok(length) = u16::try_from(text.len()) {
        out.put_u8(STRING);
        out.put_u16(length);
        out.put_slice(text.as_bytes());
    } else {
        put_long(out, LONG_STRING, text);
    }
}

fn encode_at(out: &mut impl BufMut, value: &Value, depth: usize) {
    match value {
        Value::Number(number) => {
            out.put_u8(NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(truth) => {
            out.put_u8(BOOLEAN);
            out.put_u8(u8::from(*truth));
        }
        Value::String(text) => encode_text(out, text),
        Value::Date(date) => {
            out.put_u8(DATE);
            out.put_f64(*date);
            out.put_i16(0);
        }
        Value::Null => out.put_u8(NULL),
        Value::Undefined => out.put_u8(UNDEFINED),
        Value::Unsupported => out.put_u8(UNSUPPORTED),
        Value::Xml(text) => put_long(out, XML, text),
        _ if depth >= AMF_MAX_DEPTH => out.put_u8(NULL),
        Value::Object(fields) => {
            out.put_u8(OBJECT);
            put_fields(out, fields, depth);
        }
        Value::TypedObject(class, fields) => {
            out.put_u8(TYPED_OBJECT);
            put_name(out, class);
            put_fields(out, fields, depth);
        }
        Value::EcmaArray(fields) => {
            out.put_u8(ECMA_ARRAY);
            out.put_u32(length32(fields.len()));
            put_fields(out, fields, depth);
        }
        Value::StrictArray(elements) => {
            out.put_u8(STRICT_ARRAY);
            out.put_u32(length32(elements.len()));
            for element in elements {
                encode_at(out, element, depth + 1);
            }
        }
    }
}

fn put_fields(out: &mut impl BufMut, fields: &[(String, Value)], depth: usize) {
    for (name, value) in fields {
        put_name(out, name);
        encode_at(out, value, depth + 1);
    }
    out.put_u16(0);
    out.put_u8(OBJECT_END);
}

fn put_name(out: &mut impl BufMut, name: &str) {
    let end = name.floor_char_boundary(usize::from(u16::MAX));
    let cut = name.get(..end).unwrap_or_default();
    out.put_u16(u16::try_from(cut.len()).unwrap_or(u16::MAX));
    out.put_slice(cut.as_bytes());
}

fn put_long(out: &mut impl BufMut, marker: u8, text: &str) {
    out.put_u8(marker);
    out.put_u32(length32(text.len()));
    out.put_slice(text.as_bytes());
}

/// Nothing in memory here comes near 4 GiB; messages are refused at a few hundred KiB.
fn length32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
