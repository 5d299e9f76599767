//! Finding the processes of a script again, whoever started it and whatever has become of that process.

use std::fs;

use rustix::process::Pid;

use super::MARK;

/// Processes of this user on this machine that carry the mark, lowest number first.
#[must_use]
pub fn alive(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // What is another user's, or has ended meanwhile, cannot be read.
    let carries = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|said| said == wanted.as_bytes()))
    };
    let mut found: Vec<i32> = pids.filter(carries).collect();
    found.sort_unstable();
    found.into_iter().filter_map(Pid::from_raw).collect()
}
