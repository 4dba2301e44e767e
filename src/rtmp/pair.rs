//! A client and a server machine on a virtual clock.
