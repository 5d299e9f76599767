//! A real Kubernetes API server on loopback: etcd, kube-apiserver and kube-controller-manager, as `tests/real/make` makes them.
//!
//! The processes belong to the test and end with it, whatever becomes of it. Nothing of them is reached from elsewhere.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A server starts within seconds; on a machine that is busy with other tests it may take many.
const PATIENCE: Duration = Duration::from_secs(120);

/// The controllers that run. Without the one of Jobs: nothing here runs a container to its end.
const CONTROLLERS: &str = "namespace,garbagecollector,serviceaccount,persistentvolume-binder,pvc-protection,pv-protection,deployment,\
                           replicaset,statefulset,daemonset";

/// The folder with the four programs, where it is whole.
pub(crate) fn set() -> Option<PathBuf> {
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/make");
    let output = Command::new(make).arg("--where").output().unwrap();
    let set = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let programs = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];
    programs.iter().all(|name| set.join(name).is_file()).then_some(set)
}

/// A cluster's control plane, running or stopped.
pub(crate) struct Server {
    set: PathBuf,
    /// Certificates, keys, logs.
    files: PathBuf,
    /// Where the datastore lies.
    data: PathBuf,
    ports: [u16; 3],
    running: Mutex<Vec<Child>>,
    proxy: Child,
    door: u16,
}

impl Server {
    /// Starts one. `data` is the folder for its datastore; `kubeconfig` gets what k3s writes into its own.
    pub(crate) fn start(set: &Path, files: &Path, data: &Path, kubeconfig: &Path) -> Self {
        fs::create_dir_all(files).unwrap();
        let ports = [(); 3].map(|()| free_port());
        certificates(files);
        fs::write(kubeconfig, config(files, ports[2])).unwrap();
        let mut proxy = Command::new(set.join("kubectl"))
            .arg("proxy")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--port=0", "--keepalive=1s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let door = said.trim().rsplit(':').next().unwrap().parse().unwrap();
        let (set, files, data) = (set.to_owned(), files.to_owned(), data.to_owned());
        let server = Self { set, files, data, ports, running: Mutex::default(), proxy, door };
        server.up();
        server
    }

