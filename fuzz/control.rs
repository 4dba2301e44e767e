//! Of the control socket the lines alone: the rest has sockets and files.

#[path = "../src/control/protocol.rs"]
pub mod protocol;
