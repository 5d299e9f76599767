//! How a command ends, and what is no end.

use super::*;
use crate::remote::Exit;

#[tokio::test]
async fn an_orderly_command_gives_both_outputs_and_its_exit_status() {
    let session = meet(&Server::default()).await.unwrap();
    let mut log = Vec::new();
    let output = session.run(&Command::new("greet"), &mut log).await.unwrap();
    assert_eq!(output.exit, Exit::Code(3));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    assert_eq!(log, b"outerr");
    assert!(session.host_key().starts_with("SHA256:"), "{}", session.host_key());
}

#[tokio::test]
async fn the_line_reaches_the_host_as_it_is() {
    let host = Server::default();
    let session = meet(&host).await.unwrap();
    let command = Command::new("echo").arg("it's $HOME\n'x'");
    session.run(&command, &mut std::io::sink()).await.unwrap();
    let sent = String::from_utf8(host.lines.lock().unwrap()[0].clone()).unwrap();
    assert!(sent.starts_with("exec /bin/sh -c '"), "{sent}");
    assert_eq!(frame::read_back(&sent).unwrap().line, command.line());
}

// Trap 1.4: an end is believed only when exit status and end-of-file were both seen.
#[tokio::test]
async fn a_command_whose_host_never_closes_the_channel_still_ends() {
    let session = meet(&Server::default()).await.unwrap();
    assert!(ask(&session, "end without close").await.unwrap().success());
}

#[tokio::test]
async fn a_channel_closed_without_an_exit_status_is_a_loss_and_no_success() {
    let session = meet(&Server::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "close without status").await else { panic!("an end") };
    assert!(why.contains("without an exit status"), "{why}");
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("close without status"), &mut sink).await;
    assert!(matches!(result, Err(RemoteError::Lost(_))), "{result:?}");
}

// Trap 0.5: a stream without its end-of-file is not whole, whatever its exit status.
#[tokio::test]
async fn a_stream_closed_without_end_of_file_is_a_loss_though_its_status_is_zero() {
    let session = meet(&Server::default()).await.unwrap();
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("close without end"), &mut sink).await;
    let Err(RemoteError::Lost(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("not whole"), "{why}");
    // For a short command the orderly close says enough.
    assert!(ask(&session, "close without end").await.unwrap().success());
}

// Trap 0.5: a connection killed in the middle must not look like a short success.
#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_stream_is_a_loss() {
    let host = Server::default();
    let session = meet(&host).await.unwrap();
    let mut sink = Vec::new();
    let result = session.stream(&Command::new("cut in the middle"), &mut sink).await;
    let Err(RemoteError::Lost(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("closed the connection"), "{why}");
}

#[tokio::test]
async fn a_connection_cut_after_the_exit_status_is_a_loss_that_tells_the_status() {
    let session = meet(&Server::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "cut after the status").await else { panic!("an end") };
    assert!(why.contains("exit status 0 was seen"), "{why}");
}

// Trap 1.2: nothing but `disconnected` carries the reason, and it is the host's own text.
#[tokio::test]
async fn the_hosts_goodbye_is_told_and_cannot_paint_on_the_terminal() {
    let session = meet(&Server::default()).await.unwrap();
    let Err(RemoteError::Lost(why)) = ask(&session, "say goodbye").await else { panic!("an end") };
    assert!(why.contains("going down ·[31mnow"), "{why:?}");
    // What comes later was not sent, and says so.
    let later = ask(&session, "greet").await.unwrap_err();
    assert!(!later.in_doubt(), "{later}");
    assert!(
        later.to_string().contains("was not sent") && later.to_string().contains("going down"),
        "{later}"
    );
}

#[tokio::test]
async fn a_signals_name_of_the_hosts_own_making_is_made_harmless() {
    let session = meet(&Server::default()).await.unwrap();
    assert_eq!(ask(&session, "die of a signal").await.unwrap().exit, Exit::Signal("R·T".to_owned()));
}

#[tokio::test]
async fn a_refused_command_did_not_run() {
    let session = meet(&Server::default()).await.unwrap();
    let error = ask(&session, "refuse").await.unwrap_err();
    assert!(matches!(error, RemoteError::Refused(_)) && !error.in_doubt(), "{error}");
}

// Trap 1.7: the library's default answer is yes.
#[tokio::test]
async fn a_host_that_opens_channels_to_us_is_refused_every_kind() {
    let session = meet(&Server::default()).await.unwrap();
    let output = ask(&session, "knock").await.unwrap();
    assert_eq!(output.stdout, b"knocked");
    assert_eq!(output.exit, Exit::Code(0), "channels accepted");
}
