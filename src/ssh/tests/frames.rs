//! Login shells that say more than they were asked, or never come to the command.

use super::*;
use crate::remote::Exit;

#[tokio::test]
async fn what_a_login_shell_prints_is_in_no_output_no_stream_and_no_log() {
    let session = meet(&Server::default()).await.unwrap();
    let mut log = Vec::new();
    let output = session.run(&Command::new("banner then greet"), &mut log).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    assert_eq!((log.as_slice(), output.dropped), (&b"outerr"[..], 0));
    let mut sink = Vec::new();
    session.stream(&Command::new("banner then greet"), &mut sink).await.unwrap();
    assert_eq!(sink, b"out");
}

#[tokio::test]
async fn a_shell_that_ends_before_the_command_has_not_run_it_and_says_why() {
    let session = meet(&Server::default()).await.unwrap();
    let error = ask(&session, "no account then greet").await.unwrap_err();
    let RemoteError::Refused(why) = &error else { panic!("{error}") };
    assert!(why.contains("was not begun") && why.contains("exit status 1"), "{why}");
    assert!(why.ends_with("This account is ·[31mcurrently not available."), "{why}");
    assert!(!error.in_doubt());
}

#[tokio::test]
async fn a_command_whose_output_leads_elsewhere_is_no_success_and_in_doubt() {
    let session = meet(&Server::default()).await.unwrap();
    let error = ask(&session, "output elsewhere then end without close").await.unwrap_err();
    assert!(matches!(error, RemoteError::Lost(_)) && error.in_doubt(), "{error}");
    // What would be complained is not needed to know how it ended.
    let output = ask(&session, "errors elsewhere then greet").await.unwrap();
    assert_eq!((output.exit, output.stdout, output.stderr), (Exit::Code(3), b"out".to_vec(), Vec::new()));
}

// The clock runs: a paused one stands still while there is always something to read.
#[tokio::test]
async fn endless_noise_ends_at_the_deadline_and_the_connection_lives() {
    let session = meet(&Server::default()).await.unwrap();
    let mut log = Vec::new();
    let command = Command::new("endless noise then greet").deadline(Duration::from_millis(300));
    let error = session.run(&command, &mut log).await.unwrap_err();
    assert!(matches!(error, RemoteError::Deadline(_)) && error.in_doubt(), "{error}");
    assert!(log.is_empty());
    assert!(ask(&session, "end without close").await.unwrap().success());
}
