//! Of the command line the grammar alone.

#[path = "../src/control/verbs/grammar.rs"]
pub mod grammar;
