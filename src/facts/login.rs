//! Who is logged in and whether they may do what the steps need.

use serde::{Deserialize, Serialize};

use crate::remote::Command;

/// The login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's number; 0 is root.
    pub uid: u32,
    /// Whether commands run as root (root itself, or sudo without a password).
    pub root: bool,
}

/// Asks who we are.
#[must_use]
pub fn ask() -> Command {
    Command::new(
        r#"id -u && id -un && if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then echo root; else echo plain; fi"#,
    )
}

/// Reads the answer.
pub fn read(answer: &str) -> Result<Login, String> {
    let mut lines = answer.lines().map(str::trim);
    let uid = lines.next().and_then(|uid| uid.parse().ok()).ok_or("id told no user number")?;
    let user = lines.next().filter(|user| !user.is_empty()).ok_or("id told no user name")?;
    let root = match lines.next() {
        Some("root") => true,
        Some("plain") => false,
        _ => return Err("the host did not tell whether commands run as root".to_owned()),
    };
    Ok(Login { user: user.to_owned(), uid, root })
}
