//! The backup: the steps that save a cluster, the folder that holds it, and the proof that it is whole.
//!
//! The copying itself is done by `run`; here is what is to be copied, how it is laid out, and the independent reader that
//! proves it. In reading order: [`steps`](fn@steps), [`Folder`], [`manifest`], what the copy writes ([`sink`], [`sums`], [`objects`],
//! [`local`]), what reads it back ([`reader`], [`datastore`], [`prove`]), and how it is put back ([`restore`]).

mod folder;
mod proof;
mod steps;

pub mod datastore;
pub mod local;
pub mod manifest;
pub mod objects;
pub mod reader;
pub mod restore;
pub mod sink;
pub mod sums;

pub use folder::{Folder, of_cluster, of_root};
pub use proof::{NOT_PROVEN, Proven, prove};
pub use steps::{allowed, steps};
