//! Host keys against a real OpenSSH server, with the real OpenSSH client as judge: who of the two accepts what.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod sshd;

#[path = "hostkeys/certificates.rs"]
mod certificates;
#[path = "hostkeys/generated.rs"]
mod generated;
#[path = "hostkeys/judges.rs"]
mod judges;
#[path = "hostkeys/lines.rs"]
mod lines;
#[path = "hostkeys/scan.rs"]
mod scan;
