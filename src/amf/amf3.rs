//! AMF3 ("Action Message Format -- AMF 3", 2013), decoding only: clients with `objectEncoding` 3
//! accept AMF0 values in every message, so nothing here is ever encoded as AMF3.

use std::rc::Rc;

use super::{AmfError, Budget, Fields, Value, push};
use crate::limits::AMF_MAX_KEYS;
use crate::wire::Reader;

const UNDEFINED: u8 = 0x00;
const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INTEGER: u8 = 0x04;
const DOUBLE: u8 = 0x05;
const STRING: u8 = 0x06;
const XML_DOCUMENT: u8 = 0x07;
const DATE: u8 = 0x08;
const ARRAY: u8 = 0x09;
const OBJECT: u8 = 0x0a;
const XML: u8 = 0x0b;
const BYTE_ARRAY: u8 = 0x0c;
const VECTOR_INT: u8 = 0x0d;
const VECTOR_UINT: u8 = 0x0e;
const VECTOR_DOUBLE: u8 = 0x0f;
const VECTOR_OBJECT: u8 = 0x10;
const DICTIONARY: u8 = 0x11;

/// Classes that serialise themselves as exactly one value: the value stands for them.
const TRANSPARENT: [&[u8]; 3] = [
    b"flex.messaging.io.ArrayCollection",
    b"flex.messaging.io.ArrayList",
    b"flex.messaging.io.ObjectProxy",
];

/// The reference tables of one message. They hold positions in the input, no copies: a repeated
/// value is decoded again and charged again. An entry costs at least two bytes of input.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    objects: Vec<Seen<'a>>,
    traits: Vec<Rc<Traits<'a>>>,
    following: usize,
}

#[derive(Debug)]
struct Seen<'a> {
    marker: u8,
    /// The first number after the marker, less its lowest bit.
    head: u32,
    body: Reader<'a>,
    complete: bool,
}

#[derive(Debug)]
struct Traits<'a> {
    class: &'a [u8],
    dynamic: bool,
    externalizable: bool,
    sealed: Vec<&'a [u8]>,
}

impl<'a> Tables<'a> {
    /// Consumes one value behind the switch marker, or inside another.
    pub(super) fn value(
        &mut self,
        budget: &mut Budget,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        let marker = input.u8()?;
        budget.value()?;
        match marker {
            UNDEFINED => Ok(Value::Undefined),
            NULL => Ok(Value::Null),
            FALSE => Ok(Value::Boolean(false)),
            TRUE => Ok(Value::Boolean(true)),
            INTEGER => Ok(Value::Number(f64::from(signed(u29(input)?)))),
            DOUBLE => Ok(Value::Number(input.f64()?)),
            STRING => {
                let bytes = self.string(input)?;
                Ok(Value::String(budget.text(bytes)?))
            }
            XML_DOCUMENT | DATE | ARRAY | OBJECT | XML | BYTE_ARRAY | VECTOR_INT | VECTOR_UINT
            | VECTOR_DOUBLE | VECTOR_OBJECT | DICTIONARY => self.complex(budget, marker, input),
            other => Err(AmfError::Marker(other)),
        }
    }

    fn complex(
        &mut self,
        budget: &mut Budget,
        marker: u8,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        let number = u29(input)?;
        let head = number >> 1;
        if number & 1 == 0 {
            return self.reference(budget, head);
        }
        if self.following > 0 {
            return self.body(budget, marker, head, input);
        }
        let slot = self.objects.len();
        self.objects.push(Seen {
            marker,
            head,
            body: *input,
            complete: false,
        });
        let value = self.body(budget, marker, head, input)?;
        if let Some(seen) = self.objects.get_mut(slot) {
            seen.complete = true;
        }
        Ok(value)
    }

    fn reference(&mut self, budget: &mut Budget, index: u32) -> Result<Value, AmfError> {
        let index = usize::try_from(index).map_err(|_| AmfError::Reference)?;
        let seen = self.objects.get(index).filter(|seen| seen.complete);
        let (marker, head, mut body) = seen
            .map(|seen| (seen.marker, seen.head, seen.body))
            .ok_or(AmfError::Reference)?;
        self.following += 1;
        let value = self.body(budget, marker, head, &mut body)?;
        self.following -= 1;
        Ok(value)
    }

    fn body(
        &mut self,
        budget: &mut Budget,
        marker: u8,
        head: u32,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        match marker {
            XML | XML_DOCUMENT => Ok(Value::Xml(budget.text(bytes(head, input)?)?)),
            DATE => Ok(Value::Date(input.f64()?)),
            BYTE_ARRAY => bytes(head, input).map(|_| Value::Unsupported),
            _ => {
                budget.enter()?;
                let value = match marker {
                    ARRAY => self.array(budget, head, input)?,
                    OBJECT => self.object(budget, head, input)?,
                    DICTIONARY => self.dictionary(budget, head, input)?,
                    _ => self.vector(budget, marker, head, input)?,
                };
                budget.leave();
                Ok(value)
            }
        }
    }

