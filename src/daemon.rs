//! Start order and stop order, readable from top to bottom.
