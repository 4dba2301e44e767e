//! Running the original's configuration, which is a program in Lua 5.1.
//!
//! Debian's package came with one that reads a list of names line by line and runs a file for each. So it
//! is a real Lua here; but there is next to nothing in it: `dofile`, `io.lines` and `io.open` read files that the
//! [`Host`] finds, and the rest of its library only computes. Instructions, memory, processor time, files and
//! what comes out of it are bounded ([`crate::limits`]), and no call to its library takes long.
//!
//! There is no `pcall`, so that nothing catches the end of its time.

mod files;
mod library;
mod pattern;
mod strings;
mod value;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use mlua::{HookTriggers, Lua, LuaOptions, StdLib, VmState};

use crate::limits::{
    MAX_LUA_INSTRUCTIONS, MAX_LUA_MEMORY, MAX_LUA_PATTERN_STEPS, MAX_LUA_PRINTED, MAX_LUA_TIME,
};
pub use value::{Key, Table, Value};

/// What a program meets outside of itself.
pub trait Host {
    /// The bytes of a file, by the name that the program has for it.
    ///
    /// # Errors
    /// Why there are none.
    fn read(&self, name: &str) -> Result<Vec<u8>, Unread>;

    /// The processor time that was used so far.
    fn time(&self) -> Duration;
}

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// There is none: `io.open` says so to the program.
    Missing,
    /// It is none of those that the program may read, or cannot be read; in words that follow the name.
    Refused(String),
}

/// Why a program did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct LuaError {
    /// The file, and the line where there is one.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// What a program left behind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The global variables that were asked for and are there.
    pub globals: BTreeMap<String, Value>,
    /// What it printed: the first lines.
    pub printed: String,
}

/// What all functions of one program share.
struct World {
    host: Box<dyn Host>,
    /// What the file of each call is known by, the innermost last.
    running: RefCell<Vec<String>>,
    files: Cell<usize>,
    instructions: Cell<u64>,
    pattern_steps: Cell<u64>,
    printed: RefCell<String>,
    /// Why it ends, once it does; Lua's own words for it are of no use.
    stop: RefCell<Option<LuaError>>,
}

/// Instructions from one look at the bounds to the next. One of them can copy as much as there may be
/// memory.
const LOOK: u32 = 100;

/// Runs a program, and takes these global variables out of it; `name` is what its file is called in errors.
///
/// # Errors
/// It is no Lua, asked for what it may not have, met a bound, or failed by itself.
pub fn run(
    name: &str,
    source: &[u8],
    globals: &[&str],
    host: impl Host + 'static,
) -> Result<Outcome, LuaError> {
    let world = Rc::new(World {
        host: Box::new(host),
        running: RefCell::new(Vec::new()),
        files: Cell::new(0),
        instructions: Cell::new(0),
        pattern_steps: Cell::new(MAX_LUA_PATTERN_STEPS),
        printed: RefCell::new(String::new()),
        stop: RefCell::new(None),
    });
    let done = begin(&world).and_then(|lua| {
        files::execute(&lua, &world, name, source)?;
        let mut outcome = Outcome {
            globals: BTreeMap::new(),
            printed: world.printed.take(),
        };
        let all = lua.globals();
        let mut room = value::Room::new();
        for global in globals {
            let value = room.value(all.raw_get(*global)?, 0);
            let value = value.map_err(|message| world.stop(name, message))?;
            outcome
                .globals
                .extend(value.map(|value| ((*global).to_owned(), value)));
        }
        Ok(outcome)
    });
    done.map_err(|error| world.why(name, &error))
}

