//! Asks the engine by a request row and waits for its answer.

use std::time::Duration;

use super::Problem;
use crate::store::Store;
use crate::store::requests::{self, Answer, Ask};

/// Writes a request and waits for the engine's answer.
///
/// # Errors
/// [`Problem::Refused`] with the engine's reason; [`Problem::Away`] if no engine answers in time.
pub async fn ask_engine(store: &Store, ask: &Ask) -> anyhow::Result<String> {
    const WAIT_MAX: Duration = Duration::from_secs(60);
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let number = requests::ask(&store.pool, ask, &operator()).await?;
    let answered = async {
        loop {
            match requests::look(&store.pool, number).await? {
                Answer::Waiting => tokio::time::sleep(LOOK_EVERY).await,
                Answer::Done(text) => return Ok(text),
                Answer::Refused(why) => return Err(anyhow::Error::from(Problem::Refused(why))),
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, answered).await.unwrap_or_else(|_| {
        let text = format!(
            "request {number} is written and no engine has answered it; it is carried out as soon as \
             one runs (`prooftally serve`)"
        );
        Err(Problem::Away(text).into())
    })
}

/// Who types, for the record of what was asked.
pub fn operator() -> String {
    let user = rustix::process::getuid().as_raw();
    format!("cli uid {user}")
}
