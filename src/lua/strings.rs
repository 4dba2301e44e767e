//! The functions of `string` that search, and those that make much of little.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::World;
use super::pattern::{Capture, Fault, Found, find};
use crate::limits::MAX_LUA_MEMORY;

/// Puts them in; a text has them as its methods, too.
pub(super) fn add(lua: &Lua, world: &Rc<World>, string: &Table) -> mlua::Result<()> {
    let shared = Rc::clone(world);
    let function = lua.create_function(move |lua, given| found(lua, &shared, given, true))?;
    string.raw_set("find", function)?;
    let shared = Rc::clone(world);
    let function = lua.create_function(move |lua, given| found(lua, &shared, given, false))?;
    string.raw_set("match", function)?;
    let shared = Rc::clone(world);
    let function = lua.create_function(move |lua, given| gmatch(lua, &shared, given))?;
    string.raw_set("gfind", function.clone())?;
    string.raw_set("gmatch", function)?;
    let shared = Rc::clone(world);
    let function = lua.create_function(move |lua, given| gsub(lua, &shared, given))?;
    string.raw_set("gsub", function)?;
    let shared = Rc::clone(world);
    let function = lua.create_function(move |lua, (text, n): (LuaString, i64)| {
        let text = text.as_bytes();
        let n = usize::try_from(n).unwrap_or(0);
        if text.len().saturating_mul(n) > MAX_LUA_MEMORY {
            return Err(too_long(lua, &shared));
        }
        // Nothing, often, is nothing.
        let n = if text.is_empty() { 0 } else { n };
        lua.create_string(text.repeat(n))
    })?;
    string.raw_set("rep", function)?;
    let meta = lua.create_table()?;
    meta.raw_set("__index", string.clone())?;
    lua.set_type_metatable::<LuaString>(Some(meta));
    Ok(())
}

fn too_long(lua: &Lua, world: &World) -> mlua::Error {
    let most = MAX_LUA_MEMORY >> 20;
    world.refuse(lua, format!("it takes more than {most} MiB of memory"))
}

fn fault(lua: &Lua, world: &World, fault: Fault) -> mlua::Error {
    match fault {
        Fault::Malformed(why) => world.refuse(lua, why),
        Fault::Steps => world.refuse(lua, "its patterns take too long to match"),
    }
}

type Given = (LuaString, LuaString, Option<i64>, Option<bool>);

/// `string.find` and `string.match`.
fn found(
    lua: &Lua,
    world: &World,
    (text, pattern, from, plain): Given,
    places: bool,
) -> mlua::Result<MultiValue> {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let from = begin(from.unwrap_or(1), text.len());
    let steps = &world.pattern_steps;
    let found = if places && plain == Some(true) {
        plainly(&text, &pattern, from, steps)
    } else if from > text.len() {
        Ok(None)
    } else {
        find(&text, &pattern, from, steps)
    };
    let Some(found) = found.map_err(|f| fault(lua, world, f))? else {
        return Ok(MultiValue::from_vec(vec![Value::Nil]));
    };
    let mut all = Vec::new();
    if places {
        all.push(number(found.begin + 1));
        all.push(number(found.end));
    }
    if !places || !found.captures.is_empty() {
        all.extend(captures(lua, &text, &found)?);
    }
    Ok(MultiValue::from_vec(all))
}

fn plainly(
    text: &[u8],
    wanted: &[u8],
    from: usize,
    steps: &Cell<u64>,
) -> Result<Option<Found>, Fault> {
    for begin in from..=text.len() {
        let left = steps.get().checked_sub(1 + wanted.len() as u64 / 64);
        steps.set(left.ok_or(Fault::Steps)?);
        if text
            .get(begin..)
            .is_some_and(|rest| rest.starts_with(wanted))
        {
            return Ok(Some(Found {
                begin,
                end: begin + wanted.len(),
                captures: Vec::new(),
            }));
        }
    }
    Ok(None)
}

