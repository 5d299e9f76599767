//! `fleet` upgrades many Stackspin clusters at once over SSH.
//!
//! This page is the map of the house. The modules stand in reading order, floor by floor; a module uses
//! its own floor and the floors above it in this list, never a later one (`tests/house.rs` holds that).
//! What each idea is for is told in `docs/architecture.md`.

// floor: words. Data spoken everywhere; no I/O.
pub mod event;
pub mod form;
pub mod plan;
pub mod remote;
pub mod version;

// floor: knowledge. What a cluster is and what to do; pure, but for the doors `inventory::load`,
// `facts::gather` and `backup::prove`; `files` is how all of them write.
pub mod backup;
pub mod checks;
pub mod facts;
pub mod files;
pub mod fingerprint;
pub mod flux_env;
pub mod inventory;
pub mod migrations;
pub mod planner;
pub mod probes;
pub mod remedies;

// floor: world. The only files that touch network and disk while a cluster is worked on.
pub mod jobs;
pub mod journal;
pub mod kubeconfig;
pub mod lock;
pub mod plan_file;
pub mod spool;
pub mod ssh;
pub mod state;
pub mod truce;
pub mod upstream;
pub mod window;

// floor: work. One plan on one cluster; many clusters.
pub mod rollout;
pub mod run;

// floor: faces. What people see and type.
pub mod cli;
pub mod commands;
pub mod lab;
pub mod report;
