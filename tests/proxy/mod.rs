//! A TCP line on loopback that a test can spoil: `mod proxy;`, then `Proxy::to(port)` and connect to [`Proxy::port`].
//!
//! It passes bytes on both ways, and on demand delays them, holds them back, cuts the line after so many of them, or takes no new
//! line for a while. Plain threads and blocking sockets: it lives beside a test's runtime, paused clock or not, and ends with the value.
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a proxy that cannot be set up fails its test")]
#![allow(clippy::disallowed_methods, reason = "its threads are its own: what sleeps is a byte on its way")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a test waits for what it watches for.
const WITHIN: Duration = Duration::from_secs(60);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the host.
    ToHost,
    /// From the host to the client.
    ToClient,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    delay: Duration,
    held: bool,
    refuses: bool,
    over: bool,
    /// Bytes that may still pass each way until the line is cut, once.
    left: [Option<u64>; 2],
    passed: [u64; 2],
    taken: usize,
    turned_away: usize,
    cuts: usize,
    open: Vec<(usize, TcpStream, TcpStream)>,
}

impl State {
    fn cut_all(&mut self) {
        for (_, near, far) in self.open.drain(..) {
            near.shutdown(Shutdown::Both).ok();
            far.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn wait_until(&self, what: &str, so: impl Fn(&State) -> bool) {
        let (state, late) =
            self.changed.wait_timeout_while(self.state(), WITHIN, |state| !so(state)).unwrap();
        assert!(!late.timed_out(), "{what} never came: {state:?}");
    }
}

impl Proxy {
    /// A line to this port of 127.0.0.1.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || serve(&listener, target, &ours));
        Self { port, shared }
    }

    /// Where to connect to, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on every byte comes this much later, each way: half a round trip.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }

    /// Holds every byte back, both ways, or lets them go on. The line stays open, as that of a machine that sleeps.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.change(|state| state.held = held);
    }

    /// Ends each new line as soon as it is begun, or takes new ones again. What is open stays open.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.shared.change(|state| state.refuses = refuses);
    }

    /// Cuts every open line now.
    pub(crate) fn cut(&self) {
        self.shared.change(|state| {
            state.cuts += 1;
            state.cut_all();
        });
    }

    /// Cuts every open line, once, as soon as so many more bytes have passed that way; those bytes still arrive.
    pub(crate) fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.change(|state| state.left[way as usize] = Some(bytes));
    }

    /// Bytes that have passed that way so far.
    pub(crate) fn passed(&self, way: Way) -> u64 {
        self.shared.state().passed[way as usize]
    }

    /// Lines that were taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.shared.state().taken
    }

    /// Lines that were turned away so far, by [`Self::refuse`] or because the host takes none.
    pub(crate) fn turned_away(&self) -> usize {
        self.shared.state().turned_away
    }

    /// Cuts so far.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.state().cuts
    }

    /// Waits until so many lines were taken since the beginning.
    pub(crate) fn wait_for_taken(&self, lines: usize) {
        self.shared.wait_until("a line", |state| state.taken >= lines);
    }

    /// Waits until so many lines were turned away since the beginning.
    pub(crate) fn wait_for_turned_away(&self, lines: usize) {
        self.shared.wait_until("a line to turn away", |state| state.turned_away >= lines);
    }

    /// Waits until so many bytes have passed that way.
    pub(crate) fn wait_for_passed(&self, way: Way, bytes: u64) {
        self.shared.wait_until("as many bytes", |state| state.passed[way as usize] >= bytes);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.over = true;
            state.cut_all();
        });
        // Wakes the thread that accepts.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn serve(listener: &TcpListener, target: u16, shared: &Arc<Shared>) {
    for (id, near) in listener.incoming().enumerate() {
        let Ok(near) = near else { continue };
        if shared.state().over {
            return;
        }
        let far = if shared.state().refuses { None } else { TcpStream::connect(("127.0.0.1", target)).ok() };
        let Some(far) = far else {
            drop(near);
            shared.change(|state| state.turned_away += 1);
            continue;
        };
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        shared.change(|state| {
            state.taken += 1;
            state.open.push((id, near.try_clone().unwrap(), far.try_clone().unwrap()));
        });
        let (back, forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        pass(id, Way::ToHost, near, far, shared);
        pass(id, Way::ToClient, back, forth, shared);
    }
}

/// Passes bytes on one way: one thread reads and notes when, the other writes when their time has come.
fn pass(id: usize, way: Way, mut from: TcpStream, to: TcpStream, shared: &Arc<Shared>) {
    let (queue, due) = channel();
    let reading = Arc::clone(shared);
    std::thread::spawn(move || read(&mut from, &queue, &reading));
    let writing = Arc::clone(shared);
    std::thread::spawn(move || {
        deliver(way, &due, to, &writing);
        writing.change(|state| {
            let at = state.open.iter().position(|(open, ..)| *open == id);
            // An end one way is the end of both: SSH has no half-closed lines.
            if let Some((_, near, far)) = at.map(|at| state.open.swap_remove(at)) {
                near.shutdown(Shutdown::Both).ok();
                far.shutdown(Shutdown::Both).ok();
            }
        });
    });
}

type Piece = (Instant, Vec<u8>);

fn read(from: &mut TcpStream, queue: &Sender<Piece>, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + shared.state().delay;
        if queue.send((due, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(way: Way, due: &Receiver<Piece>, mut to: TcpStream, shared: &Shared) {
    for (when, bytes) in due {
        std::thread::sleep(when.saturating_duration_since(Instant::now()));
        let mut state = shared.changed.wait_while(shared.state(), |state| state.held && !state.over).unwrap();
        let share = match state.left[way as usize] {
            Some(left) => bytes.len().min(usize::try_from(left).unwrap()),
            None => bytes.len(),
        };
        let cut = state.left[way as usize].is_some_and(|left| left <= bytes.len() as u64);
        state.left[way as usize] = match state.left[way as usize] {
            Some(left) if !cut => Some(left - share as u64),
            _ => None,
        };
        state.passed[way as usize] += share as u64;
        drop(state);
        if to.write_all(&bytes[..share]).is_err() {
            return;
        }
        shared.change(|state| {
            if cut {
                state.cuts += 1;
                state.cut_all();
            }
        });
        if cut {
            return;
        }
    }
}

#[test]
fn a_line_passes_bytes_until_the_byte_after_which_it_is_cut() {
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(host.local_addr().unwrap().port());
    proxy.cut_after(Way::ToClient, 3);
    let mut near = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let (mut far, _) = host.accept().unwrap();
    near.write_all(b"question").unwrap();
    let mut asked = [0; 8];
    far.read_exact(&mut asked).unwrap();
    far.write_all(b"answer").unwrap();
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).ok();
    assert_eq!((&asked, heard.as_slice()), (b"question", &b"ans"[..]));
    assert_eq!((proxy.cuts(), proxy.taken(), proxy.passed(Way::ToHost)), (1, 1, 8));
}
