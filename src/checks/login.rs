//! The login: may it do what the steps need?

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "login",
    title: "Login with root's rights",
    when: When::Before,
    judge,
    remedy: "Log in as root with a key, as Stackspin's own installer does; or say `sudo = true` in the inventory (`sudo_password` where sudo asks for a password), and every command is sent through sudo.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let login = now.login.get()?;
        let user = &login.user;
        Ok(if !login.root {
            Verdict::block(format!(
                "{user} is not root and may not become root without a password (`sudo_password` in the inventory, or `user`)"
            ))
        } else if login.uid == 0 {
            Verdict::pass(format!("commands run as {user}"))
        } else {
            Verdict::warn(format!(
                "{user} could become root through sudo, but without `sudo = true` in the inventory commands run as {user}, and what needs \
                 root will fail"
            ))
        })
    })
}
