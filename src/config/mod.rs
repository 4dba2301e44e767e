//! Configuration: built-in defaults, the file, conf.d, the environment, flags; checked before anything is opened.
