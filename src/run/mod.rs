//! One plan on one cluster, step by step.

pub mod copy;
pub mod scribe;

pub use scribe::{Scribe, Trouble};
