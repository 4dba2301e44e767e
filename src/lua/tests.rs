//! Loaders as people have them, and files that want what they may not have.

use std::cell::Cell;

use super::*;

/// Files in memory; time passes with each look at it.
struct Memory {
    files: Vec<(&'static str, &'static str)>,
    looks: Cell<u32>,
    each: Duration,
}

impl Host for Memory {
    fn read(&self, name: &str) -> Result<Vec<u8>, Unread> {
        if name.starts_with('/') && !name.starts_with("/etc/crtmpserver/") {
            return Err(Unread::Refused("lies outside".into()));
        }
        let found = self.files.iter().find(|(known, _)| *known == name);
        let text = found.map(|(_, text)| text.as_bytes().to_vec());
        text.ok_or(Unread::Missing)
    }

    fn time(&self) -> Duration {
        self.looks.set(self.looks.get() + 1);
        self.each * self.looks.get()
    }
}

fn with(files: &[(&'static str, &'static str)], source: &str) -> Result<Outcome, LuaError> {
    let host = Memory {
        files: files.to_vec(),
        looks: Cell::new(0),
        each: Duration::ZERO,
    };
    run(
        "main.lua",
        source.as_bytes(),
        &["configuration", "users"],
        host,
    )
}

fn result(source: &str) -> Result<Value, LuaError> {
    let mut outcome = with(&[], &format!("configuration = {source}"))?;
    let value = outcome.globals.remove("configuration");
    Ok(value.unwrap_or(Value::Other("nil")))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn tables_become_values() {
    let value =
        result("{ b = { 'x', 'y', [10] = true }, a = 1.5, port = 1935, f = print, no = nil }");
    let Ok(Value::Table(table)) = value else {
        panic!("{value:?}");
    };
    let keys: Vec<String> = table.0.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["a", "b", "f", "port"]);
    assert_eq!(table.get("a"), Some(&Value::Number(1.5)));
    assert_eq!(table.get("port"), Some(&Value::Number(1935.0)));
    assert_eq!(table.get("f"), Some(&Value::Other("function")));
    let Some(Value::Table(list)) = table.get("b") else {
        panic!("{table:?}");
    };
    let wanted = [
        (Key::Place(1), text("x")),
        (Key::Place(2), text("y")),
        (Key::Place(10), Value::Flag(true)),
    ];
    assert_eq!(list.0, wanted);
}

/// A loader of the form that Debian's package had: names from a file, a file for each.
const LOADER: &str = r##"
local folder = "/etc/crtmpserver"
local names = folder .. "/enabled_applications.conf"
function there(name)
    local file = io.open(name, "r")
    if file then return true else return false end
end
function all()
    local list = { rootDirectory = "/usr/lib/crtmpserver/applications" }
    for line in io.lines(names) do
        line = (line:gsub("^%s*(.-)%s*$", "%1"))
        -- the escape is none that later Luas take
        if not (line:match("^#.*$") or line:match("^$") or line:match("^\s+$")) then
            local file = folder .. "/applications/" .. line .. ".lua"
            if not there(file) then
                print("no file '" .. file .. "'")
                os.exit()
            end
            application = nil
            dofile(file)
            table.insert(list, application)
        end
    end
    return list
end
if not there(names) then
    print("no list")
    return
end
configuration = { daemon = true, applications = all() }
"##;

#[test]
fn a_loader_loads() {
    let files = [
        (
            "/etc/crtmpserver/enabled_applications.conf",
            "# those that run\n\n  appselector\r\n#vptests\nflvplayback \n",
        ),
        (
            "/etc/crtmpserver/applications/appselector.lua",
            "application = { name = 'appselector' }",
        ),
        (
            "/etc/crtmpserver/applications/flvplayback.lua",
            "#!/usr/bin/lua\napplication = { name = 'flvplayback', aliases = { 'live', } }",
        ),
    ];
    let outcome = with(&files, LOADER).unwrap();
    let Some(Value::Table(all)) = outcome.globals.get("configuration") else {
        panic!("{outcome:?}");
    };
    let Some(Value::Table(list)) = all.get("applications") else {
        panic!("{all:?}");
    };
    let names: Vec<Option<&str>> = list
        .0
        .iter()
        .map(|(_, value)| match value {
            Value::Table(table) => table.text("name"),
            _ => None,
        })
        .collect();
    assert_eq!(names, [Some("appselector"), Some("flvplayback"), None]);

    // One of them is missing: the loader says so and gives up.
    let error = with(&files[..2], LOADER).unwrap_err();
    assert_eq!(error.place, "main.lua:17");
    assert!(
        error.message.contains("os.exit") && error.message.contains("flvplayback.lua"),
        "{error}"
    );
    // The list is missing: nothing is left behind but what it printed.
    let outcome = with(&[], LOADER).unwrap();
    assert_eq!(outcome.globals.len(), 0);
    assert_eq!(outcome.printed.trim(), "no list");
}

