use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use pglite_oxide::PgliteServer;

/// The database that every PostgreSQL has.
const DATABASE: &str = "postgres";

/// PostgreSQL inside this process, behind a [`Gate`].
///
/// Unlike a real one it cannot catch an error in PL/pgSQL: an `EXCEPTION` block does not run, and
/// the session stays in an aborted transaction. Committed data survives a `kill -9`.
#[derive(Debug)]
pub(super) struct EmbeddedServer {
    gate: Gate,
    server: Option<Box<PgliteServer>>,
    /// Exists once the data has been opened: without it, the making of it was interrupted.
    complete: Option<PathBuf>,
    is_new: bool,
}

impl EmbeddedServer {
    /// Starts it on the data in `home`, or on temporary data. It opens the data, or fails to, when
    /// the first client connects.
    pub(super) fn start(home: Option<&Path>) -> anyhow::Result<Self> {
        let complete = home.map(|home| home.join("complete"));
        let is_new = complete.as_ref().is_none_or(|complete| !complete.exists());
        let builder = match home {
            Some(home) => {
                if is_new && home.exists() {
                    fs::remove_dir_all(home)?;
                }
                PgliteServer::builder().path(home.join("data"))
            }
            None => PgliteServer::builder().temporary().relaxed_durability(true),
        };
        let server = builder.database(DATABASE).start()?;
        let address = server.tcp_addr().context("the embedded Postgres has no address")?;
        Ok(Self { gate: Gate::open(address)?, server: Some(Box::new(server)), complete, is_new })
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@{}/{DATABASE}?sslmode=disable", self.gate.address)
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Notes that the data has been opened.
    pub(super) fn mark_complete(&self) -> anyhow::Result<()> {
        self.complete.as_ref().map_or(Ok(()), |complete| Ok(fs::write(complete, "")?))
    }

    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        // The server waits for its client to go, so the gate sends it away first.
        self.gate.close();
        self.server.take().map_or(Ok(()), |server| server.shutdown())
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!("the embedded Postgres did not stop: {error:#}");
        }
    }
}

/// Stands between the clients and the embedded server, one client at a time, for two reasons: the
/// server ends for good when a client's connection breaks instead of closing, and it cannot stop
/// while a client is connected.
///
/// It runs on threads, not on an async runtime, so that it works while a runtime is being dropped.
#[derive(Debug)]
struct Gate {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// The connections of the client that is being served.
    current: Option<(TcpStream, TcpStream)>,
}

impl Gate {
    fn open(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let serve = move || {
            while let Ok((client, _)) = listener.accept() {
                if lock(&shared).closed {
                    return;
                }
                if let Err(error) = pass(&client, server, &shared) {
                    tracing::debug!("a connection to the embedded Postgres broke: {error}");
                }
                lock(&shared).current = None;
            }
        };
        let thread = thread::Builder::new().name("postgres-gate".to_owned()).spawn(serve)?;
        Ok(Self { address, state, thread: Some(thread) })
    }

    /// Ends the current connection as a closing client would, and takes no further one.
    fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        {
            let mut state = lock(&self.state);
            state.closed = true;
            if let Some((client, server)) = &state.current {
                // Either may be closed already.
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Write);
            }
        }
        // Wakes the thread if it waits for a client.
        let _ = TcpStream::connect(self.address);
        if thread.join().is_err() {
            tracing::warn!("the gate of the embedded Postgres panicked");
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

/// Serves one client until both sides have closed.
fn pass(client: &TcpStream, server: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let mut state = lock(state);
        if state.closed {
            return Ok(());
        }
        state.current = Some((client.try_clone()?, server.try_clone()?));
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            // However the client goes, the server sees an orderly end.
            let _ = io::copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        answer(&server, client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Copies the server's answers to the client, and reads them to their end even when the client is
/// gone: a server that cannot write would end.
fn answer(mut server: &TcpStream, mut client: &TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    let mut client_is_there = true;
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if client_is_there {
            client_is_there = buffer.get(..length).is_some_and(|bytes| client.write_all(bytes).is_ok());
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
