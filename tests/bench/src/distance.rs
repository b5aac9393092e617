//! A way to a server that takes as long as between two machines.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What has left one side, and when it gets to the other.
type Travelling = (Instant, Vec<u8>);

/// Opens a port that leads to `server`, `one_way` away. It stays open until the process ends. Threads that
/// sleep, since a runtime's timers only know milliseconds.
pub(crate) fn lead_to(server: SocketAddr, one_way: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A server that is away shows as a connection that ends at once.
            if let Ok(server) = TcpStream::connect(server) {
                let _ = connect(&client, &server, one_way).and_then(|()| connect(&server, &client, one_way));
            }
        }
    });
    Ok(address)
}

fn connect(from: &TcpStream, to: &TcpStream, one_way: Duration) -> std::io::Result<()> {
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    to.set_nodelay(true)?;
    let (sender, receiver) = channel();
    thread::spawn(move || leave(from, &sender, one_way));
    thread::spawn(move || arrive(to, &receiver));
    Ok(())
}

fn leave(mut from: TcpStream, sender: &Sender<Travelling>, one_way: Duration) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let sent = bytes.get(..count).unwrap_or_default().to_vec();
        if sender.send((Instant::now() + one_way, sent)).is_err() {
            break;
        }
    }
}

fn arrive(mut to: TcpStream, receiver: &Receiver<Travelling>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
