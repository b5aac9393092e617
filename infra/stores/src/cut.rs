use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// When a connection is cut, seen from the statement that it is to be cut at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the server gets it: it is not carried out.
    Before,
    /// Right after it was sent: whether it is carried out is the server's secret.
    During,
    /// After the server has answered, whose answer does not arrive: it was carried out.
    After,
}

/// A proxy in front of a Postgres that cuts connections, at statements that a test chooses. Without
/// one to cut at, everything is passed on unchanged. Dropping it closes its connections.
pub struct CutPostgres {
    address: SocketAddr,
    backend: String,
    plan: Arc<Plan>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Plan {
    /// What a client's bytes must hold, and what happens then; one after the other.
    next: Mutex<VecDeque<(&'static str, Cut)>>,
    cuts: AtomicUsize,
}

impl CutPostgres {
    /// Serves on a loopback port of its own, before the Postgres at `url`, which must not ask for TLS.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If `url` has no host and port, or no loopback port is free.
    pub async fn start(url: &str) -> anyhow::Result<Self> {
        let (_, rest) = url.split_once('@').context("a URL with a user")?;
        let (authority, _) = rest.split_once('/').context("a URL with a database")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the proxy")?;
        let (address, plan) = (listener.local_addr()?, Arc::new(Plan::default()));
        let server = tokio::spawn(accept(listener, authority.to_owned(), Arc::clone(&plan)));
        Ok(Self { address, backend: authority.to_owned(), plan, server })
    }

    /// The same database through the proxy.
    #[must_use]
    pub fn url(&self, backend_url: &str) -> String {
        backend_url.replacen(&self.backend, &self.address.to_string(), 1)
    }

    /// Cuts the connection on which a client says `statement` next; after those that were asked for
    /// before.
    pub fn cut_at(&self, statement: &'static str, cut: Cut) {
        self.plan.lock().push_back((statement, cut));
    }

    /// Forgets what was asked for and has not come to pass.
    pub fn calm(&self) {
        self.plan.lock().clear();
    }

    /// How many connections were cut.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.plan.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for CutPostgres {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Plan {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(&'static str, Cut)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to happen to a connection whose client says this.
    fn meet(&self, said: &[u8]) -> Option<Cut> {
        let mut next = self.lock();
        let (statement, cut) = *next.front()?;
        if !said.windows(statement.len()).any(|part| part == statement.as_bytes()) {
            return None;
        }
        next.pop_front();
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Some(cut)
    }
}

async fn accept(listener: TcpListener, backend: String, plan: Arc<Plan>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let (backend, plan) = (backend.clone(), Arc::clone(&plan));
                connections.spawn(async move {
                    // Errors are one side hanging up, or us on purpose.
                    if let Ok(server) = TcpStream::connect(backend).await {
                        let _ = serve(client, server, &plan).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
            else => return,
        }
    }
}

/// Passes bytes on in both directions until one side ends or the plan says so.
async fn serve(client: TcpStream, server: TcpStream, plan: &Plan) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut said, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = from_client.read(&mut said) => {
                let bytes = said.get(..read?).filter(|bytes| !bytes.is_empty());
                let Some(bytes) = bytes else { return Ok(()) };
                match plan.meet(bytes) {
                    None => to_server.write_all(bytes).await?,
                    Some(cut) => return end(cut, bytes, &mut to_server, &mut from_server).await,
                }
            }
            read = from_server.read(&mut answered) => {
                let bytes = answered.get(..read?).filter(|bytes| !bytes.is_empty());
                let Some(bytes) = bytes else { return Ok(()) };
                to_client.write_all(bytes).await?;
            }
        }
    }
}

async fn end(
    cut: Cut,
    said: &[u8],
    to_server: &mut OwnedWriteHalf,
    from_server: &mut OwnedReadHalf,
) -> std::io::Result<()> {
    match cut {
        Cut::Before => Ok(()),
        Cut::During => to_server.write_all(said).await,
        Cut::After => {
            to_server.write_all(said).await?;
            let mut unheard = [0; 4096];
            from_server.read(&mut unheard).await.map(drop)
        }
    }
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
