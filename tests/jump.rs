//! Jump hosts: real OpenSSH servers, one as the jump host (or two, one behind the other), others behind it.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod proxy;
mod sshd;

use std::sync::Arc;
use std::time::Duration;

use fleet::inventory::Host;
use fleet::remote::{Command, Output, Remote, RemoteError};
use fleet::ssh::{Limits, Network, Session};
use futures::future::join_all;
use proxy::{Proxy, Way};
use sshd::{Options, Sshd};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn jump(sshd: &Sshd, name: &str) -> Host {
    Host { name: name.to_owned(), ..sshd.host() }
}

/// A host behind this jump host.
fn behind(sshd: &Sshd, name: &str, jump: &Host) -> Host {
    Host { name: name.to_owned(), jump: Some(Arc::new(jump.clone())), ..sshd.host() }
}

fn network() -> Arc<Network> {
    // The largest window: what one host may leave unread behind the others' jump host.
    Network::new(Limits { window: Some(16 << 20), ..Limits::default() })
}

async fn run(session: &Session, line: &'static str) -> Result<Output, RemoteError> {
    session.run(&Command::new(line), &mut std::io::sink()).await
}

async fn says(session: &Session, line: &'static str) -> String {
    timeout(SOON, run(session, line)).await.unwrap().unwrap().text().trim().to_owned()
}

fn logins(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn a_host_is_reached_by_way_of_one_and_of_two_jump_hosts() {
    let (outer, inner, host) = (Sshd::start(), Sshd::start(), Sshd::start());
    let gate = jump(&outer, "gate");
    let session = network().connect(&behind(&host, "acme", &gate)).await.unwrap();
    let port = says(&session, "echo $SSH_CONNECTION | cut -d' ' -f4").await;
    assert_eq!(port, host.port().to_string());
    session.close().await;

    let bastion = behind(&inner, "bastion", &gate);
    let session = network().connect(&behind(&host, "acme", &bastion)).await.unwrap();
    assert_eq!(says(&session, "echo two hops").await, "two hops");
    assert_eq!((logins(&outer), logins(&inner), logins(&host)), (2, 1, 2));
    session.close().await;
}

#[tokio::test]
async fn thirty_hosts_share_one_connection_to_their_jump_host_and_it_ends_with_the_last() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let gate = jump(&bastion, "gate");
    let network = network();
    let hosts: Vec<Host> = (0..30).map(|n| behind(&host, &format!("host-{n}"), &gate)).collect();
    let sessions = join_all(hosts.iter().map(|host| network.connect(host))).await;
    let mut sessions: Vec<Session> = sessions.into_iter().map(Result::unwrap).collect();
    assert_eq!((logins(&bastion), logins(&host)), (1, 30));
    let last = sessions.pop().unwrap();
    join_all(sessions.into_iter().map(Session::close)).await;
    assert_eq!(says(&last, "echo still here").await, "still here");
    assert!(!bastion.log().contains("Received disconnect"), "{}", bastion.log());
    last.close().await;
    bastion.wait_for_log("Received disconnect");
    // The network is as good as new.
    let again = network.connect(&hosts[0]).await.unwrap();
    assert_eq!((says(&again, "echo again").await.as_str(), logins(&bastion)), ("again", 2));
}

#[tokio::test]
async fn hosts_beyond_the_jump_hosts_cap_wait_and_that_is_no_time_of_connecting() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let gate = Host { channels: 1, ..jump(&bastion, "gate") };
    let network = network();
    let first = network.connect(&behind(&host, "first", &gate)).await.unwrap();
    let second = Host { connect_timeout: Duration::from_secs(2), ..behind(&host, "second", &gate) };
    let mut waiting = Box::pin(network.connect(&second));
    tokio::select! {
        biased;
        ended = &mut waiting => panic!("it did not wait: {ended:?}"),
        slept = run(&first, "sleep 2.5") => assert!(slept.unwrap().success()),
    }
    first.close().await;
    let second = timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(says(&second, "echo my turn").await, "my turn");
}