/// A Lua that has its bounds and its library.
fn begin(world: &Rc<World>) -> mlua::Result<Lua> {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE, LuaOptions::new())?;
    lua.set_memory_limit(MAX_LUA_MEMORY)?;
    library::furnish(&lua, world)?;
    let begun = world.host.time();
    let looks = Rc::clone(world);
    let hook = move |lua: &Lua, _: &mlua::debug::Debug<'_>| {
        let instructions = looks.instructions.get() + u64::from(LOOK);
        looks.instructions.set(instructions);
        let what = if instructions > MAX_LUA_INSTRUCTIONS {
            format!("it is not done after {MAX_LUA_INSTRUCTIONS} instructions")
        } else if looks.host.time().saturating_sub(begun) > MAX_LUA_TIME {
            format!("it is not done after {} s", MAX_LUA_TIME.as_secs())
        } else {
            return Ok(VmState::Continue);
        };
        Err(looks.stop(
            &looks.place(lua, 0),
            format!("{what}; does it run in a loop?"),
        ))
    };
    lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK), hook)?;
    Ok(lua)
}

impl World {
    /// Notes why it ends, and gives what ends it.
    fn stop(&self, place: &str, message: impl Into<String>) -> mlua::Error {
        let error = LuaError {
            place: place.to_owned(),
            message: message.into(),
        };
        let ended = mlua::Error::RuntimeError(error.to_string());
        self.stop.borrow_mut().get_or_insert(error);
        ended
    }

    /// The file and line of the program that is at this level: 0 is what runs, 1 what called it.
    fn place(&self, lua: &Lua, level: usize) -> String {
        let place = lua.inspect_stack(level, |debug| {
            let line = debug.current_line();
            let source = debug.source().short_src.map(std::borrow::Cow::into_owned);
            line.zip(source)
                .map(|(line, source)| format!("{source}:{line}"))
        });
        let running = || self.running.borrow().last().cloned().unwrap_or_default();
        place.flatten().unwrap_or_else(running)
    }

    /// Ends it, where the function was called that does.
    fn refuse(&self, lua: &Lua, message: impl Into<String>) -> mlua::Error {
        self.stop(&self.place(lua, 1), message)
    }

    fn print(&self, text: &str) {
        let mut printed = self.printed.borrow_mut();
        let left = MAX_LUA_PRINTED.saturating_sub(printed.len());
        printed.extend(text.chars().take(left / 4));
    }

    /// What it printed, behind a sentence.
    fn said(&self) -> String {
        let printed = self.printed.borrow();
        match printed.split_whitespace().collect::<Vec<_>>().join(" ") {
            nothing if nothing.is_empty() => String::new(),
            words => format!("; it said: {words}"),
        }
    }

    /// The first reason there was, in words for who wrote the file.
    fn why(&self, name: &str, error: &mlua::Error) -> LuaError {
        if let Some(stop) = self.stop.take() {
            return stop;
        }
        let message = match innermost(error) {
            mlua::Error::MemoryError(_) => {
                format!("it takes more than {} MiB of memory", MAX_LUA_MEMORY >> 20)
            }
            mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) => {
                message.clone()
            }
            other => other.to_string(),
        };
        if message.contains("not enough memory") {
            return LuaError {
                place: name.to_owned(),
                message: format!("it takes more than {} MiB of memory", MAX_LUA_MEMORY >> 20),
            };
        }
        // What follows is where it was called from, which is of little use in a configuration.
        let message = message
            .split("\nstack traceback:")
            .next()
            .unwrap_or_default();
        let (place, message) = split_place(message).unwrap_or((name, message));
        LuaError {
            place: place.to_owned(),
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

fn innermost(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::BadArgument { cause, .. } => {
            innermost(cause)
        }
        error => error,
    }
}

/// `FILE:LINE: MESSAGE` in two.
fn split_place(message: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let colon = message.get(from..)?.find(": ")? + from;
        let (place, rest) = message.split_at_checked(colon)?;
        let line = place.rsplit_once(':').map(|(_, line)| line);
        if line.is_some_and(|line| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())) {
            return Some((place, rest.strip_prefix(": ")?));
        }
        from = colon + 2;
    }
}

#[cfg(test)]
mod tests;
