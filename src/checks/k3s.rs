//! The k3s service and its datastore, which the backup copies while k3s stands still.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;
use crate::facts::k3s::Datastore;
use crate::form::bytes;

pub(super) const CHECK: Check = Check {
    id: "k3s",
    title: "k3s service and datastore",
    when: When::Always,
    judge,
    remedy: "Look at `systemctl status k3s` and `journalctl -u k3s -n 100`. Where the program is newer than what runs, restart \
             k3s at a quiet time (`systemctl restart k3s`), so that the upgrade does not do it unasked.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let k3s = now.k3s.get()?;
        let nodes = now.nodes.get()?;
        let version = &k3s.version;
        if k3s.service != "active" {
            return Ok(Verdict::block(format!("the service k3s is {:?}, not active", k3s.service)));
        }
        // The backup restarts k3s, and would bring the other version up with it.
        let other = nodes.iter().find(|node| node.version != *version);
        Ok(match (k3s.datastore, other) {
            (Datastore::Absent, _) => Verdict::block(
                "no datastore is on the host: a database elsewhere cannot be backed up from here",
            ),
            (_, Some(node)) => Verdict::warn(format!(
                "the program is {version}, but {} runs {}: the next restart changes k3s",
                node.name, node.version
            )),
            (Datastore::Etcd, None) => {
                Verdict::warn(format!("{version} is active with etcd, where Stackspin has sqlite"))
            }
            (Datastore::Sqlite, None) => {
                Verdict::pass(format!("{version} is active, its datastore has {}", bytes(k3s.size)))
            }
        })
    })
}