/// A sink that takes nothing: who writes to it waits for ever.
fn never_takes() -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
    tokio::io::duplex(1)
}

/// While one host's stream is not taken by anybody, others behind the same jump host answer.
async fn nobody_stalls(line: &Proxy, gate: &Host, hosts: &[Sshd]) {
    let network = network();
    let slow = network.connect(&behind(&hosts[0], "slow", gate)).await.unwrap();
    let others = hosts[1..].iter().enumerate().map(|(n, sshd)| behind(sshd, &format!("quick-{n}"), gate));
    let others: Vec<Host> = others.collect();
    let quick = join_all(others.iter().map(|host| network.connect(host))).await;
    let quick: Vec<Session> = quick.into_iter().map(Result::unwrap).collect();
    let (mut sink, _unread) = never_takes();
    let endless = Command::new("cat /dev/zero").deadline(Duration::from_secs(3600));
    let before = line.passed(Way::ToClient);
    let work = async {
        // All that the slow host may send ahead has come, and nobody takes it.
        let mut seen = before;
        loop {
            let answered = join_all(quick.iter().map(|session| says(session, "echo quick"))).await;
            assert!(answered.iter().all(|answer| answer == "quick"), "{answered:?}");
            let now = line.passed(Way::ToClient);
            if now - before > 16 << 20 && now - seen < 100_000 {
                return;
            }
            seen = now;
        }
    };
    tokio::select! {
        ended = slow.stream(&endless, &mut sink) => panic!("an end: {ended:?}"),
        worked = timeout(SOON, work) => worked.unwrap(),
    }
    // New ones come through as well, and the slow one itself is none the worse.
    let late = network.connect(&others[0]).await.unwrap();
    assert_eq!(says(&late, "echo late").await, "late");
    assert_eq!(says(&slow, "echo slow").await, "slow");
}

#[tokio::test]
async fn a_stream_that_nobody_takes_stalls_no_other_host_behind_one_jump_host() {
    let (bastion, hosts) = (Sshd::start(), [(); 3].map(|()| Sshd::start()));
    let line = Proxy::to(bastion.port());
    let gate = Host { port: line.port(), ..jump(&bastion, "gate") };
    nobody_stalls(&line, &gate, &hosts).await;
    assert_eq!(line.taken(), 1);
}

#[tokio::test]
async fn a_stream_that_nobody_takes_stalls_no_other_host_behind_two_jump_hosts() {
    let (outer, inner, hosts) = (Sshd::start(), Sshd::start(), [(); 3].map(|()| Sshd::start()));
    let line = Proxy::to(outer.port());
    let gate = Host { port: line.port(), ..jump(&outer, "gate") };
    nobody_stalls(&line, &behind(&inner, "bastion", &gate), &hosts).await;
    assert_eq!(line.taken(), 1);
}

#[tokio::test]
async fn when_the_jump_hosts_line_is_cut_it_is_made_again_once_and_every_host_goes_on() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let line = Proxy::to(bastion.port());
    let gate = Host { port: line.port(), ..jump(&bastion, "gate") };
    let network = network();
    let hosts: Vec<Host> = (0..8).map(|n| behind(&host, &format!("host-{n}"), &gate)).collect();
    let sessions = join_all(hosts.iter().map(|host| network.connect(host))).await;
    let sessions: Vec<Session> = sessions.into_iter().map(Result::unwrap).collect();
    line.cut();
    let answers = join_all(sessions.iter().map(|session| says(session, "echo on"))).await;
    assert!(answers.iter().all(|answer| answer == "on"), "{answers:?}");
    assert_eq!((line.taken(), logins(&bastion), logins(&host)), (2, 2, 16));
}