    /// A dense array is a [`Value::StrictArray`]; with names it is a [`Value::EcmaArray`] whose
    /// dense part has the names "0", "1" and so on.
    fn array(
        &mut self,
        budget: &mut Budget,
        count: u32,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        let mut fields = self.dynamic(budget, Fields::new(), input)?;
        if fields.is_empty() {
            let mut elements = Vec::new();
            for _ in 0..count {
                elements.push(self.value(budget, input)?);
            }
            return Ok(Value::StrictArray(elements));
        }
        for index in 0..count {
            let value = self.value(budget, input)?;
            push(&mut fields, index.to_string(), value)?;
        }
        Ok(Value::EcmaArray(fields))
    }

    fn object(
        &mut self,
        budget: &mut Budget,
        head: u32,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        let traits = self.traits(head, input)?;
        if traits.externalizable {
            // one with sealed names makes no sense, and would cost time without a value to charge
            if !TRANSPARENT.contains(&traits.class) || !traits.sealed.is_empty() {
                return Err(AmfError::Externalizable);
            }
            return self.value(budget, input);
        }
        let mut fields = Fields::new();
        for name in &traits.sealed {
            let name = budget.text(name)?;
            let value = self.value(budget, input)?;
            push(&mut fields, name, value)?;
        }
        if traits.dynamic {
            fields = self.dynamic(budget, fields, input)?;
        }
        if traits.class.is_empty() {
            Ok(Value::Object(fields))
        } else {
            Ok(Value::TypedObject(budget.text(traits.class)?, fields))
        }
    }

    fn traits(&mut self, head: u32, input: &mut Reader<'a>) -> Result<Rc<Traits<'a>>, AmfError> {
        if head & 1 == 0 {
            let index = usize::try_from(head >> 1).map_err(|_| AmfError::Reference)?;
            return self.traits.get(index).cloned().ok_or(AmfError::Reference);
        }
        let count = usize::try_from(head >> 3).map_err(|_| AmfError::Keys)?;
        if count > AMF_MAX_KEYS {
            return Err(AmfError::Keys);
        }
        let class = self.string(input)?;
        let mut sealed = Vec::new();
        for _ in 0..count {
            sealed.push(self.string(input)?);
        }
        let traits = Rc::new(Traits {
            class,
            dynamic: head & 0b100 != 0,
            externalizable: head & 0b10 != 0,
            sealed,
        });
        if self.following == 0 {
            self.traits.push(Rc::clone(&traits));
        }
        Ok(traits)
    }

    /// Names and values up to the empty name.
    fn dynamic(
        &mut self,
        budget: &mut Budget,
        mut fields: Fields,
        input: &mut Reader<'a>,
    ) -> Result<Fields, AmfError> {
        loop {
            let name = self.string(input)?;
            if name.is_empty() {
                return Ok(fields);
            }
            if fields.len() >= AMF_MAX_KEYS {
                return Err(AmfError::Keys);
            }
            let name = budget.text(name)?;
            let value = self.value(budget, input)?;
            push(&mut fields, name, value)?;
        }
    }

    fn vector(
        &mut self,
        budget: &mut Budget,
        marker: u8,
        count: u32,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        input.u8()?; // fixed length or not: no difference to a reader
        if marker == VECTOR_OBJECT {
            self.string(input)?; // the class of the elements, which name their own as well
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(match marker {
                VECTOR_OBJECT => self.value(budget, input)?,
                number => {
                    budget.value()?;
                    Value::Number(match number {
                        VECTOR_INT => f64::from(input.u32()?.cast_signed()),
                        VECTOR_UINT => f64::from(input.u32()?),
                        _ => input.f64()?,
                    })
                }
            });
        }
        Ok(Value::StrictArray(elements))
    }

    /// Keys that are not text have no counterpart in AMF0; those entries are dropped.
    fn dictionary(
        &mut self,
        budget: &mut Budget,
        count: u32,
        input: &mut Reader<'a>,
    ) -> Result<Value, AmfError> {
        input.u8()?; // weak keys or not
        let mut fields = Fields::new();
        for _ in 0..count {
            let key = self.value(budget, input)?;
            let value = self.value(budget, input)?;
            if let Value::String(name) = key {
                push(&mut fields, name, value)?;
            }
        }
        Ok(Value::EcmaArray(fields))
    }

    fn string(&mut self, input: &mut Reader<'a>) -> Result<&'a [u8], AmfError> {
        let number = u29(input)?;
        let head = number >> 1;
        if number & 1 == 0 {
            let index = usize::try_from(head).map_err(|_| AmfError::Reference)?;
            return self.strings.get(index).copied().ok_or(AmfError::Reference);
        }
        let text = bytes(head, input)?;
        // the empty string is never sent by reference, so it takes no place in the table
        if !text.is_empty() && self.following == 0 {
            self.strings.push(text);
        }
        Ok(text)
    }
}

fn bytes<'a>(length: u32, input: &mut Reader<'a>) -> Result<&'a [u8], AmfError> {
    let length = usize::try_from(length).map_err(|_| AmfError::Short)?;
    Ok(input.take(length)?)
}

/// One to four bytes: seven bits each while the highest says there is more, the fourth has eight.
fn u29(input: &mut Reader<'_>) -> Result<u32, AmfError> {
    let mut number = 0;
    for _ in 0..3 {
        let byte = u32::from(input.u8()?);
        number = (number << 7) | (byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Ok((number << 8) | u32::from(input.u8()?))
}

/// Bit 28 is the sign.
const fn signed(number: u32) -> i32 {
    (number << 3).cast_signed() >> 3
}
