//! Folds of the journal.
mod plan;
pub use plan::{plan_text, size, span};