#[test]
fn it_has_a_library_that_computes() {
    for (source, wanted) in [
        ("('a'):rep(3)", "aaa"),
        ("string.format('%s:%d', 'host', 80)", "host:80"),
        ("('x = 1'):match('=%s*(%d)')", "1"),
        ("('a,b'):gsub(',', ';')", "a;b"),
        ("('abc'):gsub('', '-')", "-a-b-c-"),
        ("('hello'):gsub('l', '%0%0', 1)", "helllo"),
        ("('name'):upper()", "NAME"),
        ("table.concat({ 'a', 'b' }, '/')", "a/b"),
        ("tostring(12) .. type({})", "12table"),
        ("'\\/'", "/"),
        ("select(2, 'a', 'b')", "b"),
    ] {
        assert_eq!(result(source), Ok(text(wanted)), "{source}");
    }
    assert_eq!(result("('a.b'):find('.', 1, true)"), Ok(Value::Number(2.0)));
    assert_eq!(result("tonumber('0x10')"), Ok(Value::Number(16.0)));
    assert_eq!(
        result("#{ 1, 2 } + table.getn({ 3 })"),
        Ok(Value::Number(3.0))
    );
    assert_eq!(result("nothing"), Ok(Value::Other("nil")));
    let words = "(function() local t = {} for w in ('a b c'):gmatch('%a') do t[#t + 1] = w end return t[3] end)()";
    assert_eq!(result(words), Ok(text("c")));
    let lines = with(
        &[("list", "one\ntwo")],
        "local f = io.open('list') configuration = f:read() .. f:read('*a') f:close() for l in io.lines('list') do users = l end",
    )
    .unwrap();
    assert_eq!(lines.globals.get("configuration"), Some(&text("onetwo")));
    assert_eq!(lines.globals.get("users"), Some(&text("two")));
}

#[test]
fn what_it_may_not_have_is_told() {
    for (source, wanted) in [
        ("os.execute('reboot')", "os.execute is not there"),
        ("os.getenv('HOME')", "os.getenv is not there"),
        ("os.remove('x')", "os.remove is not there"),
        ("io.popen('ls')", "io.popen is not there"),
        ("io.open('list', 'w')", "may only read"),
        ("io.lines('/etc/passwd')", "lies outside"),
        ("io.open('/etc/passwd')", "lies outside"),
        ("dofile('/etc/passwd')", "lies outside"),
        ("dofile('nothing.lua')", "no such file"),
        ("require('socket')", "require is not there"),
        ("loadstring('x = 1')", "loadstring is not there"),
        ("load(print)", "load is not there"),
        ("pcall(print)", "pcall is not there"),
        ("xpcall(print)", "xpcall is not there"),
        ("setmetatable({}, {})", "setmetatable is not there"),
        ("coroutine.create(print)", "is not there"),
        ("debug.getinfo(1)", "is not there"),
        ("package.loadlib('x', 'y')", "is not there"),
        ("string.dump(print)", "string.dump is not there"),
        ("table.sort({})", "table.sort is not there"),
        ("getfenv()", "getfenv is not there"),
        ("collectgarbage('stop')", "collectgarbage is not there"),
        ("('x'):gsub('x', print)", "no function"),
        ("('x'):match('[')", "malformed pattern"),
    ] {
        let error = with(&[], &format!("\nusers = {source}")).unwrap_err();
        assert_eq!(error.place, "main.lua:2", "{source}: {error}");
        assert!(error.message.contains(wanted), "{source}: {error}");
    }
    let error = with(&[], "\x1bLua").unwrap_err();
    assert!(error.message.contains("compiled"), "{error}");
    let error = with(&[("bad.lua", "x = = 1")], "\ndofile('bad.lua')").unwrap_err();
    assert!(error.place.starts_with("bad.lua:1"), "{error}");
    for (source, place) in [
        ("x = {", "main.lua:1"),
        ("\nx.y = 1", "main.lua:2"),
        ("error('my own word')", "main.lua:1"),
        ("assert(false, 'my own word')", "main.lua:1"),
    ] {
        let error = with(&[], source).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(!error.message.contains('\n'), "{error}");
    }
}

#[test]
fn it_ends_whatever_it_does() {
    for (source, wanted) in [
        ("while true do end", "instructions"),
        ("repeat local x = {} until false", "instructions"),
        ("local function f() return f() end f()", "instructions"),
        (
            "local function f() return 1 + f() end f()",
            "stack overflow",
        ),
        ("local s = 'x' while true do s = s .. s end", "memory"),
        ("local t = {} for i = 1, 1e9 do t[i] = i end", "memory"),
        ("local s = ('x'):rep(1e9)", "memory"),
        ("local s = (''):rep(1e18) while true do end", "instructions"),
        (
            "local s = ('x'):rep(1e6):gsub('x', ('y'):rep(1e4))",
            "memory",
        ),
        ("('a'):rep(60):find(('a*'):rep(30) .. 'b')", "patterns"),
        ("while true do ('x'):rep(1e5):find('y') end", "patterns"),
        ("dofile('self.lua')", "deep"),
        ("while true do io.open('self.lua') end", "at most"),
        ("configuration = {} configuration.x = configuration", "deep"),
        (
            "configuration = {} for i = 1, 20000 do configuration[i] = i end",
            "values",
        ),
        (
            "configuration = {} for i = 1, 40 do configuration[i] = ('x'):rep(1e5) end",
            "text",
        ),
    ] {
        let error = with(&[("self.lua", "dofile('self.lua')")], source).unwrap_err();
        assert!(error.message.contains(wanted), "{source}: {error}");
    }
    for source in [
        "while true do end",
        "local s = ('x'):rep(1e6) while true do local t = s .. 'y' end",
    ] {
        let host = Memory {
            files: Vec::new(),
            looks: Cell::new(0),
            each: Duration::from_millis(100),
        };
        let error = run("main.lua", source.as_bytes(), &[], host).unwrap_err();
        assert!(error.message.contains("after 2 s"), "{error}");
        assert_eq!(error.place, "main.lua:1");
    }
}

#[test]
fn places_are_found_in_messages() {
    assert_eq!(
        split_place("a.lua:7: no: way"),
        Some(("a.lua:7", "no: way"))
    );
    assert_eq!(split_place("odd: a.lua:7: x"), Some(("odd: a.lua:7", "x")));
    assert_eq!(split_place("nothing: there"), None);
}
