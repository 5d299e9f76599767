//! The measuring ends of `tests/bench/peers`: what needs the library rather than the binary, a server for thousands of sessions, and a line
//! with a delay. Without arguments it does nothing, so that `cargo test --all-targets` may run it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a measurement that cannot be taken ends here"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::inventory::{self, Cluster, Selection};
use fleet::remote::{Command, Remote};
use fleet::rollout;
use fleet::ssh::{Limits, Network};
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match words[..] {
            // The second is a filter for the names of tests.
            [] | [_] => {}
            ["commands", inventory, parallel, each] => {
                commands(clusters(inventory), number(parallel), number(each)).await;
            }
            ["pull", inventory, bytes] => pull(clusters(inventory), number(bytes)).await,
            ["sessions", inventory] => sessions(clusters(inventory)).await,
            ["serve", listen, keys] => serve(listen, keys).await,
            ["delay", listen, target, ms] => delay(listen, target, number(ms)).await,
            _ => panic!("not understood: {words:?}"),
        }
    });
}

fn number(word: &str) -> usize {
    word.parse().unwrap()
}

fn clusters(inventory: &str) -> Vec<Cluster> {
    let all = Selection { all: true, ..Selection::default() };
    all.of(&inventory::load(inventory.as_ref()).unwrap()).unwrap()
}

/// So many commands on each cluster, one after the other over one connection.
async fn commands(clusters: Vec<Cluster>, parallel: usize, each: usize) {
    let network = Network::new(Limits::default());
    let results = rollout::each(clusters, parallel, |cluster| {
        let network = Arc::clone(&network);
        async move {
            let session = network.connect(&cluster.host).await.unwrap();
            for _ in 0..each {
                assert!(session.run(&Command::new("true"), &mut std::io::sink()).await.unwrap().success());
            }
            session.close().await;
        }
    })
    .await;
    results.into_values().for_each(Result::unwrap);
}

/// So many bytes from every cluster at once.
async fn pull(clusters: Vec<Cluster>, bytes: usize) {
    let network = Network::new(Limits::default());
    let count = clusters.len();
    let results = rollout::each(clusters, count, |cluster| {
        let network = Arc::clone(&network);
        async move {
            let session = network.connect(&cluster.host).await.unwrap();
            let command = Command::new("head -c").arg(bytes.to_string()).fixed("/dev/zero");
            let mut sink = Counted(0);
            let ended = session.stream(&command.deadline(Duration::from_secs(600)), &mut sink).await.unwrap();
            assert!(ended.success() && sink.0 == bytes);
            session.close().await;
        }
    })
    .await;
    results.into_values().for_each(Result::unwrap);
}

/// A sink that only counts.
struct Counted(usize);

impl tokio::io::AsyncWrite for Counted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0 += bytes.len();
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

/// All clusters' sessions open at once: what each takes of memory and, while idle, of the processor.
async fn sessions(clusters: Vec<Cluster>) {
    let count = clusters.len();
    let network = Network::new(Limits::default());
    // One more than there are sessions: whoever measures.
    let (open, measured) = (Arc::new(Barrier::new(count + 1)), Arc::new(Barrier::new(count + 1)));
    let begun = Arc::new(AtomicUsize::new(0));
    let (memory, cpu) = (status("VmRSS:"), cpu_ms());
    let all = tokio::spawn({
        let (open, measured, begun) = (Arc::clone(&open), Arc::clone(&measured), Arc::clone(&begun));
        async move {
            // Logins fifty at once, as elsewhere; all stay open.
            let turns = Arc::new(tokio::sync::Semaphore::new(50));
            rollout::each(clusters, count, |cluster| {
                let (network, turns) = (Arc::clone(&network), Arc::clone(&turns));
                let (open, measured, begun) = (Arc::clone(&open), Arc::clone(&measured), Arc::clone(&begun));
                async move {
                    let turn = turns.acquire().await.unwrap();
                    let session = network.connect(&cluster.host).await.unwrap();
                    assert!(
                        session.run(&Command::new("true"), &mut std::io::sink()).await.unwrap().success()
                    );
                    begun.fetch_add(1, Ordering::Relaxed);
                    drop(turn);
                    open.wait().await;
                    measured.wait().await;
                    session.close().await;
                }
            })
            .await
        }
    });
    open.wait().await;
    let (opened, kib) = (cpu_ms() - cpu, status("VmRSS:") - memory);
    let idle = cpu_ms();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let idle = cpu_ms() - idle;
    measured.wait().await;
    let results = all.await.unwrap();
    results.into_values().for_each(Result::unwrap);
    let per = |total: f64| total / f64::from(u32::try_from(count).unwrap());
    println!(
        "{} sessions: {:.1} KiB each, {:.2} ms CPU each to open and run one command, {:.4} ms CPU each for 20 s open",
        begun.load(Ordering::Relaxed),
        per(kib),
        per(opened),
        per(idle)
    );
}

/// A number of `/proc/self/status`, in KiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// CPU of this process so far, user and system, in ms: clock ticks are hundredths of a second on Linux.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks * 10.0
}

/// Hosts in one process: whoever shows the key may log in, and every command ends with exit status 0.
#[derive(Clone)]
struct Host {
    client: PublicKey,
}

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(if key.public_key.key_data() == self.client.key_data() { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        // The mark that a shell would print on both streams: two words of sixteen hexadecimal digits, joined.
        let line = String::from_utf8_lossy(line);
        let halves = line.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 16).take(2);
        let mark = halves.collect::<String>() + "\n";
        session.data(channel, mark.clone())?;
        session.extended_data(channel, 1, mark)?;
        session.exit_status_request(channel, 0)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

/// Serves sessions to whoever has the key `id` of the folder `keys`, and writes its own host key there.
async fn serve(listen: &str, keys: &str) {
    let listener = TcpListener::bind(listen).await.unwrap();
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let client = std::fs::read_to_string(format!("{keys}/id.pub")).unwrap();
    std::fs::write(format!("{keys}/served.pub"), key.public_key().to_openssh().unwrap()).unwrap();
    let config =
        Arc::new(Config { keys: vec![key], nodelay: true, inactivity_timeout: None, ..Config::default() });
    let host = Host { client: PublicKey::from_openssh(&client).unwrap() };
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (config, host) = (Arc::clone(&config), host.clone());
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, socket, host).await {
                let _ = session.await;
            }
        });
    }
}

/// A line to `target` on which every byte arrives `ms` later, each way; any number may be under way.
async fn delay(listen: &str, target: &str, ms: usize) {
    let listener = TcpListener::bind(listen).await.unwrap();
    let late = Duration::from_millis(u64::try_from(ms).unwrap());
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(target).await.unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        tokio::spawn(carry(near_read, far_write, late));
        tokio::spawn(carry(far_read, near_write, late));
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    late: Duration,
) {
    // Room for what a fast line holds in that time.
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + late, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(at.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
