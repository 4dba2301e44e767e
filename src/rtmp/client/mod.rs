//! The client machine: players, encoders and pulls.
