//! `crtmpserver demo`: a master, two mirrors and an encoder in one process.
