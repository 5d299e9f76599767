//! Folds of the journal.
