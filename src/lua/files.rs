//! `dofile`, `io.lines` and `io.open`: files that the host finds, and nothing but reading them.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaString, Table, Value};

use super::{Unread, World};
use crate::limits::{MAX_LUA_DEPTH, MAX_LUA_FILE, MAX_LUA_FILES};

/// Runs one file of the program.
pub(super) fn execute(lua: &Lua, world: &Rc<World>, name: &str, source: &[u8]) -> mlua::Result<()> {
    // Whoever made a file executable began it so; Lua's own reading leaves that line out.
    let source = match source.strip_prefix(b"#") {
        Some(rest) => rest
            .iter()
            .position(|b| *b == b'\n')
            .map_or(&[][..], |n| rest.get(n..).unwrap_or_default()),
        None => source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source),
    };
    if source.contains(&0x1b) {
        return Err(world.stop(name, "is no text: a compiled program is not run"));
    }
    world.running.borrow_mut().push(name.to_owned());
    let chunk = lua.load(source).set_name(format!("@{name}"));
    let done = chunk.set_mode(ChunkMode::Text).exec();
    world.running.borrow_mut().pop();
    done
}

/// `dofile`.
pub(super) fn dofile(lua: &Lua, world: &Rc<World>) -> mlua::Result<Function> {
    let world = Rc::clone(world);
    lua.create_function(move |lua, name: LuaString| {
        let name = name.to_string_lossy();
        if world.running.borrow().len() >= MAX_LUA_DEPTH {
            let most = MAX_LUA_DEPTH;
            return Err(world.refuse(
                lua,
                format!("dofile: files run each other more than {most} deep"),
            ));
        }
        let bytes = read(lua, &world, "dofile", &name)?;
        execute(lua, &world, &name, &bytes)
    })
}

/// The table `io`.
pub(super) fn io(lua: &Lua, world: &Rc<World>) -> mlua::Result<Table> {
    let io = lua.create_table()?;
    let shared = Rc::clone(world);
    let lines = lua.create_function(move |lua, name: LuaString| {
        let bytes = read(lua, &shared, "io.lines", &name.to_string_lossy())?;
        each_line(lua, bytes)
    })?;
    io.raw_set("lines", lines)?;
    let shared = Rc::clone(world);
    let open = lua.create_function(move |lua, (name, mode): (LuaString, Option<LuaString>)| {
        let name = name.to_string_lossy();
        let reads = mode.is_none_or(|mode| matches!(&*mode.as_bytes(), b"r" | b"rb"));
        if !reads {
            let what = format!("io.open: {name}: a configuration may only read files");
            return Err(shared.refuse(lua, what));
        }
        match found(&shared, &name) {
            Ok(bytes) => Ok((Value::Table(handle(lua, bytes)?), None)),
            Err(Unread::Missing) => {
                let why = format!("{name}: No such file or directory");
                Ok((Value::Nil, Some(why)))
            }
            Err(Unread::Refused(why)) => Err(shared.refuse(lua, format!("io.open: {name}: {why}"))),
        }
    })?;
    io.raw_set("open", open)?;
    let shared = Rc::clone(world);
    let write = lua.create_function(move |_, texts: mlua::Variadic<LuaString>| {
        texts
            .iter()
            .for_each(|text| shared.print(&text.to_string_lossy()));
        Ok(())
    })?;
    io.raw_set("write", write)?;
    Ok(io)
}

/// What `io.open` gives: `read` (all or a line), `lines` and `close`.
fn handle(lua: &Lua, bytes: Vec<u8>) -> mlua::Result<Table> {
    let handle = lua.create_table()?;
    let rest = Rc::new(RefCell::new(Rest { bytes, at: 0 }));
    let of_read = Rc::clone(&rest);
    let read = lua.create_function(move |lua, (_, what): (Value, Option<LuaString>)| {
        let mut rest = of_read.borrow_mut();
        let all = what.is_some_and(|what| what.as_bytes().starts_with(b"*a"));
        let text = if all { Some(rest.all()) } else { rest.line() };
        text.map(|text| lua.create_string(text)).transpose()
    })?;
    handle.raw_set("read", read)?;
    let of_lines = Rc::clone(&rest);
    let lines = lua.create_function(move |lua, _: Value| next_line(lua, Rc::clone(&of_lines)))?;
    handle.raw_set("lines", lines)?;
    handle.raw_set("close", lua.create_function(|_, _: Value| Ok(true))?)?;
    Ok(handle)
}

fn each_line(lua: &Lua, bytes: Vec<u8>) -> mlua::Result<Function> {
    next_line(lua, Rc::new(RefCell::new(Rest { bytes, at: 0 })))
}

fn next_line(lua: &Lua, rest: Rc<RefCell<Rest>>) -> mlua::Result<Function> {
    lua.create_function(move |lua, _: mlua::MultiValue| {
        let mut rest = rest.borrow_mut();
        rest.line().map(|line| lua.create_string(line)).transpose()
    })
}

/// What is not read yet.
struct Rest {
    bytes: Vec<u8>,
    at: usize,
}

impl Rest {
    fn all(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.at, self.bytes.len());
        self.bytes.get(from..).unwrap_or_default()
    }

    /// The next line, without its end.
    fn line(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        self.at += end.map_or(rest.len(), |end| end + 1);
        rest.get(..end.unwrap_or(rest.len()))
    }
}

fn read(lua: &Lua, world: &World, function: &str, name: &str) -> mlua::Result<Vec<u8>> {
    found(world, name).map_err(|unread| {
        let why = match unread {
            Unread::Missing => "there is no such file",
            Unread::Refused(ref why) => why,
        };
        world.refuse(lua, format!("{function}: {name}: {why}"))
    })
}

fn found(world: &World, name: &str) -> Result<Vec<u8>, Unread> {
    let files = world.files.get() + 1;
    if files > MAX_LUA_FILES {
        let why = format!("a configuration has at most {MAX_LUA_FILES} files");
        return Err(Unread::Refused(why));
    }
    world.files.set(files);
    let bytes = world.host.read(name)?;
    if bytes.len() > MAX_LUA_FILE {
        let why = format!("is larger than {} KiB", MAX_LUA_FILE >> 10);
        return Err(Unread::Refused(why));
    }
    Ok(bytes)
}