    /// What `systemctl start k3s` does: returns when the API answers.
    pub(crate) fn up(&self) {
        let mut running = self.running.lock().unwrap();
        if !running.is_empty() {
            return;
        }
        let [etcd, peer, api] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        running.push(self.spawn(
            "etcd",
            &[
                format!("--data-dir={}", self.data.join("etcd-data").display()),
                format!("--listen-client-urls=http://{etcd}"),
                format!("--advertise-client-urls=http://{etcd}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--initial-cluster=default=http://{peer}"),
            ],
        ));
        let file = |name: &str| self.files.join(name).display().to_string();
        running.push(self.spawn(
            "kube-apiserver",
            &[
                format!("--etcd-servers=http://{etcd}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", self.ports[2]),
                // No endpoint of it is made: nothing runs in the cluster that could reach it.
                "--advertise-address=203.0.113.10".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                "--allow-privileged=true".to_owned(),
                // A service is asked at its endpoints. It has none here: nobody's network is asked for its name or address.
                "--enable-aggregator-routing=true".to_owned(),
                "--service-cluster-ip-range=10.43.0.0/16".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
                format!("--service-account-key-file={}", file("accounts.key")),
                format!("--service-account-signing-key-file={}", file("accounts.key")),
                format!("--client-ca-file={}", file("ca.crt")),
                format!("--tls-cert-file={}", file("server.crt")),
                format!("--tls-private-key-file={}", file("server.key")),
                format!("--cert-dir={}", self.files.display()),
                // Pods of the tests' own making have no service accounts of their own.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
            ],
        ));
        drop(running);
        self.wait("the API answers", || self.call("GET", "/readyz", None).0 == 200);
        self.wait("the namespaces that every cluster has", || {
            self.find("/api/v1/namespaces/kube-system").is_some()
        });
        let kubeconfig = self.files.join("admin.yaml");
        fs::write(&kubeconfig, config(&self.files, self.ports[2])).unwrap();
        let manager = self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--master=https://{api}"),
                format!("--controllers={CONTROLLERS}"),
                "--leader-elect=false".to_owned(),
                "--port=0".to_owned(),
                "--secure-port=0".to_owned(),
                // How often it looks again at what it was not told of: k3s has 15 s.
                "--pvclaimbinder-sync-period=1s".to_owned(),
            ],
        );
        self.running.lock().unwrap().push(manager);
    }

    /// What `systemctl stop k3s` does. The names of all objects are written into a `state.db` as k3s' would hold them: etcd is what runs
    /// here, and it is no datastore that a backup could be proven of.
    pub(crate) fn down(&self) {
        let mut running = self.running.lock().unwrap();
        if running.is_empty() {
            return;
        }
        // Nobody writes any more when the names are read.
        for child in running.iter_mut().skip(1).rev() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.write_names();
        let etcd = &mut running[0];
        Command::new("kill").arg(etcd.id().to_string()).status().unwrap();
        etcd.wait().unwrap();
        running.clear();
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        !self.running.lock().unwrap().is_empty()
    }

    fn write_names(&self) {
        let [from, to] = ["/registry/", "/registry0"].map(|key| STANDARD.encode(key));
        let ask = json!({"key": from, "range_end": to, "keys_only": true});
        let (status, answer) = http(self.ports[0], "POST", "/v3/kv/range", Some(&ask)).unwrap();
        assert_eq!(status, 200, "{answer}");
        let state = self.data.join("db/state.db");
        let _ = fs::remove_file(&state);
        let mut database = rusqlite::Connection::open(state).unwrap();
        let transaction = database.transaction().unwrap();
        transaction
            .execute_batch(
                "CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, deleted INTEGER);",
            )
            .unwrap();
        for pair in answer["kvs"].as_array().unwrap() {
            let name = String::from_utf8(STANDARD.decode(pair["key"].as_str().unwrap()).unwrap()).unwrap();
            transaction.execute("INSERT INTO kine (name, deleted) VALUES (?1, 0)", [&name]).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// A program of the set. The kernel ends it with the thread that has started it, should that die without a word.
    fn spawn(&self, name: &str, words: &[String]) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(name)).unwrap();
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(self.set.join(name))
            .args(words)
            // Nothing of whoever runs the tests: no proxy is to hear of this. They live for a minute: to tidy up their memory is not worth the time.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GOGC", "400")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.files.join(format!("{name}.log"))
    }

    /// Waits until it is so; where it never is, the servers' last words are told.
    pub(crate) fn wait(&self, what: &str, mut so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !so() {
            let said = || {
                ["etcd", "kube-apiserver", "kube-controller-manager"].map(|name| {
                    let log = fs::read_to_string(self.log(name)).unwrap_or_default();
                    format!("{name}:\n{}\n", log.lines().rev().take(8).collect::<Vec<_>>().join("\n"))
                })
            };
            assert!(began.elapsed() < PATIENCE, "not so: {what}\n{}", said().concat());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Calls the API: the status, and what it says. 0 while it is away.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        http(self.door, method, path, body).unwrap_or_default()
    }

    /// The same, and it must be done.
    #[track_caller]
    pub(crate) fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, said) = self.call(method, path, Some(body));
        assert!((200..300).contains(&status), "{method} {path}: {status} {said}\n{body:#}");
        said
    }

    /// One object; `None` where it is not there.
    pub(crate) fn find(&self, path: &str) -> Option<Value> {
        let (status, object) = self.call("GET", path, None);
        (status == 200).then_some(object)
    }

    /// The items of a list; none while the API is away.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let items = self.find(path).map(|mut list| list["items"].take());
        items.and_then(|items| items.as_array().cloned()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for child in running.iter_mut().chain([&mut self.proxy]) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A port that nobody listens at, below those that the system gives to whoever asks for any: between two starts of a server nobody gets it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(20_000 + std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One call; a PATCH is a merge patch. HTTP/1.0, so that the answer ends with the connection.
fn http(port: u16, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
    let mut line = TcpStream::connect(("127.0.0.1", port))?;
    line.set_read_timeout(Some(Duration::from_secs(60)))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if method == "PATCH" { "merge-patch+json" } else { "json" };
    write!(
        line,
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/{kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    line.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok((status, serde_json::from_str(body).unwrap_or_else(|_| json!(body))))
}

/// Keys and certificates as k3s makes them for itself.
fn certificates(files: &Path) {
    let openssl = |words: &str| {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(files).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650";
    openssl(&format!("req -x509 {key} -subj /CN=k3s-server-ca -keyout ca.key -out ca.crt"));
    for (name, subject, names) in [
        ("server", "/CN=k3s", " -addext subjectAltName=IP:127.0.0.1"),
        ("admin", "/O=system:masters/CN=system:admin", ""),
    ] {
        openssl(&format!(
            "req -x509 {key} -CA ca.crt -CAkey ca.key -subj {subject} -addext basicConstraints=critical,CA:FALSE{names} \
             -keyout {name}.key -out {name}.crt"
        ));
    }
    openssl("genrsa -out accounts.key 2048");
}

/// A kubeconfig as k3s writes it.
fn config(files: &Path, port: u16) -> String {
    let data = |name: &str| STANDARD.encode(fs::read(files.join(name)).unwrap());
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://127.0.0.1:{port}\n  name: default\n\
         contexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\nkind: Config\npreferences: {{}}\n\
         users:\n- name: default\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        data("ca.crt"),
        data("admin.crt"),
        data("admin.key")
    )
}