/// Where to begin, counted from 0, for a place counted from 1, or from the end when it is negative.
fn begin(from: i64, length: usize) -> usize {
    match usize::try_from(from) {
        Ok(from) => from.saturating_sub(1),
        Err(_) => {
            let back = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
            length.saturating_sub(back)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place in a text of some MiB")]
fn number(n: usize) -> Value {
    Value::Number(n as f64)
}

/// The captures of a match, or all of it when the pattern has none.
fn captures(lua: &Lua, text: &[u8], found: &Found) -> mlua::Result<Vec<Value>> {
    let part = |begin: usize, end: usize| {
        let part = text.get(begin..end).unwrap_or_default();
        lua.create_string(part).map(Value::String)
    };
    if found.captures.is_empty() {
        return Ok(vec![part(found.begin, found.end)?]);
    }
    let one = |capture: &Capture| match *capture {
        Capture::Text(begin, end) => part(begin, end),
        Capture::Position(at) => Ok(number(at + 1)),
        Capture::Open(_) => Err(mlua::Error::RuntimeError("unfinished capture".into())),
    };
    found.captures.iter().map(one).collect()
}

fn gmatch(
    lua: &Lua,
    world: &Rc<World>,
    (text, pattern): (LuaString, LuaString),
) -> mlua::Result<mlua::Function> {
    let (world, at) = (Rc::clone(world), Cell::new(0));
    lua.create_function(move |lua, _: MultiValue| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        if at.get() > text.len() {
            return Ok(MultiValue::new());
        }
        let found = find(&text, &pattern, at.get(), &world.pattern_steps);
        match found.map_err(|f| fault(lua, &world, f))? {
            Some(found) => {
                // An empty match must not come again.
                at.set(
                    found
                        .end
                        .max(found.begin + usize::from(found.end == found.begin)),
                );
                Ok(MultiValue::from_vec(captures(lua, &text, &found)?))
            }
            None => {
                at.set(text.len() + 1);
                Ok(MultiValue::from_vec(vec![Value::Nil]))
            }
        }
    })
}

/// `string.gsub`, with a text to put in the place of each match.
fn gsub(
    lua: &Lua,
    world: &World,
    (text, pattern, by, most): (LuaString, LuaString, Value, Option<i64>),
) -> mlua::Result<(LuaString, Value)> {
    let Some(by) = lua.coerce_string(by)? else {
        return Err(world.refuse(
            lua,
            "string.gsub takes a text to put in here, no function and no table",
        ));
    };
    let (text, pattern, by) = (text.as_bytes(), pattern.as_bytes(), by.as_bytes());
    let most = most.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
    let (mut out, mut at, mut n) = (Vec::new(), 0, 0_usize);
    while n < most && at <= text.len() {
        let found = find(&text, &pattern, at, &world.pattern_steps);
        let Some(found) = found.map_err(|f| fault(lua, world, f))? else {
            break;
        };
        n += 1;
        out.extend(text.get(at..found.begin).unwrap_or_default());
        put(&mut out, &by, &text, &found).map_err(|why| world.refuse(lua, why))?;
        if out.len() > MAX_LUA_MEMORY {
            return Err(too_long(lua, world));
        }
        at = found.end;
        if found.end == found.begin {
            out.extend(text.get(at));
            at += 1;
        }
        if pattern.starts_with(b"^") {
            break;
        }
    }
    out.extend(text.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, number(n)))
}

/// What takes the place of a match: `%0` is all of it, `%1` its first capture, `%%` a percent sign.
fn put(out: &mut Vec<u8>, by: &[u8], text: &[u8], found: &Found) -> Result<(), &'static str> {
    let mut bytes = by.iter();
    while let Some(byte) = bytes.next() {
        let digit = match (byte, bytes.as_slice().first()) {
            (b'%', Some(digit @ b'0'..=b'9')) => digit - b'0',
            (b'%', Some(other)) => {
                out.push(*other);
                bytes.next();
                continue;
            }
            _ => {
                out.push(*byte);
                continue;
            }
        };
        bytes.next();
        let whole = Capture::Text(found.begin, found.end);
        let capture = match digit.checked_sub(1) {
            None => whole,
            Some(0) if found.captures.is_empty() => whole,
            Some(n) => match found.captures.get(usize::from(n)) {
                Some(capture) => *capture,
                None => return Err("invalid capture index"),
            },
        };
        match capture {
            Capture::Text(begin, end) => out.extend(text.get(begin..end).unwrap_or_default()),
            Capture::Position(at) => out.extend((at + 1).to_string().into_bytes()),
            Capture::Open(_) => return Err("unfinished capture"),
        }
        if out.len() > MAX_LUA_MEMORY {
            return Ok(());
        }
    }
    Ok(())
}
