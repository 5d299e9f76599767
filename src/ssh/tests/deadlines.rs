//! Hosts that stand still, and commands that are given up.

use std::sync::atomic::Ordering;

use super::host::MIB;
use super::*;

// Trap 1.4: dropping a channel sends no CLOSE.
#[tokio::test(start_paused = true)]
async fn thirty_commands_that_time_out_hold_one_channel_at_a_time() {
    let host = Server::default();
    let session = meet(&host).await.unwrap();
    for _ in 0..30 {
        assert!(matches!(ask(&session, "never end").await, Err(RemoteError::Deadline(_))));
    }
    assert!(ask(&session, "end without close").await.unwrap().success());
    let most = host.most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} channels were open at once");
}

// Trap 1.4, and a future dropped in the middle (Ctrl-C, a race that another branch won).
#[tokio::test(start_paused = true)]
async fn commands_that_are_cancelled_leave_no_channel_to_the_next() {
    let host = Server::default();
    let session = meet(&host).await.unwrap();
    for _ in 0..30 {
        assert!(timeout(Duration::from_secs(1), ask(&session, "never end")).await.is_err());
    }
    assert!(ask(&session, "end without close").await.unwrap().success());
    let most = host.most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} channels were open at once");
}

// The same while the channel is not open yet: its answer comes when nobody waits for it any more.
#[tokio::test(start_paused = true)]
async fn commands_that_are_cancelled_before_their_channel_is_open_leave_none_to_the_next() {
    let host = Server { opens_after: Duration::from_secs(2), ..Server::default() };
    let session = meet(&host).await.unwrap();
    for _ in 0..30 {
        assert!(timeout(Duration::from_secs(1), ask(&session, "never end")).await.is_err());
    }
    assert!(ask(&session, "end without close").await.unwrap().success());
    let most = host.most_open.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} channels were open at once");
}

// Trap 1.6: keepalives notice a host that stands still.
#[tokio::test(start_paused = true)]
async fn a_host_that_freezes_is_noticed_within_a_minute() {
    let session = meet(&Server::default()).await.unwrap();
    let command = Command::new("freeze").deadline(Duration::from_secs(3600));
    let began = tokio::time::Instant::now();
    let error = session.run(&command, &mut std::io::sink()).await.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert_eq!(error, RemoteError::Lost("the host stopped answering".to_owned()));
}

// Trap 1.6: with something of ours stuck on the way, too.
#[tokio::test(start_paused = true)]
async fn a_command_to_a_frozen_host_with_stuck_input_ends_at_its_deadline() {
    let session = meet(&Server::default()).await.unwrap();
    let command = Command::new("freeze").stdin(vec![0; 8 * MIB]).deadline(Duration::from_secs(30));
    assert_eq!(
        session.run(&command, &mut std::io::sink()).await.unwrap_err(),
        RemoteError::Deadline(Duration::from_secs(30))
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_comes_back_from_a_frozen_host() {
    let host = Server::default();
    let session = meet(&host).await.unwrap();
    host.frozen.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    session.close().await;
    assert!(began.elapsed() <= 2 * GOODBYE, "{:?}", began.elapsed());
}

// Trap 1.6: the library has no deadline of its own for opening a channel.
#[tokio::test(start_paused = true)]
async fn a_host_that_answers_no_open_is_given_up_and_nothing_is_in_doubt() {
    let session = meet(&Server { mute_to_opens: true, ..Server::default() }).await.unwrap();
    let began = tokio::time::Instant::now();
    let error = ask(&session, "greet").await.unwrap_err();
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert!(!error.in_doubt() && error.to_string().contains("no session was opened within 10 s"), "{error}");
    let later = ask(&session, "greet").await.unwrap_err();
    assert!(later.to_string().contains("the connection is gone"), "{later}");
}
