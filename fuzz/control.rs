//! Of the control socket and of the command line the lines alone: the rest has sockets and files.

#[path = "../src/control/protocol.rs"]
pub mod protocol;
#[path = "verbs.rs"]
pub mod verbs;
