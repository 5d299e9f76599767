//! A simulated host's k3s: stopped and started, its datastore, and the controllers' hours of work.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::datastore;
use super::faults::Fault;
use super::flux::World;
use super::host::{BREATH, Host, Power, State, lock};
use super::kinds::{NODE, POD};
use super::store::{Key, Store};

impl Host {
    /// Writes the datastore.
    pub fn flush(&self) -> io::Result<()> {
        let path = self.k3s_data().join("server/db/state.db");
        datastore::write(&path, &mut self.store()).map_err(io::Error::other)
    }

    /// `systemctl stop k3s`: the API goes away, containers run on.
    pub async fn stop_k3s(&self) -> io::Result<()> {
        if self.state().power == Power::Running {
            self.state.send_modify(|state| state.power = Power::Stopped);
            self.flush()?;
        }
        self.state.send_modify(|state| state.power = Power::Stopped);
        self.api_is(false).await;
        Ok(())
    }

    /// Waits until the API's port is open, or closed: `systemctl` returns when that is so.
    async fn api_is(&self, open: bool) {
        if open && self.has(&Fault::ApiAway) {
            return;
        }
        // The port follows within a moment; a lab that is about to end must not hang here.
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", self.api.number())).await.is_ok() == open {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What `k3s-killall.sh` does besides: containers end.
    pub async fn kill_containers(&self) -> io::Result<()> {
        self.stop_k3s().await?;
        self.state.send_modify(|state| state.containers = false);
        Ok(())
    }

    /// `systemctl start k3s`: the cluster is what the datastore holds.
    pub async fn start_k3s(&self) -> Result<(), String> {
        if self.state().power == Power::Running {
            return Ok(());
        }
        self.state.send_modify(|state| state.power = Power::Starting);
        tokio::time::sleep(self.spec.pace.boot).await;
        if let Err(why) = self.load() {
            self.state.send_modify(|state| state.power = Power::Failed);
            return Err(why);
        }
        self.state.send_modify(|state| {
            state.power = Power::Running;
            state.containers = true;
            state.starts += 1;
        });
        self.api_is(true).await;
        Ok(())
    }

    fn load(&self) -> Result<(), String> {
        if self.has(&Fault::K3sWontStart) {
            return Err("starting kubernetes: preparing server: start cluster and https: listen tcp :6443: bind: address already in use".to_owned());
        }
        let path = self.k3s_data().join("server/db/state.db");
        let (objects, revision) =
            datastore::read(&path).map_err(|error| format!("the datastore: {error}"))?;
        let killed = !self.state().containers;
        let mut store = self.store();
        store.load(objects, revision);
        store.edit(&Key::new(NODE, "", self.spec.name.clone()), |node| {
            set_ready(node, "False");
        });
        if killed {
            set_pods(&mut store, false);
        }
        Ok(())
    }

    /// The controllers' work, for as long as the lab runs.
    pub(super) async fn control(self: Arc<Self>) {
        let mut state = self.follow();
        let storage = self.storage();
        let mut controllers = lock(&self.made).take();
        loop {
            let Ok(starts) =
                state.wait_for(|state| state.power == Power::Running).await.map(|state| state.starts)
            else {
                return;
            };
            // A stop and a start may both have gone by when this looks again.
            let running = |state: &State| state.power == Power::Running && state.starts == starts;
            let mut remembered = controllers.take();
            if remembered.is_none() {
                // k3s has just started: the node and its pods come up before anything else happens.
                tokio::time::sleep(self.spec.pace.boot).await;
                let mut store = self.store();
                store.edit(&Key::new(NODE, "", self.spec.name.clone()), |node| {
                    set_ready(node, "True");
                });
                set_pods(&mut store, true);
            }
            let mut controllers = remembered.take().unwrap_or_default();
            while running(&self.state.borrow()) {
                let next = {
                    let faults = self.state.borrow().faults.clone();
                    let world = World { spec: &self.spec, faults: &faults, storage: &storage };
                    controllers.pass(&mut self.store(), &world, Instant::now())
                };
                let next =
                    next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
                tokio::select! {
                    () = tokio::time::sleep(next.max(BREATH)) => {}
                    () = self.poked.notified() => tokio::time::sleep(BREATH).await,
                    changed = state.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

fn set_ready(object: &mut Value, status: &str) {
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == json!("Ready") {
            condition["status"] = json!(status);
        }
    }
}

/// Pods of the system come up after the containers were killed.
fn set_pods(store: &mut Store, ready: bool) {
    let pods: Vec<Key> = ["kube-system", "flux-system"]
        .iter()
        .flat_map(|namespace| store.list(POD, Some(namespace)))
        .map(|(key, _)| key.clone())
        .collect();
    for key in pods {
        store.edit(&key, |pod| {
            set_ready(pod, if ready { "True" } else { "False" });
            pod["status"]["containerStatuses"][0]["ready"] = json!(ready);
        });
    }
}
