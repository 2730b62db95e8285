//! Texts of one line that are what they look like: whatever a person writes stands in tables, in logs and on
//! documents, and must read the same to everybody there.

/// Why a text is not what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("has a control character")]
    Control,
    #[error("has U+{code:04X}, which cannot be seen or turns the text around", code = u32::from(*.0))]
    Unseen(char),
}

/// What is wrong with a text, if anything is.
pub fn fault(text: &str) -> Option<Fault> {
    if text.contains(char::is_control) {
        return Some(Fault::Control);
    }
    text.chars().find(|letter| is_unseen(*letter)).map(Fault::Unseen)
}

/// Characters of no width or no ink, ends of line that are no control characters, and those that change the
/// direction of what follows.
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_seen() {
        let unseen = "\u{ad}\u{61c}\u{200b}\u{200d}\u{200f}\u{2028}\u{202a}\u{202e}\u{2060}\u{2066}\
            \u{2069}\u{206f}\u{3164}\u{feff}\u{e0041}";
        for letter in unseen.chars() {
            assert_eq!(fault(&format!("a{letter}b")), Some(Fault::Unseen(letter)));
        }
        for control in ['\0', '\n', '\t', '\u{1b}', '\u{85}'] {
            assert_eq!(fault(&format!("a{control}b")), Some(Fault::Control));
        }
        for good in ["", "a\u{2010}b", "a\u{202f}b", "\u{5e9}\u{5dc}", "Ünïcode ✓ \u{fffd}"] {
            assert_eq!(fault(good), None, "{good:?}");
        }
        let told = Fault::Unseen('\u{202e}').to_string();
        assert_eq!(told, "has U+202E, which cannot be seen or turns the text around");
    }
}
