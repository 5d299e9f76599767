//! Simulated hosts, and a provisioning machine with a stand-in for upstream's repository.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use fleet::lab::HostSpec;

use crate::lab_support::{Bench, Ran, acknowledging};

/// Hosts, and a provisioning machine with upstream's repository.
pub(crate) struct Upstream {
    pub(crate) bench: Bench,
    pub(crate) checkout: PathBuf,
}

impl Upstream {
    pub(crate) fn new(specs: Vec<HostSpec>) -> Self {
        let mut bench = Bench::new(specs);
        let inventory = bench.lab.inventory().join("lab.toml");
        let text = fs::read_to_string(&inventory).unwrap();
        // As in a checkout of upstream's, the clusters are there and no part of it.
        let checkout = bench.path("stackspin");
        fs::create_dir(&checkout).unwrap();
        symlink(bench.lab.inventory().with_file_name("clusters"), checkout.join("clusters")).unwrap();
        let bin = bench.path("bin");
        super::make(&checkout, &bin);
        let python = bin.join("python");
        let named =
            format!("stackspin = '{}'\npython = '{}'\npaths = ", checkout.display(), python.display());
        fs::write(&inventory, text.replace("\npaths = ", &format!("\n{named}"))).unwrap();
        let mut programs = OsString::from(bin);
        programs.push(":");
        programs.push(std::env::var_os("PATH").unwrap());
        bench.programs = Some(programs);
        Self { bench, checkout }
    }

    /// The binary with the bench's own places, and with the programs of a provisioning machine.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.bench.command(words)
    }

    pub(crate) fn fleet(&self, words: &[&str]) -> Ran {
        self.bench.fleet(words)
    }

    pub(crate) fn upgrade(&self, more: &[&str]) -> Ran {
        self.fleet(&acknowledging(&["upgrade", "--to", "2"], more))
    }

    /// Goes on with the newest run.
    pub(crate) fn resume(&self) -> Ran {
        self.fleet(&["resume", &self.run()])
    }

    /// What upstream's scripts were run for a cluster, in order.
    pub(crate) fn ran(&self, cluster: &str) -> Vec<String> {
        let log = self.checkout.join("clusters").join(cluster).join("ran.log");
        fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The id of the newest run.
    pub(crate) fn run(&self) -> String {
        self.bench.run().file_name().unwrap().to_str().unwrap().to_owned()
    }
}
