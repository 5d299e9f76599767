//! All that this process logs, for tests of what must not be in it: `mod traced;`, then `Traced::begin()`, once in a process.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

/// What is logged in this process, at every level.
#[derive(Clone, Default)]
pub(crate) struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    pub(crate) fn begin() -> Self {
        let traced = Self::default();
        let writer = traced.clone();
        tracing_subscriber::fmt()
            .with_env_filter(format!("trace,{}", fleet::ssh::QUIET))
            .with_writer(move || writer.clone())
            .init();
        traced
    }

    /// What was logged so far: a login at least, or nothing is captured.
    pub(crate) fn said(&self) -> String {
        let said = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(said.contains("logged in"), "nothing was captured: {said}");
        said
    }
}

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