#[tokio::test]
async fn when_one_host_is_cut_off_the_jump_hosts_line_is_kept() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let line = Proxy::to(host.port());
    let gate = jump(&bastion, "gate");
    let network = network();
    let cut = Host { port: line.port(), ..behind(&host, "cut", &gate) };
    let (cut, other) = (
        network.connect(&cut).await.unwrap(),
        network.connect(&behind(&host, "other", &gate)).await.unwrap(),
    );
    line.cut();
    assert_eq!(says(&cut, "echo on").await, "on");
    assert_eq!(says(&other, "echo on").await, "on");
    assert!(other.news().is_empty());
    assert_eq!((line.taken(), logins(&bastion)), (2, 1));
}

/// The errors of some hosts that are connected to at once.
async fn errors(hosts: &[Host]) -> Vec<RemoteError> {
    let network = network();
    let at_once = join_all(hosts[1..].iter().map(|host| network.connect(host))).await;
    let later = network.connect(&hosts[0]).await;
    at_once.into_iter().chain([later]).map(Result::unwrap_err).collect()
}

#[tokio::test]
async fn a_jump_host_that_lets_nobody_in_is_asked_once_and_named() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let wrong = bastion.dir().join("wrong");
    sshd::keygen("ed25519", &wrong, "");
    let gate = Host { identity: vec![wrong], ..jump(&bastion, "gate") };
    let hosts: Vec<Host> = (0..6).map(|n| behind(&host, &format!("host-{n}"), &gate)).collect();
    let errors = errors(&hosts).await;
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (error, said) in errors.iter().zip(&said) {
        assert!(matches!(error, RemoteError::Auth(_)) && said.contains("by way of gate"), "{said}");
        assert!(said.contains("the trouble is the jump host gate"), "{said}");
        assert!(said.contains("refused every key"), "{said}");
    }
    assert_eq!(said.iter().filter(|said| said.contains("asked once")).count(), 5, "{said:#?}");
    assert!(said[5].starts_with("cannot reach host-0 ("), "{}", said[5]);
    bastion.wait_for_log("Connection closed by");
    assert_eq!(bastion.log().matches("Connection from").count(), 1, "{}", bastion.log());
    assert!(!host.log().contains("Connection from"), "{}", host.log());
}

#[tokio::test]
async fn a_jump_host_with_another_key_is_refused_before_anything_is_sent_through_it() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let gate = Host { host_key: host.host().host_key, ..jump(&bastion, "gate") };
    let error = network().connect(&behind(&host, "acme", &gate)).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, RemoteError::HostKey(_)) && said.contains("the jump host gate"), "{said}");
    assert!(!host.log().contains("Connection from"), "{}", host.log());
    // And the key of the host behind is its own matter.
    let acme = Host { host_key: bastion.host().host_key, ..behind(&host, "acme", &jump(&bastion, "gate")) };
    let error = network().connect(&acme).await.unwrap_err();
    assert!(
        matches!(error, RemoteError::HostKey(_)) && !error.to_string().contains("the trouble is"),
        "{error}"
    );
}

#[tokio::test]
async fn a_jump_host_that_forbids_forwarding_says_so() {
    let options = Options { config: "AllowTcpForwarding no".to_owned(), ..Options::default() };
    let (bastion, host) = (Sshd::start_with(&options), Sshd::start());
    let error = network().connect(&behind(&host, "acme", &jump(&bastion, "gate"))).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, RemoteError::Unreachable { .. }) && !error.in_doubt(), "{said}");
    assert!(said.starts_with("cannot reach acme (") && said.contains("by way of gate"), "{said}");
    assert!(said.contains("the trouble is the jump host") && said.contains("AllowTcpForwarding"), "{said}");
}

#[tokio::test]
async fn a_host_that_is_not_there_and_a_jump_host_that_is_not_there_are_told_apart() {
    let (bastion, mut gone) = (Sshd::start(), Sshd::start());
    gone.kill();
    let gate = jump(&bastion, "gate");
    let error = network().connect(&behind(&gone, "acme", &gate)).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("the jump host") && said.contains("is well, but cannot connect to 127.0.0.1"),
        "{said}"
    );
    let error = network().connect(&behind(&bastion, "acme", &jump(&gone, "gate"))).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("by way of gate") && said.contains("the trouble is the jump host gate"), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}
