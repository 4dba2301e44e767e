//! The mirror's side: the control connection to its master and one pull for each stream.
