//! A line that is lost and made again: a real OpenSSH server behind a TCP proxy that cuts, and the server itself taken away and back.
//! And the caps on what bulk streams may take of the network.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod proxy;
mod sshd;

use std::fs;
use std::time::{Duration, Instant};

use fleet::inventory::Host;
use fleet::remote::{Command, Output, Remote, RemoteError};
use fleet::ssh::{Limits, Network, Session};
use proxy::{Proxy, Way};
use sshd::Sshd;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;

/// The server behind the proxy, with so much time to connect again.
fn behind(sshd: &Sshd, proxy: &Proxy, reconnect: Duration) -> Host {
    let connect_timeout = Duration::from_secs(20);
    Host { port: proxy.port(), reconnect, connect_timeout, ..sshd.host() }
}

async fn connect(host: &Host) -> Session {
    fleet::ssh::connect(host).await.unwrap()
}

async fn run(session: &Session, line: &'static str) -> Result<Output, RemoteError> {
    session.run(&Command::new(line), &mut std::io::sink()).await
}

async fn says(session: &Session, line: &'static str) -> String {
    run(session, line).await.unwrap().text().trim().to_owned()
}

/// Waits until it is so.
async fn until(so: impl Fn() -> bool) {
    let looking = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(60), looking).await.unwrap();
}

const MINUTES: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_line_cut_at_any_byte_is_made_again_and_no_command_is_sent_twice() {
    let sshd = Sshd::start();
    let proxy = Proxy::to(sshd.port());
    let (mut lost, mut done) = (0, 0);
    // Steps that share no factor with any packet's size, both ways, from the first byte of a request to past the end of its answer.
    for (round, bytes) in (0_u64..24).map(|n| (n, 1 + n * 37)).collect::<Vec<_>>() {
        let way = if round % 2 == 0 { Way::ToClient } else { Way::ToHost };
        let session = connect(&behind(&sshd, &proxy, MINUTES)).await;
        // Each round has its own: a command whose line was cut runs when its shell gets round to it.
        let count = sshd.dir().join(format!("count-{round}"));
        let append = Command::new("echo once >>").arg(count.to_str().unwrap()).fixed("; echo done");
        proxy.cut_after(way, bytes);
        match session.run(&append, &mut std::io::sink()).await {
            Ok(output) => {
                done += 1;
                assert_eq!(output.text().trim(), "done");
            }
            Err(error) => {
                lost += 1;
                assert!(matches!(error, RemoteError::Lost(_)) && error.in_doubt(), "{bytes}: {error}");
            }
        }
        // A question is asked until it is answered, whatever byte the line was cut at.
        let asked = session.ask(&Command::new("echo answer"), &mut std::io::sink()).await.unwrap();
        assert_eq!(asked.text().trim(), "answer", "{bytes}");
        session.close().await;
        proxy.cut_after(way, u64::MAX);
    }
    for round in 0..24 {
        let count = fs::read_to_string(sshd.dir().join(format!("count-{round}"))).unwrap_or_default();
        assert!(count.lines().count() <= 1, "round {round}: sent twice");
    }
    assert!(lost > 3 && done > 0, "{lost} lost, {done} done");
}

#[tokio::test]
async fn a_cut_line_is_made_again_by_the_next_command_and_told_once() {
    let sshd = Sshd::start();
    let proxy = Proxy::to(sshd.port());
    let session = connect(&behind(&sshd, &proxy, MINUTES)).await;
    let key = session.host_key().to_owned();
    assert_eq!(says(&session, "echo one").await, "one");
    assert!(session.news().is_empty());
    proxy.cut();
    assert_eq!(says(&session, "echo two").await, "two");
    let news = session.news();
    assert!(news.len() == 1 && news[0].contains("was lost") && news[0].contains("made again"), "{news:?}");
    assert!(session.news().is_empty(), "told once");
    assert_eq!((proxy.taken(), session.host_key()), (2, key.as_str()));
}

#[tokio::test]
async fn a_host_that_may_not_be_reconnected_to_is_not() {
    let sshd = Sshd::start();
    let proxy = Proxy::to(sshd.port());
    let session = connect(&behind(&sshd, &proxy, Duration::ZERO)).await;
    let lost = tokio::join!(run(&session, "sleep 60"), async {
        // The request is on its way: nothing else is sent.
        let before = proxy.passed(Way::ToHost);
        until(|| proxy.passed(Way::ToHost) > before).await;
        proxy.cut();
    });
    assert!(lost.0.is_err(), "{:?}", lost.0);
    let error = run(&session, "true").await.unwrap_err();
    assert!(!error.in_doubt() && error.to_string().contains("the command was not sent"), "{error}");
    assert_eq!(proxy.taken(), 1);
}

