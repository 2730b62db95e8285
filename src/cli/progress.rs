//! Progress of long work, on stderr and only for people: without a terminal nothing is drawn.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` things.
pub fn bar(what: &'static str, total: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:24} {bar:32} {human_pos}/{human_len}  {per_sec}  {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_message(what)
}
