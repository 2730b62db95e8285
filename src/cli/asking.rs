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
    let number = requests::ask(&store.pool, ask, &operator()).await?;
    match requests::wait(&store.pool, number, WAIT_MAX).await? {
        Answer::Done(text) => Ok(text),
        Answer::Refused(why) => Err(Problem::Refused(why).into()),
        Answer::Waiting => {
            let text = format!(
                "request {number} is written and no engine has answered it; it is carried out as soon \
                 as one runs (`prooftally serve`)"
            );
            Err(Problem::Away(text).into())
        }
    }
}

/// Who types, for the record of what was asked.
pub fn operator() -> String {
    let user = rustix::process::getuid().as_raw();
    format!("cli uid {user}")
}
