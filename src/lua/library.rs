//! The functions that a configuration finds, and an answer to those that it does not.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value, Variadic};

use super::{World, files, strings};

/// What of Lua's own functions only computes. Nothing that catches errors, calls back or loads code.
const GLOBALS: [&str; 16] = [
    "_VERSION", "assert", "error", "ipairs", "next", "pairs", "rawequal", "rawget", "rawset",
    "select", "string", "table", "tonumber", "tostring", "type", "unpack",
];
/// Of the table `string`, beside those of [`strings`].
const STRING: [&str; 7] = ["byte", "char", "format", "len", "lower", "reverse", "upper"];
/// And `sub`, which takes parts.
const SUB: &str = "sub";
/// Of the table `table`.
const TABLE: [&str; 4] = ["concat", "getn", "insert", "remove"];

/// Names that Lua's own libraries have: whoever asks for one is told so.
const KNOWN: [&str; 16] = [
    "collectgarbage",
    "coroutine",
    "debug",
    "getfenv",
    "getmetatable",
    "load",
    "loadfile",
    "loadstring",
    "math",
    "module",
    "newproxy",
    "package",
    "pcall",
    "require",
    "setfenv",
    "setmetatable",
];

/// Takes out what is not to be there, and puts in what is.
pub(super) fn furnish(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let globals = lua.globals();
    keep(&globals, &GLOBALS)?;
    let string: Table = globals.raw_get("string")?;
    keep(&string, &[&STRING[..], &[SUB]].concat())?;
    strings::add(lua, world, &string)?;
    refuse(lua, world, &string, "string.")?;
    let table: Table = globals.raw_get("table")?;
    keep(&table, &TABLE)?;
    refuse(lua, world, &table, "table.")?;
    let io = files::io(lua, world)?;
    refuse(lua, world, &io, "io.")?;
    globals.raw_set("io", io)?;
    let os = lua.create_table()?;
    os.raw_set("exit", exit(lua, world)?)?;
    refuse(lua, world, &os, "os.")?;
    globals.raw_set("os", os)?;
    globals.raw_set("dofile", files::dofile(lua, world)?)?;
    globals.raw_set("print", print(lua, world)?)?;
    refuse(lua, world, &globals, "")?;
    globals.raw_set("_G", globals.clone())
}

/// Takes everything else out of a table.
fn keep(table: &Table, names: &[&str]) -> mlua::Result<()> {
    let mut gone = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let stays = match &key {
            Value::String(name) => names.iter().any(|n| n.as_bytes() == &*name.as_bytes()),
            _ => false,
        };
        if !stays {
            gone.push(key);
        }
    }
    gone.into_iter()
        .try_for_each(|key| table.raw_set(key, Value::Nil))
}

/// What is not there is a function that says so when it is called; a global variable that Lua does not
/// know is nil, as ever.
fn refuse(lua: &Lua, world: &Rc<World>, table: &Table, prefix: &'static str) -> mlua::Result<()> {
    let world = Rc::clone(world);
    let missing = move |lua: &Lua, (_, key): (Value, Value)| {
        let name = match &key {
            Value::String(name) => name.to_string_lossy(),
            _ => return Ok(Value::Nil),
        };
        if prefix.is_empty() && !KNOWN.contains(&name.as_str()) && name != "xpcall" {
            return Ok(Value::Nil);
        }
        let world = Rc::clone(&world);
        let what = format!("{prefix}{name}");
        // A library is asked for its functions.
        let says = move |lua: &Lua, _: Variadic<Value>| -> mlua::Result<Value> {
            Err(world.refuse(
                lua,
                format!("{what} is not there: a configuration may read files of its own folder, and compute"),
            ))
        };
        let function = lua.create_function(says.clone())?;
        if matches!(name.as_str(), "coroutine" | "debug" | "math" | "package") && prefix.is_empty()
        {
            let library = lua.create_table()?;
            let meta = lua.create_table()?;
            meta.raw_set("__index", lua.create_function(says)?)?;
            library.set_metatable(Some(meta))?;
            return Ok(Value::Table(library));
        }
        Ok(Value::Function(function))
    };
    let meta = lua.create_table()?;
    meta.raw_set("__index", lua.create_function(missing)?)?;
    table.set_metatable(Some(meta))
}

/// `os.exit`, by which a loader gives up.
fn exit(lua: &Lua, world: &Rc<World>) -> mlua::Result<mlua::Function> {
    let world = Rc::clone(world);
    lua.create_function(move |lua, _: Variadic<Value>| -> mlua::Result<Value> {
        let said = world.said();
        Err(world.refuse(lua, format!("it gave up by os.exit{said}")))
    })
}

fn print(lua: &Lua, world: &Rc<World>) -> mlua::Result<mlua::Function> {
    let world = Rc::clone(world);
    lua.create_function(move |lua, values: Variadic<Value>| {
        for value in values {
            let text: Option<LuaString> = lua.coerce_string(value.clone())?;
            match text {
                Some(text) => world.print(&text.to_string_lossy()),
                None => world.print(value.type_name()),
            }
            world.print(" ");
        }
        world.print("\n");
        Ok(())
    })
}
