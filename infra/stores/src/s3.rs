use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub use told::{CreatedObject, ObjectListener};
use told::{Nobody, Told};

mod told;

/// The access key and the secret key that requests and presigned URLs are signed with.
const KEY: &str = "local";

/// How long [`LocalS3::stop`] waits for requests under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// An S3 in this process that keeps its objects as files in a folder, served over its real HTTP API
/// on a loopback port of its own.
///
/// Buckets are addressed by path (`http://127.0.0.1:PORT/bucket/key`). Requests and presigned URLs
/// are signed with the access key and the secret key `local`; the signatures are checked. Dropping it
/// stops the server too, but without waiting for requests under way; prefer [`stop`](Self::stop).
pub struct LocalS3 {
    endpoint: String,
    folder: PathBuf,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl LocalS3 {
    /// Serves what is in `folder`, made when it is missing. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the folder cannot be used, or no loopback port is free.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(folder, Arc::new(Nobody)).await
    }

    /// As [`start`](Self::start), with somebody who is told of every object that is created, by a put, a copy,
    /// a multipart upload or a presigned URL.
    ///
    /// # Errors
    /// If the folder cannot be used, or no loopback port is free.
    pub async fn start_with(folder: &Path, listener: Arc<dyn ObjectListener>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))?;
        let files = FileSystem::new(folder).map_err(|error| anyhow!("S3 in {}: {error:?}", folder.display()))?;
        let mut service = S3ServiceBuilder::new(Told { files, listener });
        service.set_auth(SimpleAuth::from_single(KEY, KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for S3")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, service.build(), stopped));
        Ok(Self { endpoint, folder: folder.to_owned(), stop, server })
    }

    /// The address of the HTTP API, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a bucket. One that is there already stays as it is.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.folder.join(name)).with_context(|| format!("the bucket {name}"))
    }

    /// Where an object's content is, for looking at it, or damaging it in a test.
    #[must_use]
    pub fn file(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.join(bucket).join(key)
    }

    /// Stops serving and lets requests under way finish, for some seconds at most.
    pub async fn stop(self) {
        let Self { stop, mut server, .. } = self;
        // Nobody listens any more if the server has ended by itself.
        let _ = stop.send(());
        if tokio::time::timeout(STOP_PATIENCE, &mut server).await.is_err() {
            tracing::warn!("S3 had unfinished requests when it stopped");
            server.abort();
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service, mut stopped: oneshot::Receiver<()>) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    loop {
        tokio::select! {
            // A dropped sender stops the server as well.
            _ = &mut stopped => break,
            Ok((stream, _)) = listener.accept() => {
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(graceful.watch(connection));
            }
            Some(_) = connections.join_next() => {}
            else => break,
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
