//! Hears of request rows: PostgreSQL tells when one is written, and now and then we look by ourselves,
//! since a notification is lost with its connection.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::store::{Store, requests};

/// How long a request may wait whose notification was lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Rings when a request may be waiting.
#[derive(Clone, Default)]
pub struct Bell {
    notify: Arc<Notify>,
}

impl Bell {
    pub async fn rung(&self) {
        self.notify.notified().await;
    }

    pub fn ring(&self) {
        self.notify.notify_one();
    }

    /// Listens for as long as the task lives.
    pub async fn listen(self, store: Store) {
        loop {
            self.ring();
            let Ok(mut listener) = PgListener::connect_with(&store.pool).await else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let _ = listener.listen(requests::CHANNEL).await;
            // A notification, or nothing for some time: look. An error: listen anew.
            while let Ok(Ok(_)) | Err(_) = tokio::time::timeout(LOOK_EVERY, listener.recv()).await {
                self.ring();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
