//! The API beside the metering: with threads and a pool of its own.

use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

use super::Config;
use crate::api;
use crate::store::{self, Store};

/// Requests mostly wait for the database.
const THREADS: usize = 2;

/// The API. It ends when this is dropped.
pub(super) struct Serving {
    _threads: Threads,
    pub address: SocketAddr,
}

impl Serving {
    /// Opens the listener and serves it, if the API is on.
    ///
    /// # Errors
    /// If the listener cannot be opened, or what the API needs cannot be read.
    pub async fn start(config: &Config, shared: api::Shared) -> anyhow::Result<Option<Self>> {
        let Some(api) = config.api.clone() else { return Ok(None) };
        let threads = Threads::start()?;
        let store = store::Config { connections_max: api.connections_max, ..config.store.clone() };
        let has_tls = api.tls.is_some();
        let server = threads
            .runtime()
            .spawn(async move { api::Server::open(api, Store::new(&store)?, shared).await });
        let server = server.await??;
        let address = server.address;
        threads.runtime().spawn(server.serve());
        tracing::info!(%address, tls = has_tls, "the API listens");
        Ok(Some(Self { _threads: threads, address }))
    }
}

/// The threads that requests are served by. Metering decodes and hashes a chunk in one go, some milliseconds long,
/// and whoever shared its threads would wait for that.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("api").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever drops this may be a task, and tasks must not wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