#[tokio::test]
async fn a_server_that_comes_back_within_the_budget_is_gone_on_with() {
    let mut sshd = Sshd::start();
    let session = connect(&Host { reconnect: MINUTES, ..sshd.host() }).await;
    assert_eq!(says(&session, "echo one").await, "one");
    let proxy = Proxy::to(sshd.port());
    let session_behind = connect(&behind(&sshd, &proxy, MINUTES)).await;
    sshd.kill();
    let (two, three, ()) = tokio::join!(
        timeout(MINUTES, says(&session, "echo two")),
        timeout(MINUTES, says(&session_behind, "echo three")),
        async {
            // The first attempts are made in vain.
            until(|| proxy.turned_away() >= 2).await;
            sshd.start_again();
        }
    );
    assert_eq!((two.unwrap().as_str(), three.unwrap().as_str()), ("two", "three"));
}

#[tokio::test]
async fn a_server_that_stays_away_beyond_the_budget_is_a_lost_host_and_nothing_is_in_doubt() {
    let mut sshd = Sshd::start();
    let session = connect(&Host { reconnect: Duration::from_secs(2), ..sshd.host() }).await;
    sshd.kill();
    let began = Instant::now();
    let error = run(&session, "true").await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let said = error.to_string();
    assert!(matches!(error, RemoteError::Unreachable { .. }) && !error.in_doubt(), "{said}");
    assert!(said.contains("could not be made again") && said.contains("was not sent"), "{said}");
    // The host is not given up for ever: who asks again may find it.
    sshd.start_again();
    assert_eq!(says(&session, "echo back").await, "back");
}

#[tokio::test]
async fn another_host_key_is_refused_in_the_middle_of_a_session_though_it_is_known() {
    let mut sshd = Sshd::start();
    let other = sshd.dir().join("other");
    sshd::keygen("ed25519", &other, "");
    let known = sshd.dir().join("known_hosts");
    let line = |key: &str| format!("{} {key}\n", sshd.known_as());
    let both = line(&sshd.host_key("ed25519")) + &line(&sshd::public(&other.with_extension("pub")));
    fs::write(&known, both).unwrap();
    let host = Host { host_key: None, known_hosts: vec![known], reconnect: MINUTES, ..sshd.host() };
    let session = connect(&host).await;
    sshd.kill();
    fs::copy(&other, sshd.dir().join("host_ed25519")).unwrap();
    sshd.start_again();
    let error = run(&session, "true").await.unwrap_err();
    assert!(matches!(error, RemoteError::HostKey(_)), "{error}");
    assert!(error.to_string().contains(session.host_key()), "{error}");
    assert!(!sshd.log().contains("Starting session: command for"), "nothing was run:\n{}", sshd.log());
    // A new session may take it: it is known.
    assert_eq!(says(&connect(&host).await, "echo new").await, "new");
}

#[tokio::test]
async fn bulk_streams_wait_for_their_turn_and_commands_do_not() {
    let sshd = Sshd::start();
    let network = Network::new(Limits { streams: Some(1), ..Limits::default() });
    let (one, two) =
        (network.connect(&sshd.host()).await.unwrap(), network.connect(&sshd.host()).await.unwrap());
    let turn = one.turn().await;
    let mut sink = Vec::new();
    let command = Command::new("head -c 1000 /dev/zero").deadline(Duration::from_secs(20));
    let mut waiting = Box::pin(two.stream(&command, &mut sink));
    let others = async {
        assert_eq!(says(&two, "echo command").await, "command");
        let mut mine = Vec::new();
        one.stream(&command, &mut mine).await.unwrap();
        mine.len()
    };
    tokio::select! {
        biased;
        ended = &mut waiting => panic!("it did not wait: {ended:?}"),
        streamed = others => assert_eq!(streamed, 1000, "who has the turn streams"),
    }
    drop(turn);
    assert!(timeout(MINUTES, waiting).await.unwrap().unwrap().success());
    assert_eq!(sink.len(), 1000);
}

#[tokio::test]
async fn bandwidth_is_capped_and_a_command_on_the_same_connection_is_answered_meanwhile() {
    let sshd = Sshd::start();
    let network = Network::new(Limits { bandwidth: Some(2 * MIB), ..Limits::default() });
    let (one, two) =
        (network.connect(&sshd.host()).await.unwrap(), network.connect(&sshd.host()).await.unwrap());
    let began = Instant::now();
    let stream = |session| async move {
        let mut sink = Vec::new();
        let output =
            Session::stream(session, &Command::new("head -c 4M /dev/zero"), &mut sink).await.unwrap();
        assert!(output.success());
        sink.len() as u64
    };
    let commands = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let asked = Instant::now();
            assert_eq!(says(&one, "echo answer").await, "answer");
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let (a, b, slowest) = tokio::join!(stream(&one), stream(&two), commands);
    let took = began.elapsed().as_secs_f64();
    assert_eq!((a, b), (4 * MIB, 4 * MIB));
    // 8 MiB at 2 MiB a second, and what SSH adds.
    assert!((3.7..9.0).contains(&took), "{took} s");
    assert!(slowest < Duration::from_secs(3), "a command waited {slowest:?} behind the stream");
}
