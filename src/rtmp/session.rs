//! What both machines share: acknowledgements, pings, control messages.
